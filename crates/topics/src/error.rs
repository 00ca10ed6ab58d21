//! What can go wrong in the log, per operation.
//!
//! Owns: the errors of this crate and their kinds.
//! Does not own: Kafka error codes (gateway/kafka maps these).

use base::{ErrorKind, Fault, Offset, PartitionId};

/// Opening the log.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Bytes that were synced once do not read back.
    #[error("damaged log file {file} at byte {position}: {reason}; {}", way_out(file))]
    Damaged { file: String, position: u64, reason: String },
    /// The control store is older than the log.
    #[error(
        "{directory} holds records of a topic that control.redb does not know: control.redb is older than the log or of another one; restore the newest copy of control.redb, or move that directory away to go on without its records"
    )]
    UnknownTopic { directory: String },
    /// The disk refused.
    #[error("cannot open the log: {context}")]
    Io {
        context: String,
        #[source]
        source: std::io::Error,
    },
    /// The control store refused.
    #[error("cannot read the log's control state")]
    Control(#[from] storage::ControlError),
}

/// What to do about a damaged file.
fn way_out(file: &str) -> &'static str {
    if file.ends_with(".log") {
        "restore it from a copy, or move the partition's directory away to go on without it"
    } else {
        "all partitions depend on it: restore the whole directory `log` from a copy that was made at one moment"
    }
}

/// Appending batches.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    #[error("topic {topic} has no partition {partition}")]
    UnknownPartition { topic: String, partition: PartitionId },
    /// The batch's bytes are not a valid v2 batch: CRC, counts, magic, control bit, several batches.
    #[error("corrupt batch: {0}")]
    CorruptBatch(String),
    #[error("unsupported magic byte {0}: only record batches of version 2 are taken")]
    UnsupportedMagic(i8),
    #[error("a batch of {size} bytes is larger than max.message.bytes = {max} of topic {topic}")]
    TooLarge { topic: String, size: usize, max: usize },
    /// A record of the batch is not allowed here (for example without a key on a compacted topic).
    #[error("invalid record: {0}")]
    InvalidRecord(String),
    /// Which records of the batch have no key, counted from 0, where the topic needs keys.
    #[error("{} records have no key, which cleanup.policy=compact needs", .0.len())]
    KeysMissing(Vec<i32>),
    #[error("timestamp {0} is outside the range that the topic takes")]
    InvalidTimestamp(i64),
    #[error("sequence {got} of producer {producer_id} is out of order: expected {expected}")]
    OutOfOrderSequence { producer_id: i64, expected: i32, got: i32 },
    /// The same producer id with a newer epoch has written.
    #[error("producer {producer_id} epoch {got} is fenced by epoch {current}")]
    ProducerFenced { producer_id: i64, current: i16, got: i16 },
    /// The batch does not fit the state of its producer's transaction.
    #[error("{0}")]
    InvalidTransactionState(String),
    /// The batch's producer id is not the one of its transactional id.
    #[error("producer {producer_id} is not the one of transactional id {transactional_id}")]
    ProducerIdMapping { transactional_id: String, producer_id: i64 },
    /// Only this process writes to internal topics.
    #[error("topic {0} is internal: clients cannot write to it")]
    InternalTopic(String),
    /// A named writer of atomic appends was replaced by a newer one.
    #[error("writer {writer} epoch {got} is fenced by epoch {current}")]
    WriterFenced { writer: String, current: i64, got: i64 },
    /// Free space is down to the reserve that the tables need to catch up.
    #[error(
        "disk is full: {free} bytes free, {reserve} are kept for the tables; free space or lower retention"
    )]
    DiskFull { free: u64, reserve: u64 },
    /// An fsync failed or the directory is offline since one did: restart after looking at the disk.
    #[error("the log is offline: {0}")]
    Offline(String),
    /// The queue of unsynced bytes is full.
    #[error("the log is busy: {0} bytes wait for the disk")]
    Busy(u64),
}

/// Reading batches.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("topic {topic} has no partition {partition}")]
    UnknownPartition { topic: String, partition: PartitionId },
    #[error("offset {offset} is outside [{log_start}, {end}]")]
    OutOfRange { offset: Offset, log_start: Offset, end: Offset },
    #[error("damaged log file {file} at byte {position}: {reason}")]
    Damaged { file: String, position: u64, reason: String },
    #[error("cannot read the log")]
    Io(#[from] std::io::Error),
}

/// Deleting records up to an offset.
#[derive(Debug, thiserror::Error)]
pub enum DeleteRecordsError {
    #[error("topic {topic} has no partition {partition}")]
    UnknownPartition { topic: String, partition: PartitionId },
    #[error("offset {offset} is outside [{log_start}, {end}]")]
    OutOfRange { offset: Offset, log_start: Offset, end: Offset },
    #[error("topic {topic} is internal: its records are not deleted by offset")]
    Internal { topic: String },
    /// As in Kafka, only topics whose old records are deleted anyway.
    #[error("topic {topic} has a cleanup.policy without delete: its records are not deleted by offset")]
    Compacted { topic: String },
    /// A table of the topic still has to read what would go.
    #[error(
        "{topic}-{partition}: the topic's table has read up to offset {materialized}, records below {offset} are kept for it; let it catch up, or lower frazil.retention.hold.bytes"
    )]
    TableBehind { topic: String, partition: PartitionId, materialized: Offset, offset: Offset },
    #[error("cannot store where the partition begins")]
    Io(#[from] std::io::Error),
    #[error("the log is offline: {0}")]
    Offline(String),
}

