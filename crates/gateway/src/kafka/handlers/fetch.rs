//! Fetch: records from offsets on, waiting for them if there are none yet.
//!
//! Owns: the long poll, byte limits over partitions, checking leader epochs and topic ids.
//! Does not own: reading segments (topics), the response's bytes (`encode`).
//! Invariants: a waiting fetch is woken by the partitions' marks and never polls; a batch is returned whole; the first
//! batch is returned whatever the limits say (KIP-74); record bytes are passed on as the log gave them, and counted
//! from before they are read until they are written.
//!
//! Fetch sessions (KIP-227) are not kept: session id 0 tells the client to send full requests.

mod encode;

use std::sync::Arc;
use std::time::Duration;

use ::access::{Operation, Resource};
use ::topics::{AbortedTransaction, Marks, Partition, ReadBatches, ReadError};
use base::{Offset, TopicId};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::select_all;
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_request::FetchPartition;
use tokio::sync::watch;
use tokio::time::Instant;

use super::super::connection::Close;
use super::super::frame::Header;
use super::super::reply::Reply;
use super::super::session::Caller;
use super::super::{Broker, errors};

/// Most record bytes of one response, whatever the client would take (Kafka's `fetch.max.bytes` on the broker).
const RESPONSE_BYTES_MAX: usize = 16 << 20;
const READ_COMMITTED: i8 = 1;
/// First version that names topics by id.
const TOPIC_IDS_SINCE: i16 = 13;

/// One topic of the response.
struct TopicFetch {
    name: String,
    id: TopicId,
    partitions: Vec<PartitionFetch>,
}

/// One partition of the response while it is being filled.
struct PartitionFetch {
    index: i32,
    error: Option<Code>,
    /// None when there is an error.
    source: Option<Source>,
    marks: Option<Marks>,
    pieces: Vec<Bytes>,
    /// Of the pieces; by first offset and each once when it is encoded.
    aborted: Vec<AbortedTransaction>,
}

struct Source {
    partition: Partition,
    durable: watch::Receiver<Offset>,
    /// What was asked for.
    from: Offset,
    next: Offset,
    max_bytes: usize,
}

/// Limits of the whole request.
#[derive(Clone, Copy)]
struct Wanted {
    max_bytes: usize,
    read_committed: bool,
}

pub(super) async fn answer(
    caller: Caller,
    broker: Arc<Broker>,
    header: Header,
    request: FetchRequest,
) -> Result<Option<Reply>, Close> {
    let wanted = Wanted {
        max_bytes: usize::try_from(request.max_bytes).unwrap_or(0).min(RESPONSE_BYTES_MAX),
        read_committed: request.isolation_level == READ_COMMITTED,
    };
    if request.session_id != 0 {
        // No session was ever opened here; the client starts over with a full request.
        let error = Some(Code::FetchSessionIdNotFound);
        return Ok(Some(encode::reply(&header, error, &[], wanted.read_committed)?));
    }
    let min_bytes = usize::try_from(request.min_bytes).unwrap_or(0);
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let deadline = Instant::now() + wait;
    let mut topics_changed = broker.topics.watch_topics();
    topics_changed.mark_unchanged();
    let mut topics = resolve(&caller, &broker, header.version, request);
    let mut permit = broker.responses.take(wanted.max_bytes).await;
    loop {
        let share = Wanted { max_bytes: permit.bytes(), ..wanted };
        topics = super::off_thread(move || read_all(topics, share)).await?;
        let bytes: usize = partitions(&topics).map(PartitionFetch::bytes).sum();
        if bytes > permit.bytes() && !permit.is_whole() && !permit.try_grow(bytes) {
            // A first batch that is larger than its share: nothing is held while there is no room for it.
            topics.iter_mut().flat_map(|t| &mut t.partitions).for_each(PartitionFetch::start_over);
            drop(permit);
            permit = broker.responses.take_all(bytes).await;
            continue;
        }
        permit.shrink(bytes);
        let failed = partitions(&topics).any(|p| p.error.is_some());
        let enough = failed || bytes >= min_bytes.min(share.max_bytes.max(1));
        if enough
            || !wait_for_more(&mut topics, &mut topics_changed, deadline).await
            || !permit.try_grow_by_a_share(wanted.max_bytes)
        {
            topics.iter_mut().flat_map(|t| &mut t.partitions).for_each(PartitionFetch::order_aborted);
            let reply = encode::reply(&header, None, &topics, wanted.read_committed)?;
            return Ok(Some(reply.holding(permit)));
        }
        drop_deleted(&broker, header.version, &mut topics);
    }
}

fn partitions(topics: &[TopicFetch]) -> impl Iterator<Item = &PartitionFetch> {
    topics.iter().flat_map(|topic| &topic.partitions)
}

impl PartitionFetch {
    fn bytes(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }

    fn refused(index: i32, code: Code) -> Self {
        Self { index, error: Some(code), source: None, marks: None, pieces: Vec::new(), aborted: Vec::new() }
    }

    /// A transaction may have records in several pieces; a client must hear of it once, and in order.
    fn order_aborted(&mut self) {
        self.aborted.sort_unstable_by_key(|a| (a.first_offset, a.producer_id));
        self.aborted.dedup();
    }

    /// Forgets what was read.
    fn start_over(&mut self) {
        self.pieces.clear();
        self.aborted.clear();
        if let Some(source) = &mut self.source {
            source.next = source.from;
        }
    }

