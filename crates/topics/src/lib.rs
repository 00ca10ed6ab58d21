//! The log: topics, partitions, offsets, producers, atomic appends.
//!
//! Owns: Kafka v2 record batches kept verbatim, offsets, the five marks of a partition, producer sequences, transactions,
//! named progress that is stored in the same record as the batches it belongs to, cuts, recovery.
//! Does not own: what a payload means, Arrow, Iceberg, sockets, protocol structs.
//! Invariants: `log_start ≤ materialized ≤ stable ≤ durable ≤ appended`; nothing is readable before it is durable;
//! an atomic append is visible whole or not at all.

pub mod batch;
pub mod cluster;
pub mod embedded;
pub mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod groups;
pub mod log;
#[cfg(feature = "sabotage")]
pub mod sabotage;
pub mod settings;
pub mod topic;
pub mod transactions;

pub use embedded::{Compacted, Groups, Partition, Removed, Topics, Upkeep};
pub use error::{AppendError, DeleteRecordsError, OpenError, ReadError, TopicError, TransactionError};
pub use log::{
    AbortedTransaction, Appended, AtomicAppend, Consumed, Cut, Hold, Marks, PendingAppend, ProducerInfo,
    Progress, ProgressValue, ReadBatches, Terms, TopicPartition, Until, WriterId,
};
pub use settings::{GroupSettings, Settings};
pub use topic::{ConfigForm, ConfigKey, ConfigSource, NewTopic, TopicConfig, TopicInfo};
pub use transactions::{Transaction, TransactionInfo, TransactionState, TransactionalProducer};
