//! Markers: the control batches that end a transaction in a partition.
//!
//! Owns: their bytes, which are those of Kafka's EndTransactionMarker, and reading them back.
//! Does not own: when a transaction ends (`transactions`), what an end means for readers (`embedded/settled`).
//! Invariants: a control record of another kind is no marker, whatever follows it.
//!
//! Key: version 0 (16 bits), type 0 = ABORT or 1 = COMMIT (16 bits). Value: version 0 (16 bits), coordinator epoch (32).

use bytes::Bytes;

use super::records::first_record;
use super::{BatchBuilder, BatchError};

const VERSION: i16 = 0;
const ABORT: i16 = 0;
const COMMIT: i16 = 1;

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    /// Its records are valid; else they are void.
    pub committed: bool,
    /// Leader epoch of the log when the coordinator decided.
    pub coordinator_epoch: i32,
}

impl Marker {
    /// The control batch of this marker for one partition of a transaction.
    pub(crate) fn batch(
        self,
        producer_id: i64,
        producer_epoch: i16,
        timestamp_ms: i64,
    ) -> Result<Bytes, BatchError> {
        let kind = if self.committed { COMMIT } else { ABORT };
        let key = [VERSION.to_be_bytes(), kind.to_be_bytes()].concat();
        let value = [&VERSION.to_be_bytes()[..], &self.coordinator_epoch.to_be_bytes()].concat();
        let mut builder =
            BatchBuilder::new().producer(producer_id, producer_epoch, -1).transactional().control();
        builder.push(timestamp_ms, Some(&key), Some(&value), &[]);
        builder.build()
    }

    /// Reads the marker in the records of a control batch; none when it is a control batch of another kind.
    pub(crate) fn of_records(records: &[u8]) -> Option<Self> {
        let (key, value) = first_record(records).ok()?;
        let (version, kind) = key?.split_first_chunk::<2>()?;
        if i16::from_be_bytes(*version) < VERSION {
            return None;
        }
        let committed = match i16::from_be_bytes(*kind.first_chunk()?) {
            ABORT => false,
            COMMIT => true,
            _ => return None,
        };
        let (version, epoch) = value?.split_first_chunk::<2>()?;
        // Later versions only add fields.
        let known = i16::from_be_bytes(*version) >= VERSION;
        known.then_some(Self { committed, coordinator_epoch: i32::from_be_bytes(*epoch.first_chunk()?) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BatchView, HEADER_BYTES};
    use super::*;

    #[test]
    fn the_bytes_are_those_of_kafka() {
        let marker = Marker { committed: true, coordinator_epoch: 7 };
        let bytes = marker.batch(4_000, 3, 1_700_000_000_000).expect("marker");
        // MemoryRecords.withEndTransactionMarker: 78 bytes, attributes transactional | control, no sequence.
        assert_eq!(bytes.len(), 78);
        let view = BatchView::split_first(&mut bytes.clone()).expect("batch");
        assert!(view.crc_is_right() && view.is_control());
        assert_eq!((view.attributes(), view.count(), view.last_offset_delta()), (0x30, 1, 0));
        assert_eq!((view.producer_id(), view.producer_epoch(), view.base_sequence()), (4_000, 3, -1));
        assert_eq!(
            (view.base_timestamp_ms(), view.max_timestamp_ms()),
            (1_700_000_000_000, 1_700_000_000_000)
        );
        let record = [0x20, 0, 0, 0, 8, 0, 0, 0, 1, 12, 0, 0, 0, 0, 0, 7, 0];
        assert_eq!(&bytes[HEADER_BYTES..], record);
        assert_eq!(Marker::of_records(&bytes[HEADER_BYTES..]), Some(marker));
        let abort = Marker { committed: false, coordinator_epoch: -1 };
        let bytes = abort.batch(0, 0, 0).expect("marker");
        assert_eq!(Marker::of_records(&bytes[HEADER_BYTES..]), Some(abort));
    }

    #[test]
    fn other_control_records_are_no_markers() {
        let other = [0x20, 0, 0, 0, 8, 0, 0, 0, 2, 12, 0, 0, 0, 0, 0, 7, 0];
        assert_eq!(Marker::of_records(&other), None);
        for end in 0..other.len() {
            assert_eq!(Marker::of_records(&other[..end]), None);
        }
    }
}
