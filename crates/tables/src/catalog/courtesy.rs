//! Letting guests through.
//!
//! Owns: who was refused because this program's own commits were faster, and how long they are waited for.
//! Does not own: commits.
//! Invariants: a guest's refusal delays the next own commit on its table once, and for one interval of such commits at
//! most; nothing that a guest does delays it further.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{TableIdent, Tables};

/// Bounds of the interval, whatever was seen of it.
const SHORTEST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(10);

/// Guests who do not try again on their own (DuckDB) never get through to a table that changes every second.
#[derive(Debug, Default)]
pub(super) struct Courtesy(Mutex<HashMap<TableIdent, Pace>>);

#[derive(Debug, Default)]
struct Pace {
    last: Option<Instant>,
    interval: Duration,
    refused: Option<Instant>,
}

impl Courtesy {
    /// A guest lost against an own commit.
    pub(super) fn refused(&self, ident: &TableIdent) {
        // Tables that this program does not write have no pace.
        if let Some(pace) = self.0.lock().get_mut(ident) {
            pace.refused.get_or_insert_with(Instant::now);
        }
    }

    /// A guest got through.
    pub(super) fn served(&self, ident: &TableIdent) {
        if let Some(pace) = self.0.lock().get_mut(ident) {
            pace.refused = None;
        }
    }

    pub(super) fn forget(&self, ident: &TableIdent) {
        self.0.lock().remove(ident);
    }

    /// Until when a guest is waited for.
    fn until(&self, ident: &TableIdent) -> Option<Instant> {
        let paces = self.0.lock();
        let pace = paces.get(ident)?;
        pace.refused.map(|refused| refused + pace.interval.clamp(SHORTEST, LONGEST))
    }

    fn begun(&self, ident: &TableIdent) {
        let now = Instant::now();
        let mut paces = self.0.lock();
        let pace = paces.entry(ident.clone()).or_default();
        pace.interval = pace.last.map_or(Duration::ZERO, |last| now - last);
        pace.last = Some(now);
        pace.refused = None;
    }
}

impl Tables {
    /// Before an own commit: waits for a guest who lost against the last one.
    pub(crate) async fn let_guests_through(&self, ident: &TableIdent) {
        let mut changes = self.watch();
        while let Some(until) = self.0.courtesy.until(ident) {
            tokio::select! {
                () = tokio::time::sleep_until(until) => break,
                changed = changes.changed() => {
                    if changed.is_err() {
                        break;
                    }
                }
            }
        }
        self.0.courtesy.begun(ident);
    }
}
