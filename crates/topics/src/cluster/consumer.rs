//! Records out of a cluster, by assignment: no group, no stored offsets.
//!
//! Owns: the grammar of start offsets (rpk's), the ends that were seen at the start.
//! Does not own: consumer groups.
//! Invariants: `at_end` is true once every assigned partition has been read up to its high watermark.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base::{Offset, PartitionId};
use bytes::Bytes;
use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset as RdOffset, TopicPartitionList};

use super::{ClusterClient, ClusterError, ClusterPartition, blocking};

/// Where to begin: `start`, `end`, `N`, `+N` (after the start), `-N` (before the end), `@ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAt {
    Start,
    End,
    /// An offset, in every partition.
    Offset(Offset),
    /// So many records after the first.
    AfterStart(i64),
    /// So many offsets before the end, in every partition.
    BeforeEnd(i64),
    /// The first record not older than this, milliseconds since 1970-01-01 UTC.
    Timestamp(i64),
}

impl FromStr for StartAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |digits: &str| {
            digits
                .parse::<i64>()
                .ok()
                .filter(|n| *n >= 0 && digits.bytes().all(|b| b.is_ascii_digit()))
                .ok_or_else(|| format!("`{text}` is no offset: write start, end, N, +N, -N or @milliseconds"))
        };
        match text {
            "start" | "beginning" | "oldest" => Ok(Self::Start),
            "end" | "newest" => Ok(Self::End),
            _ => match text.as_bytes().first() {
                Some(b'+') => number(&text[1..]).map(Self::AfterStart),
                Some(b'-') => number(&text[1..]).map(Self::BeforeEnd),
                Some(b'@') => number(&text[1..]).map(Self::Timestamp),
                _ => number(text).map(Self::Offset),
            },
        }
    }
}

impl StartAt {
    /// The offset in a partition that holds `[start, end)`; timestamps are looked up by the caller.
    fn offset(self, start: Offset, end: Offset) -> Offset {
        match self {
            Self::Start | Self::Timestamp(_) => start,
            Self::End => end,
            Self::Offset(offset) => offset.clamp(start, end),
            Self::AfterStart(n) => start.saturating_add(n).min(end),
            Self::BeforeEnd(n) => end.saturating_sub(n).max(start),
        }
    }
}

/// A record that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumedRecord {
    pub partition: PartitionId,
    pub offset: Offset,
    /// Milliseconds since 1970-01-01 UTC.
    pub timestamp_ms: Option<i64>,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<(String, Option<Bytes>)>,
}

/// A consumer of partitions. Clones share it.
#[derive(Clone)]
pub struct Consumer {
    inner: Arc<BaseConsumer>,
    state: Arc<Mutex<State>>,
    topic: Arc<str>,
    bootstrap: Arc<str>,
}

#[derive(Debug, Default)]
struct State {
    assigned: BTreeSet<PartitionId>,
    at_end: BTreeSet<PartitionId>,
    /// Next offset and the end when the consumer was opened.
    positions: BTreeMap<PartitionId, (Offset, Offset)>,
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consumer").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl Consumer {
    pub(super) fn open(
        client: &ClusterClient,
        topic: String,
        wanted: &[PartitionId],
        start: StartAt,
    ) -> Result<Self, ClusterError> {
        let inner = client.base_consumer()?;
        let mut partitions = client.partitions_of(&inner, &topic)?;
        if let Some(missing) = wanted.iter().find(|p| !partitions.iter().any(|have| have.partition == **p)) {
            return Err(ClusterError::UnknownPartition { topic, partition: *missing });
        }
        partitions.retain(|p| wanted.is_empty() || wanted.contains(&p.partition));
        let begins = begin_offsets(client, &inner, &topic, &partitions, start)?;
        let mut list = TopicPartitionList::new();
        let mut state = State::default();
        for (partition, begin) in partitions.iter().zip(begins) {
            list.add_partition_offset(&topic, partition.partition, RdOffset::Offset(begin))
                .map_err(|e| client.failed(e))?;
            state.assigned.insert(partition.partition);
            state.positions.insert(partition.partition, (begin, partition.end));
            if begin >= partition.end {
                state.at_end.insert(partition.partition);
            }
        }
        inner.assign(&list).map_err(|e| client.failed(e))?;
        Ok(Self {
            inner: Arc::new(inner),
            state: Arc::new(Mutex::new(state)),
            topic: topic.into(),
            bootstrap: client.bootstrap().into(),
        })
    }

