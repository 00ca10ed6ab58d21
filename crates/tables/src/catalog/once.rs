//! Requests that are carried out at most once (`Idempotency-Key` of the REST specification).
//!
//! Owns: notes of what came of a request, kept for [`LIFETIME_MS`] under the key that its client gave it.
//! Does not own: answers made from the notes (gateway).
//! Invariants: a note is stored in the transaction that does what it tells of, so that there is never one without the
//! other; what failed leaves no note.

use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};
use storage::ControlTx;
use storage::layout::CATALOG;

use super::{CatalogError, TableIdent, Tables};

/// How long a note is kept, milliseconds.
pub(crate) const LIFETIME_MS: i64 = 30 * 60 * 1_000;
/// Most notes that are kept; the oldest go first.
const NOTES_MAX: usize = 10_000;
/// How often notes are looked through for old ones, milliseconds.
const PRUNE_MS: i64 = 60_000;
const PREFIX: &str = "i/";

/// Which request it is; the default is one that may be carried out any number of times.
#[derive(Debug, Clone, Default)]
pub struct Once(Option<Claim>);

#[derive(Debug, Clone)]
struct Claim {
    key: String,
    fingerprint: u64,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Noted {
    /// There is nothing more to say.
    Done,
    /// The answer, as JSON.
    Answer(serde_json::Value),
    /// Tables or views with the locations of the metadata that they got.
    Made(Vec<(TableIdent, String)>),
}

#[derive(Debug, Serialize, Deserialize)]
struct Note {
    fingerprint: u64,
    at_ms: i64,
    noted: Noted,
}

impl Once {
    /// How long a request is known, seconds.
    pub const LIFETIME_S: i64 = LIFETIME_MS / 1_000;

    /// A request of `caller` with the key it gave; `request` is everything that makes it this request.
    pub fn keyed(caller: &str, key: &str, request: &[u8]) -> Self {
        let fingerprint = xxhash_rust::xxh3::xxh3_64(request);
        Self(Some(Claim { key: format!("{PREFIX}{caller}\u{1e}{key}"), fingerprint }))
    }

    /// Notes what the transaction does. `Replayed` when that was done before.
    pub(super) fn note(&self, tx: &mut ControlTx, now_ms: i64, noted: Noted) -> Result<(), CatalogError> {
        let Some(Claim { key, fingerprint }) = &self.0 else { return Ok(()) };
        if let Some(note) = tx.get_json::<Note>(CATALOG, key)?
            && !note.is_old(now_ms)
        {
            return Err(CatalogError::Replayed);
        }
        Ok(tx.put_json(CATALOG, key, &Note { fingerprint: *fingerprint, at_ms: now_ms, noted })?)
    }
}

impl Note {
    fn is_old(&self, now_ms: i64) -> bool {
        self.at_ms.saturating_add(LIFETIME_MS) < now_ms
    }
}

impl Tables {
    /// What came of the request when it was carried out before. Blocks for about as long as a read takes.
    pub fn noted(&self, once: &Once) -> Result<Option<Noted>, CatalogError> {
        let Some(Claim { key, fingerprint }) = &once.0 else { return Ok(None) };
        self.prune_notes()?;
        let note: Option<Note> = self.0.deps.control.get_json(CATALOG, key)?;
        match note {
            Some(note) if note.is_old(self.now_ms()) => Ok(None),
            Some(note) if note.fingerprint != *fingerprint => Err(CatalogError::Invalid(
                "this Idempotency-Key was used for another request: give every request its own".into(),
            )),
            other => Ok(other.map(|note| note.noted)),
        }
    }

    /// Forgets old notes, now and then.
    fn prune_notes(&self) -> Result<(), CatalogError> {
        let (now, last) = (self.now_ms(), &self.0.notes_pruned_ms);
        let before = last.load(Ordering::Relaxed);
        if now < before + PRUNE_MS
            || last.compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed).is_err()
        {
            return Ok(());
        }
        let mut notes: Vec<(String, Note)> = self.0.deps.control.scan_json(CATALOG, PREFIX)?;
        notes.sort_by_key(|(_, note)| note.at_ms);
        let surplus = notes.len().saturating_sub(NOTES_MAX);
        let old = notes.iter().enumerate().filter(|(at, (_, note))| *at < surplus || note.is_old(now));
        let gone: Vec<&String> = old.map(|(_, (key, _))| key).collect();
        if gone.is_empty() {
            return Ok(());
        }
        self.0.deps.control.transact(|tx| {
            gone.iter().try_for_each(|key| tx.delete(CATALOG, key).map(drop).map_err(CatalogError::from))
        })
    }
}
