//! The records of `__transaction_state`, as Kafka writes them.
//!
//! Owns: TransactionLogKey version 0; TransactionLogValue version 0, which is written, and version 1, which is read
//! too; both big-endian (clients' TransactionLogKey.json, TransactionLogValue.json).
//! Does not own: where they lie.
//! Invariants: no length is trusted.

use std::collections::{BTreeMap, BTreeSet};

use base::TopicName;
use bytes::{Buf, BufMut};

use super::{NO_EPOCH, NO_PRODUCER_ID, Transaction, TransactionState};
use crate::log::TopicPartition;

const KEY_VERSION: i16 = 0;
const VALUE_VERSION: i16 = 0;
const FLEXIBLE_SINCE: i16 = 1;
/// Tag of the previous producer id since version 1.
const PREVIOUS_PRODUCER_ID: u32 = 0;

/// The key of a transactional id. Its length was checked when the id was taken.
pub(crate) fn key(transactional_id: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + transactional_id.len());
    out.put_i16(KEY_VERSION);
    put_string(&mut out, transactional_id);
    out
}

/// The value of its state.
pub(crate) fn value(transaction: &Transaction) -> Vec<u8> {
    let mut topics: BTreeMap<&TopicName, Vec<i32>> = BTreeMap::new();
    for at in &transaction.partitions {
        topics.entry(&at.topic).or_default().push(at.partition);
    }
    let mut out = Vec::with_capacity(64);
    out.put_i16(VALUE_VERSION);
    out.put_i64(transaction.producer_id);
    out.put_i16(transaction.producer_epoch);
    out.put_i32(transaction.timeout_ms);
    out.put_i8(TransactionState::ALL.iter().position(|s| *s == transaction.state).unwrap_or(0) as i8);
    if transaction.state == TransactionState::Empty {
        out.put_i32(-1);
    } else {
        out.put_i32(topics.len() as i32);
    }
    for (topic, partitions) in topics {
        put_string(&mut out, topic.as_str());
        out.put_i32(partitions.len() as i32);
        partitions.into_iter().for_each(|p| out.put_i32(p));
    }
    out.put_i64(transaction.updated_ms);
    out.put_i64(transaction.start_ms);
    out
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    out.put_i16(text.len() as i16);
    out.put_slice(text.as_bytes());
}

/// Reads a key: the transactional id. None: a key of a version that this program does not know.
pub(crate) fn read_key(mut bytes: &[u8]) -> Option<String> {
    if bytes.try_get_i16().ok()? != KEY_VERSION {
        return None;
    }
    let length = usize::try_from(bytes.try_get_i16().ok()?).ok()?;
    String::from_utf8(bytes.get(..length)?.to_vec()).ok()
}

/// Reads a value. None: it is not one.
pub(crate) fn read_value(mut bytes: &[u8]) -> Option<Transaction> {
    let version = bytes.try_get_i16().ok()?;
    if !(VALUE_VERSION..=FLEXIBLE_SINCE).contains(&version) {
        return None;
    }
    let mut reader = Reader { bytes, flexible: version >= FLEXIBLE_SINCE };
    let producer_id = reader.bytes.try_get_i64().ok()?;
    let producer_epoch = reader.bytes.try_get_i16().ok()?;
    let timeout_ms = reader.bytes.try_get_i32().ok()?;
    let state = usize::try_from(reader.bytes.try_get_i8().ok()?).ok()?;
    let state = *TransactionState::ALL.get(state)?;
    let partitions = reader.partitions()?;
    let updated_ms = reader.bytes.try_get_i64().ok()?;
    let start_ms = reader.bytes.try_get_i64().ok()?;
    let previous_producer_id = reader.tags()?.unwrap_or(NO_PRODUCER_ID);
    Some(Transaction {
        producer_id,
        producer_epoch,
        previous_producer_id,
        previous_epoch: NO_EPOCH,
        timeout_ms,
        state,
        partitions,
        start_ms,
        updated_ms,
    })
}

struct Reader<'a> {
    bytes: &'a [u8],
    flexible: bool,
}