    fn fail(&mut self, code: Code) {
        self.error = Some(code);
        self.source = None;
        self.pieces.clear();
        self.aborted.clear();
    }
}

/// Finds the partitions that are asked for and may be read.
fn resolve(caller: &Caller, broker: &Broker, version: i16, request: FetchRequest) -> Vec<TopicFetch> {
    let topics = request.topics.into_iter().map(|wanted| {
        let (name, id, missing) = if version >= TOPIC_IDS_SINCE {
            let id = TopicId(wanted.topic_id);
            let topic = broker.topics.topic_by_id(id);
            (topic.map(|t| t.name.to_string()), id, Code::UnknownTopicId)
        } else {
            let name = wanted.topic.to_string();
            (Some(name), TopicId(wanted.topic_id), Code::UnknownTopicOrPartition)
        };
        let reads = |name: &String| caller.may(Operation::Read, Resource::topic(name));
        let refused = name.as_ref().is_some_and(|name| !reads(name));
        let partitions = wanted.partitions.iter().map(|p| match &name {
            Some(_) if refused => PartitionFetch::refused(p.partition, Code::TopicAuthorizationFailed),
            Some(name) => open(broker, name, p),
            None => PartitionFetch::refused(p.partition, missing),
        });
        TopicFetch { partitions: partitions.collect(), name: name.clone().unwrap_or_default(), id }
    });
    topics.collect()
}

fn open(broker: &Broker, topic: &str, wanted: &FetchPartition) -> PartitionFetch {
    let Some(partition) = broker.topics.partition(topic, wanted.partition) else {
        return PartitionFetch::refused(wanted.partition, Code::UnknownTopicOrPartition);
    };
    if let Err(code) = super::offsets::check_epoch(broker, wanted.current_leader_epoch) {
        return PartitionFetch::refused(wanted.partition, code);
    }
    let mut durable = partition.watch_durable();
    // Whatever becomes durable after this wakes the fetch, also while it is still reading.
    durable.mark_unchanged();
    let source = Source {
        partition,
        durable,
        from: wanted.fetch_offset,
        next: wanted.fetch_offset,
        max_bytes: usize::try_from(wanted.partition_max_bytes).unwrap_or(0),
    };
    PartitionFetch {
        index: wanted.partition,
        error: None,
        source: Some(source),
        marks: None,
        pieces: Vec::new(),
        aborted: Vec::new(),
    }
}

/// Reads what there is beyond what was read before, within the limits.
fn read_all(mut topics: Vec<TopicFetch>, wanted: Wanted) -> Vec<TopicFetch> {
    let mut used = partitions(&topics).map(PartitionFetch::bytes).sum();
    for partition in topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
        match read_one(partition, wanted, used) {
            Ok(more) => used += more,
            Err(error) => {
                if let ReadError::Damaged { .. } | ReadError::Io(_) = error {
                    tracing::error!(error = %base::fault::chain(&error), "fetch cannot read the log");
                }
                partition.fail(errors::read(&error));
            }
        }
    }
    topics
}

fn read_one(into: &mut PartitionFetch, wanted: Wanted, used: usize) -> Result<usize, ReadError> {
    let here = into.bytes();
    let Some(source) = &mut into.source else { return Ok(0) };
    let marks = source.partition.marks();
    into.marks = Some(marks);
    let end = if wanted.read_committed { marks.stable } else { marks.durable };
    let room = wanted.max_bytes.saturating_sub(used).min(source.max_bytes.saturating_sub(here));
    let in_range = (marks.log_start..=end).contains(&source.next);
    // Nothing to read or no room: still ask when the offset may be out of range, for the error.
    if in_range && (source.next == end || (room == 0 && used > 0)) {
        return Ok(0);
    }
    let read: ReadBatches = source.partition.read(source.next, end, room)?;
    let length = read.bytes.len();
    if length == 0 || (used > 0 && length > room) {
        return Ok(0);
    }
    source.next = read.next;
    into.marks = Some(read.marks);
    into.pieces.push(read.bytes);
    if wanted.read_committed {
        into.aborted.extend(read.aborted);
    }
    Ok(length)
}

/// Waits until a partition has more, or topics have come or gone; false at the deadline.
async fn wait_for_more(
    topics: &mut [TopicFetch],
    topics_changed: &mut watch::Receiver<u64>,
    deadline: Instant,
) -> bool {
    let sources = topics.iter_mut().flat_map(|t| &mut t.partitions).filter_map(|p| p.source.as_mut());
    let mut changes: Vec<_> = sources.map(|source| source.durable.changed().boxed()).collect();
    changes.push(topics_changed.changed().boxed());
    tokio::time::timeout_at(deadline, select_all(changes)).await.is_ok()
}

/// Topics that were deleted meanwhile fail; the handles on their partitions would live on.
fn drop_deleted(broker: &Broker, version: i16, topics: &mut [TopicFetch]) {
    let missing =
        if version >= TOPIC_IDS_SINCE { Code::UnknownTopicId } else { Code::UnknownTopicOrPartition };
    for partition in topics.iter_mut().flat_map(|t| &mut t.partitions) {
        let id = partition.source.as_ref().map(|source| source.partition.topic().id);
        if id.is_some_and(|id| broker.topics.topic_by_id(id).is_none()) {
            partition.fail(missing);
        }
    }
}
