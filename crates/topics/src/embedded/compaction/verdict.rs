//! What of a batch stays.
//!
//! Owns: Kafka's rules of RecordFilter and shouldRetainRecord: the last record of each key, tombstones and markers
//! until their delete horizon (KIP-534), nothing of aborted transactions, the last batch of every producer even if
//! it is empty.
//! Does not own: the bytes of a rewritten batch (`batch/rewrite`).
//! Invariants: a batch of which everything stays keeps its bytes; records beyond what the pass noted stay; the marker of
//! an aborted transaction stays as long as readers are told of the transaction: without it they would take all that
//! its producer wrote later for aborted, too.

use std::collections::{HashMap, HashSet};

use base::Offset;
use bytes::Bytes;

use super::keys::Keys;
use crate::batch::rewrite::{emptied, rebuilt};
use crate::batch::{BatchError, BatchView, RecordView};
use crate::embedded::partition::PartitionState;
use crate::log::AbortedTransaction;

/// Whether a batch of records belongs to one of these transactions.
pub(super) fn is_aborted(batch: &BatchView, aborted: &[AbortedTransaction]) -> bool {
    let holds = |transaction: &AbortedTransaction| {
        batch.producer_id() == transaction.producer_id
            && (transaction.first_offset..=transaction.last_offset).contains(&batch.base_offset())
    };
    batch.is_transactional() && aborted.iter().any(holds)
}

/// What of a batch stays.
#[derive(Debug)]
pub(super) enum Kept {
    Whole,
    Rebuilt(Bytes),
    Nothing,
}

/// Judges the batches of a partition in the order of their offsets.
#[derive(Debug)]
pub(super) struct Verdicts<'a> {
    keys: &'a Keys,
    /// End of what `keys` covers.
    end: Offset,
    now_ms: i64,
    delete_retention_ms: i64,
    decompressed_bytes_max: usize,
    aborted: Vec<AbortedTransaction>,
    /// Epoch and last batch of every producer that is known.
    producers: HashMap<i64, (i16, Option<Offset>)>,
    /// Producers with records of a transaction whose marker has not been met.
    in_transaction: HashSet<i64>,
    /// Markers of aborted transactions without any record: readers need not be told of them any more.
    pub(super) recordless: Vec<Offset>,
}

impl<'a> Verdicts<'a> {
    pub(super) fn new(
        keys: &'a Keys,
        end: Offset,
        now_ms: i64,
        delete_retention_ms: i64,
        partition: &PartitionState,
    ) -> Self {
        let settled = partition.settled.lock();
        Self {
            keys,
            end,
            now_ms,
            delete_retention_ms,
            decompressed_bytes_max: partition.decompressed_bytes_max,
            aborted: settled.aborted.overlapping(0, end),
            producers: settled.producers.last_batches(),
            in_transaction: HashSet::new(),
            recordless: Vec::new(),
        }
    }

    /// `is_last`: the batch ends its segment, whose end must stay known.
    pub(super) fn judge(&mut self, batch: &BatchView, is_last: bool) -> Result<Kept, BatchError> {
        if batch.base_offset() >= self.end {
            return Ok(Kept::Whole);
        }
        let stays_empty = is_last || self.is_last_of_producer(batch);
        if batch.is_control() {
            return self.judge_marker(batch, stays_empty);
        }
        let aborted = is_aborted(batch, &self.aborted);
        if batch.is_transactional() {
            self.in_transaction.insert(batch.producer_id());
        }
        if aborted || batch.count() == 0 {
            return Ok(without_records(batch, stays_empty));
        }
        let horizon = batch.delete_horizon_ms();
        let records = batch.records(self.decompressed_bytes_max)?;
        let (mut kept, mut tombstones, mut all) = (Vec::new(), false, 0);
        for record in &records {
            let record = record?;
            all += 1;
            if self.stays(&record, horizon) {
                tombstones |= record.value.is_none() && record.offset < self.end;
                kept.push(record);
            }
        }
        let new_horizon = (tombstones && horizon.is_none()).then(|| self.new_horizon());
        match kept.len() {
            0 => Ok(without_records(batch, stays_empty)),
            n if n == all && new_horizon.is_none() => Ok(Kept::Whole),
            _ => rebuilt(batch, &kept, horizon.or(new_horizon)).map(Kept::Rebuilt),
        }
    }

    fn new_horizon(&self) -> i64 {
        self.now_ms.saturating_add(self.delete_retention_ms).max(0)
    }

    fn is_last_of_producer(&self, batch: &BatchView) -> bool {
        match self.producers.get(&batch.producer_id()) {
            Some((_, Some(last))) => batch.last_offset() == *last,
            // Its marker tells its epoch, by which older ones are fenced.
            Some((epoch, None)) => batch.is_control() && batch.producer_epoch() == *epoch,
            None => false,
        }
    }

    fn stays(&self, record: &RecordView<'_>, horizon: Option<i64>) -> bool {
        if record.offset >= self.end {
            return true;
        }
        // Without a key there is nothing to keep it for, as in Kafka.
        let Some(key) = record.key else { return false };
        let gone = record.value.is_none() && horizon.is_some_and(|horizon| self.now_ms >= horizon);
        !gone && self.keys.is_last(key, record.offset)
    }

    /// A marker goes some time after the last record of its transaction.
    fn judge_marker(&mut self, batch: &BatchView, stays_empty: bool) -> Result<Kept, BatchError> {
        if self.in_transaction.remove(&batch.producer_id()) || batch.count() == 0 {
            let emptied = batch.count() == 0 && !stays_empty;
            return Ok(if emptied { Kept::Nothing } else { Kept::Whole });
        }
        let offset = batch.base_offset();
        let is_told = self.aborted.iter().any(|aborted| aborted.last_offset == offset);
        if is_told {
            self.recordless.push(offset);
        }
        match batch.delete_horizon_ms() {
            Some(horizon) if self.now_ms >= horizon && !is_told => Ok(without_records(batch, stays_empty)),
            Some(_) => Ok(Kept::Whole),
            None => {
                let records = batch.records(self.decompressed_bytes_max)?;
                let markers = records.iter().collect::<Result<Vec<_>, _>>()?;
                rebuilt(batch, &markers, Some(self.new_horizon())).map(Kept::Rebuilt)
            }
        }
    }
}

fn without_records(batch: &BatchView, stays: bool) -> Kept {
    match (stays, batch.count()) {
        (false, _) => Kept::Nothing,
        (true, 0) => Kept::Whole,
        (true, _) => Kept::Rebuilt(emptied(batch)),
    }
}