impl<'a> Reader<'a> {
    fn varint(&mut self) -> Option<u32> {
        let mut value = 0u64;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.bytes.try_get_u8().ok()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return u32::try_from(value).ok();
            }
        }
        None
    }

    /// The length of an array; null counts as empty.
    fn count(&mut self) -> Option<usize> {
        let count = if self.flexible {
            i64::from(self.varint()?) - 1
        } else {
            i64::from(self.bytes.try_get_i32().ok()?)
        };
        let count = usize::try_from(count.max(0)).ok()?;
        (count <= self.bytes.len()).then_some(count)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(taken)
    }

    fn string(&mut self) -> Option<&'a str> {
        let length = if self.flexible {
            i64::from(self.varint()?) - 1
        } else {
            i64::from(self.bytes.try_get_i16().ok()?)
        };
        std::str::from_utf8(self.take(usize::try_from(length).ok()?)?).ok()
    }

    fn partitions(&mut self) -> Option<BTreeSet<TopicPartition>> {
        let mut partitions = BTreeSet::new();
        for _ in 0..self.count()? {
            let topic = TopicName::new(self.string()?).ok()?;
            for _ in 0..self.count()? {
                let partition = self.bytes.try_get_i32().ok()?;
                partitions.insert(TopicPartition { topic: topic.clone(), partition });
            }
            self.tags()?;
        }
        Some(partitions)
    }

    /// Steps over tagged fields; gives the previous producer id when it is among them.
    fn tags(&mut self) -> Option<Option<i64>> {
        if !self.flexible {
            return Some(None);
        }
        let mut previous = None;
        for _ in 0..self.varint()? {
            let tag = self.varint()?;
            let length = self.varint()? as usize;
            let mut field = self.take(length)?;
            if tag == PREVIOUS_PRODUCER_ID && length == 8 {
                previous = field.try_get_i64().ok();
            }
        }
        Some(previous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Transaction {
        let at = |topic: &str, partition| TopicPartition {
            topic: TopicName::new(topic).expect("name"),
            partition,
        };
        Transaction {
            producer_epoch: 2,
            state: TransactionState::Ongoing,
            partitions: [at("b", 1), at("a", 3), at("a", 0)].into(),
            start_ms: 11,
            ..Transaction::new(258, 60_000, 12)
        }
    }

    #[test]
    fn the_bytes_are_those_of_kafka() {
        assert_eq!(key("tx"), [0, 0, 0, 2, b't', b'x']);
        assert_eq!(read_key(&key("tx")).as_deref(), Some("tx"));
        let mut expected = vec![0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 2, 0, 0, 0xea, 0x60, 1, 0, 0, 0, 2];
        expected.extend([0, 1, b'a', 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3]);
        expected.extend([0, 1, b'b', 0, 0, 0, 1, 0, 0, 0, 1]);
        expected.extend([0, 0, 0, 0, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 11]);
        assert_eq!(value(&sample()), expected);
        assert_eq!(read_value(&expected), Some(sample()));
        for end in 0..expected.len() {
            assert_eq!(read_value(&expected[..end]), None, "{end}");
        }
        let empty = Transaction::new(1, 2, 3);
        assert_eq!(read_value(&value(&empty)), Some(empty));
    }

    #[test]
    fn version_1_is_read() {
        let mut bytes = vec![0, 1, 0, 0, 0, 0, 0, 0, 1, 2, 0, 2, 0, 0, 0xea, 0x60, 1, 3];
        bytes.extend([2, b'a', 3, 0, 0, 0, 0, 0, 0, 0, 3, 0]);
        bytes.extend([2, b'b', 2, 0, 0, 0, 1, 0]);
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 11]);
        // Previous producer id 5, and the client's transaction version, which nobody needs.
        bytes.extend([2, 0, 8, 0, 0, 0, 0, 0, 0, 0, 5, 2, 2, 0, 1]);
        assert_eq!(read_value(&bytes), Some(Transaction { previous_producer_id: 5, ..sample() }));
        assert_eq!(read_value(&[0, 2]), None);
    }
}