    /// The next records: at most `max`, fewer when no more come at once; none after `wait` without any.
    pub async fn next(&self, max: usize, wait: Duration) -> Result<Vec<ConsumedRecord>, ClusterError> {
        let consumer = self.clone();
        blocking(move || consumer.next_blocking(max, wait)).await
    }

    /// Whether every partition has been read up to its end.
    pub fn at_end(&self) -> bool {
        let state = self.state.lock();
        state.assigned.iter().all(|p| state.at_end.contains(p))
    }

    /// Whether every partition has been read up to the end it had when the consumer was opened.
    pub fn past_opening_end(&self) -> bool {
        let state = self.state.lock();
        state.positions.iter().all(|(partition, (next, end))| next >= end || state.at_end.contains(partition))
    }

    fn next_blocking(&self, max: usize, wait: Duration) -> Result<Vec<ConsumedRecord>, ClusterError> {
        let deadline = Instant::now() + wait;
        let mut records = Vec::new();
        while records.len() < max {
            let left = if records.is_empty() {
                deadline.saturating_duration_since(Instant::now())
            } else {
                Duration::ZERO
            };
            match self.inner.poll(left) {
                None => break,
                Some(Ok(message)) => {
                    let record = consumed(&message);
                    let mut state = self.state.lock();
                    state.at_end.remove(&record.partition);
                    if let Some((next, _)) = state.positions.get_mut(&record.partition) {
                        *next = record.offset + 1;
                    }
                    records.push(record);
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    self.state.lock().at_end.insert(partition);
                    if self.at_end() {
                        break;
                    }
                }
                Some(Err(error)) => return Err(ClusterError::from_kafka(error, &self.bootstrap)),
            }
        }
        Ok(records)
    }
}

fn begin_offsets(
    client: &ClusterClient,
    consumer: &BaseConsumer,
    topic: &str,
    partitions: &[ClusterPartition],
    start: StartAt,
) -> Result<Vec<Offset>, ClusterError> {
    let StartAt::Timestamp(ms) = start else {
        return Ok(partitions.iter().map(|p| start.offset(p.start, p.end)).collect());
    };
    let mut asked = TopicPartitionList::new();
    for partition in partitions {
        asked
            .add_partition_offset(topic, partition.partition, RdOffset::Offset(ms))
            .map_err(|e| client.failed(e))?;
    }
    let found =
        consumer.offsets_for_times(asked, client.settings().request_timeout).map_err(|e| client.failed(e))?;
    Ok(partitions
        .iter()
        .map(|p| match found.find_partition(topic, p.partition).map(|e| e.offset()) {
            Some(RdOffset::Offset(offset)) => offset,
            // No record is that young.
            _ => p.end,
        })
        .collect())
}

fn consumed(message: &BorrowedMessage<'_>) -> ConsumedRecord {
    ConsumedRecord {
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis(),
        key: message.key().map(Bytes::copy_from_slice),
        value: message.payload().map(Bytes::copy_from_slice),
        headers: message.headers().map_or_else(Vec::new, |headers| {
            headers.iter().map(|h| (h.key.to_owned(), h.value.map(Bytes::copy_from_slice))).collect()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_follow_rpk() {
        for (text, want) in [
            ("start", StartAt::Start),
            ("end", StartAt::End),
            ("17", StartAt::Offset(17)),
            ("+3", StartAt::AfterStart(3)),
            ("-5", StartAt::BeforeEnd(5)),
            ("@1700000000000", StartAt::Timestamp(1_700_000_000_000)),
        ] {
            assert_eq!(text.parse(), Ok(want), "{text}");
        }
        for bad in ["", "x", "+", "--1", "+-1", "1.5", "-", "99999999999999999999"] {
            assert!(bad.parse::<StartAt>().is_err(), "{bad}");
        }
    }

    #[test]
    fn offsets_stay_inside_the_partition() {
        assert_eq!(StartAt::BeforeEnd(5).offset(10, 20), 15);
        assert_eq!(StartAt::BeforeEnd(50).offset(10, 20), 10);
        assert_eq!(StartAt::AfterStart(50).offset(10, 20), 20);
        assert_eq!(StartAt::Offset(3).offset(10, 20), 10);
        assert_eq!(StartAt::End.offset(10, 20), 20);
    }
}
