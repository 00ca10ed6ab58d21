//! Transactions after a start.
//!
//! Owns: reading the states back, ending what was left half done.
//! Does not own: recovery of the log.
//! Invariants: a transaction that is open in a partition is ongoing in a state, or is aborted here; it ends with its
//! producer or by its time.

use std::collections::HashMap;

use base::Offset;

use super::super::append;
use super::super::partition::PartitionState;
use super::super::shared::Shared;
use super::{Coordinator, Ending, PARTITION, RECORD_BYTES, marker};
use crate::batch::Batches;
use crate::error::{AppendError, OpenError, ReadError};
use crate::log::TopicPartition;
use crate::topic::TRANSACTION_STATE;
use crate::transactions::{Transaction, TransactionState, records};

/// Read at once.
const READ_BYTES: usize = 1 << 20;

/// Reads the states, and queues what ends transactions that were decided or are nobody's. Call it before anybody else
/// appends; blocking.
pub(crate) fn load(shared: &Shared) -> Result<(), OpenError> {
    let ids = match shared.topic_and_partition(TRANSACTION_STATE, PARTITION) {
        Ok((_, partition)) => read_states(shared, &partition)?,
        Err(_) => HashMap::new(),
    };
    let mut coordinator = shared.transactions.lock();
    coordinator.ids = ids;
    let completed =
        complete_decided(shared, &mut coordinator).and_then(|()| abort_hanging(shared, &coordinator));
    completed.map_err(|error| OpenError::Io {
        context: "ending transactions that were left half done".into(),
        source: std::io::Error::other(error),
    })
}

fn read_states(
    shared: &Shared,
    partition: &PartitionState,
) -> Result<HashMap<String, Transaction>, OpenError> {
    let marks = partition.marks();
    let (mut from, mut ids): (Offset, _) = (marks.log_start, HashMap::new());
    while from < marks.durable {
        let read = partition.read(from, marks.durable, READ_BYTES)?;
        for batch in Batches::new(&read.bytes) {
            note_states(shared, batch, &mut ids).map_err(|reason| ReadError::Damaged {
                file: partition.dir.display().to_string(),
                position: 0,
                reason,
            })?;
        }
        from = read.next;
    }
    Ok(ids)
}

fn note_states(
    shared: &Shared,
    batch: Result<crate::batch::BatchView, crate::batch::BatchError>,
    ids: &mut HashMap<String, Transaction>,
) -> Result<(), String> {
    let batch = batch.map_err(|e| e.to_string())?;
    if batch.is_control() {
        return Ok(());
    }
    let all = batch.records(shared.settings.decompressed_bytes_max).map_err(|e| e.to_string())?;
    for record in &all {
        let record = record.map_err(|e| e.to_string())?;
        // A later program may keep other things here: they are not ours.
        let Some(id) = record.key.and_then(records::read_key) else { continue };
        match record.value {
            None => drop(ids.remove(&id)),
            Some(value) => {
                let state = records::read_value(value).ok_or_else(|| {
                    format!("the state of transactional id {id} at offset {} does not parse", record.offset)
                })?;
                ids.insert(id, state);
            }
        }
    }
    Ok(())
}

/// States that another program left between decision and markers.
fn complete_decided(shared: &Shared, coordinator: &mut Coordinator) -> Result<(), AppendError> {
    let decided: Vec<(String, Transaction, bool)> = coordinator
        .ids
        .iter()
        .filter_map(|(id, now)| match now.state {
            TransactionState::PrepareCommit => Some((id.clone(), now.clone(), true)),
            TransactionState::PrepareAbort | TransactionState::PrepareEpochFence => {
                Some((id.clone(), now.clone(), false))
            }
            _ => None,
        })
        .collect();
    for (id, now, committed) in decided {
        let next = now.ended(now.producer_epoch, committed, shared.clock.now_ms());
        let ending = Ending { partitions: &now.partitions, committed };
        coordinator.store(shared, &id, next, Some(ending))?;
    }
    Ok(())
}

/// A transaction that is open in a partition and that no state knows, because the states were lost or taken from
/// elsewhere, would hold up readers for ever.
fn abort_hanging(shared: &Shared, coordinator: &Coordinator) -> Result<(), AppendError> {
    let ongoing: HashMap<i64, &Transaction> = coordinator
        .ids
        .values()
        .filter(|t| t.state == TransactionState::Ongoing)
        .map(|t| (t.producer_id, t))
        .collect();
    for partition in shared.partitions() {
        let open = partition.appending.lock().producers.open();
        for (producer_id, epoch) in open {
            let at = TopicPartition { topic: partition.name.clone(), partition: partition.index };
            if ongoing.get(&producer_id).is_some_and(|t| t.partitions.contains(&at)) {
                continue;
            }
            tracing::warn!(topic = %partition.name, partition = partition.index, producer_id, "aborted a transaction that nobody can end");
            if let Some(candidate) = marker(shared, &at, (producer_id, epoch), false, shared.clock.now_ms())?
            {
                append::push_together(shared, vec![candidate], None, RECORD_BYTES)?;
            }
        }
    }
    Ok(())
}
