//! Markers that an operator writes (WriteTxnMarkers, `kafka-transactions.sh abort`).
//!
//! Owns: what such a marker may do.
//! Does not own: markers of the coordinator itself.
//! Invariants: a transaction that the coordinator knows is ended as a whole, or not at all: aborted here, it is aborted
//! in all its partitions and its producer is fenced.

use super::super::Topics;
use super::super::append;
use super::{RECORD_BYTES, ROOM_BYTES, marker};
use crate::error::{AppendError, TransactionError};
use crate::log::TopicPartition;
use crate::transactions::TransactionState;

/// See [`Topics::write_marker`].
pub(crate) async fn write(
    topics: &Topics,
    at: &TopicPartition,
    (producer_id, epoch): (i64, i16),
    committed: bool,
) -> Result<(), TransactionError> {
    let shared = topics.shared();
    shared.queue.room(ROOM_BYTES as u64).await;
    let acknowledged = {
        shared.refuse_offline()?;
        let (_, partition) = shared.topic_and_partition(at.topic.as_str(), at.partition)?;
        let mut coordinator = shared.transactions.lock();
        let known = partition.appending.lock().producers.get(producer_id);
        let Some(open) = known.filter(|producer| producer.open_since.is_some()) else {
            return Ok(());
        };
        if epoch < open.epoch {
            let fenced = AppendError::ProducerFenced { producer_id, current: open.epoch, got: epoch };
            return Err(fenced.into());
        }
        let owner = coordinator.ids.iter().find(|(_, t)| {
            t.producer_id == producer_id && t.state == TransactionState::Ongoing && t.partitions.contains(at)
        });
        match owner.map(|(id, _)| id.clone()) {
            Some(transactional_id) if committed => {
                return Err(TransactionError::InvalidState {
                    transactional_id,
                    state: TransactionState::Ongoing.name(),
                    reason: "only its producer commits it",
                });
            }
            Some(id) => coordinator.abort_fenced(shared, &id)?,
            None => {
                let candidate = marker(shared, at, (producer_id, epoch), committed, shared.clock.now_ms())?;
                match candidate {
                    Some(one) => Some(append::push_together(shared, vec![one], None, RECORD_BYTES)?.0),
                    None => None,
                }
            }
        }
    };
    match acknowledged {
        Some(acknowledged) => Ok(append::settle(acknowledged).await?),
        None => Ok(()),
    }
}