/// Creating, changing and deleting topics.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    #[error(transparent)]
    Name(#[from] base::ids::InvalidTopicName),
    #[error("topic {0} exists already")]
    Exists(String),
    #[error("there is no topic {0}")]
    NotFound(String),
    #[error("{0} partitions: a topic has 1 to {1}")]
    PartitionCount(i32, i32),
    #[error("topic {topic} has {have} partitions: their number only grows, {want} is not more")]
    PartitionsOnlyGrow { topic: String, have: i32, want: i32 },
    #[error("unknown topic property `{name}`{hint}")]
    UnknownConfig { name: String, hint: String },
    #[error("`{value}` is no value for {name}: {reason}")]
    InvalidConfig { name: String, value: String, reason: String },
    /// The log's own topics are made by the log, keep their properties and stay.
    #[error("topic {0} is internal: the log makes and keeps it itself")]
    Internal(String),
    #[error("{0} is not set on a running node: the node's settings are in its configuration file")]
    NotForNode(String),
    #[error(
        "replication factor {0}: this log keeps one copy, ask for 1 or -1 (or allow up to `replication.factor.max`)"
    )]
    ReplicationFactor(i16),
    #[error("cannot store the topic")]
    Control(#[from] storage::ControlError),
    #[error("cannot make the topic's directories")]
    Io(#[from] std::io::Error),
    #[error("the log is offline: {0}")]
    Offline(String),
}

impl Fault for OpenError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Damaged { .. } | Self::UnknownTopic { .. } => ErrorKind::Corrupt,
            Self::Io { .. } => ErrorKind::Unavailable,
            Self::Control(e) => e.kind(),
        }
    }
}

impl Fault for AppendError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownPartition { .. } => ErrorKind::NotFound,
            Self::CorruptBatch(_)
            | Self::UnsupportedMagic(_)
            | Self::TooLarge { .. }
            | Self::InvalidRecord(_)
            | Self::KeysMissing(_)
            | Self::InvalidTimestamp(_)
            | Self::InternalTopic(_) => ErrorKind::Invalid,
            Self::OutOfOrderSequence { .. } | Self::InvalidTransactionState(_) => ErrorKind::Conflict,
            Self::ProducerFenced { .. } | Self::WriterFenced { .. } | Self::ProducerIdMapping { .. } => {
                ErrorKind::Fenced
            }
            Self::DiskFull { .. } | Self::Offline(_) | Self::Busy(_) => ErrorKind::Unavailable,
        }
    }
}

impl Fault for ReadError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownPartition { .. } => ErrorKind::NotFound,
            Self::OutOfRange { .. } => ErrorKind::Invalid,
            Self::Damaged { .. } => ErrorKind::Corrupt,
            Self::Io(_) => ErrorKind::Unavailable,
        }
    }
}

impl Fault for DeleteRecordsError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownPartition { .. } => ErrorKind::NotFound,
            Self::OutOfRange { .. } | Self::Internal { .. } | Self::Compacted { .. } => ErrorKind::Invalid,
            Self::TableBehind { .. } => ErrorKind::Conflict,
            Self::Io(_) | Self::Offline(_) => ErrorKind::Unavailable,
        }
    }
}

impl Fault for TopicError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Name(_)
            | Self::PartitionCount(..)
            | Self::PartitionsOnlyGrow { .. }
            | Self::UnknownConfig { .. }
            | Self::InvalidConfig { .. }
            | Self::Internal(_)
            | Self::NotForNode(_)
            | Self::ReplicationFactor(_) => ErrorKind::Invalid,
            Self::Exists(_) => ErrorKind::Conflict,
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::Control(e) => e.kind(),
            Self::Io(_) | Self::Offline(_) => ErrorKind::Unavailable,
        }
    }
}

/// Transactions: what the coordinator answers.
#[derive(Debug, thiserror::Error)]
pub enum TransactionError {
    #[error("{0}")]
    InvalidRequest(String),
    #[error("a transaction timeout of {got} ms: 1 to {max} ms are taken (transaction.max.timeout.ms)")]
    InvalidTimeout { got: i32, max: i64 },
    /// Nobody initialised the transactional id, or it has another producer id.
    #[error("producer {producer_id} is not the one of transactional id {transactional_id}")]
    ProducerIdMapping { transactional_id: String, producer_id: i64 },
    /// A newer producer has the transactional id.
    #[error(
        "producer {producer_id} epoch {got} of transactional id {transactional_id} is fenced by epoch {current}"
    )]
    Fenced { transactional_id: String, producer_id: i64, current: i16, got: i16 },
    #[error("transactional id {transactional_id} is {state}: {reason}")]
    InvalidState { transactional_id: String, state: &'static str, reason: &'static str },
    /// The transaction is just ending: ask again.
    #[error("a transaction of transactional id {0} is just ending")]
    Concurrent(String),
    #[error("{0}")]
    TooMany(String),
    #[error("topic {topic} has no partition {partition}")]
    UnknownPartition { topic: String, partition: PartitionId },
    #[error("cannot store the state of transactions")]
    Append(#[from] AppendError),
    #[error("cannot make the topic that keeps the state of transactions")]
    Topic(#[from] TopicError),
}

impl Fault for TransactionError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidRequest(_) | Self::InvalidTimeout { .. } | Self::TooMany(_) => ErrorKind::Invalid,
            Self::ProducerIdMapping { .. } | Self::Fenced { .. } => ErrorKind::Fenced,
            Self::InvalidState { .. } => ErrorKind::Conflict,
            Self::Concurrent(_) => ErrorKind::Unavailable,
            Self::UnknownPartition { .. } => ErrorKind::NotFound,
            Self::Append(e) => e.kind(),
            Self::Topic(e) => e.kind(),
        }
    }
}
