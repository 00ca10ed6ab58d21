//! The one mapping from this program's errors to Kafka's error codes.
//!
//! Owns: which code a client sees for which error.
//! Does not own: messages (they come from the errors themselves).
//! Invariants: every match is exhaustive, so that a new error does not compile until it has a code here; errors that
//! pass map to codes that clients retry, errors that stay map to codes that they do not.

use ::access::AccessError;
use base::{ErrorKind, Fault};
use kafka_protocol::ResponseError as Code;
use pipelines::CommandError;
use topics::groups::GroupError;
use topics::{AppendError, DeleteRecordsError, ReadError, TopicError, TransactionError};

/// No error.
pub(super) const NONE: i16 = 0;

/// Users and ACLs.
pub(super) fn access(error: &AccessError) -> Code {
    match error {
        AccessError::TooManyBindings | AccessError::TooManyUsers => Code::PolicyViolation,
        AccessError::UserName(_) | AccessError::Credential(_) => Code::UnacceptableCredential,
        AccessError::NoCredential { .. } => Code::ResourceNotFound,
        AccessError::Control(_) => Code::KafkaStorageError,
    }
}

/// Producing.
pub(super) fn append(error: &AppendError) -> Code {
    match error {
        AppendError::UnknownPartition { .. } => Code::UnknownTopicOrPartition,
        AppendError::CorruptBatch(_) => Code::CorruptMessage,
        AppendError::UnsupportedMagic(_) => Code::UnsupportedForMessageFormat,
        AppendError::TooLarge { .. } => Code::MessageTooLarge,
        AppendError::InvalidRecord(_) | AppendError::KeysMissing(_) => Code::InvalidRecord,
        AppendError::InvalidTimestamp(_) => Code::InvalidTimestamp,
        AppendError::OutOfOrderSequence { .. } => Code::OutOfOrderSequenceNumber,
        AppendError::ProducerFenced { .. } | AppendError::WriterFenced { .. } => Code::InvalidProducerEpoch,
        AppendError::InvalidTransactionState(_) => Code::InvalidTxnState,
        AppendError::ProducerIdMapping { .. } => Code::InvalidProducerIdMapping,
        AppendError::InternalTopic(_) => Code::InvalidTopicException,
        AppendError::DiskFull { .. } | AppendError::Offline(_) | AppendError::Busy(_) => {
            Code::KafkaStorageError
        }
    }
}

/// Fetching and looking up offsets.
pub(super) fn read(error: &ReadError) -> Code {
    match error {
        ReadError::UnknownPartition { .. } => Code::UnknownTopicOrPartition,
        ReadError::OutOfRange { .. } => Code::OffsetOutOfRange,
        ReadError::Damaged { .. } | ReadError::Io(_) => Code::KafkaStorageError,
    }
}

/// Topics themselves.
pub(super) fn topic(error: &TopicError) -> Code {
    match error {
        TopicError::Name(_) | TopicError::Internal(_) => Code::InvalidTopicException,
        TopicError::Exists(_) => Code::TopicAlreadyExists,
        TopicError::NotFound(_) => Code::UnknownTopicOrPartition,
        TopicError::PartitionCount(..) | TopicError::PartitionsOnlyGrow { .. } => Code::InvalidPartitions,
        TopicError::UnknownConfig { .. } | TopicError::InvalidConfig { .. } => Code::InvalidConfig,
        TopicError::NotForNode(_) => Code::InvalidRequest,
        TopicError::ReplicationFactor(_) => Code::InvalidReplicationFactor,
        TopicError::Control(_) | TopicError::Io(_) | TopicError::Offline(_) => Code::KafkaStorageError,
    }
}

/// Transactions.
pub(super) fn transaction(error: &TransactionError) -> Code {
    match error {
        TransactionError::InvalidRequest(_) => Code::InvalidRequest,
        TransactionError::InvalidTimeout { .. } => Code::InvalidTransactionTimeout,
        TransactionError::ProducerIdMapping { .. } => Code::InvalidProducerIdMapping,
        TransactionError::Fenced { .. } => Code::ProducerFenced,
        TransactionError::InvalidState { .. } => Code::InvalidTxnState,
        TransactionError::Concurrent(_) => Code::ConcurrentTransactions,
        TransactionError::TooMany(_) => Code::PolicyViolation,
        TransactionError::UnknownPartition { .. } => Code::UnknownTopicOrPartition,
        // Clients ask again; the codes of the disk and of records they do not expect from a coordinator.
        TransactionError::Append(_) | TransactionError::Topic(_) => Code::CoordinatorNotAvailable,
    }
}

/// Markers that an operator writes.
pub(super) fn marker(error: &TransactionError) -> Code {
    match error {
        TransactionError::Append(error) => append(error),
        other => transaction(other),
    }
}

/// Deleting records up to an offset.
pub(super) fn delete_records(error: &DeleteRecordsError) -> Code {
    match error {
        DeleteRecordsError::UnknownPartition { .. } => Code::UnknownTopicOrPartition,
        DeleteRecordsError::OutOfRange { .. } => Code::OffsetOutOfRange,
        DeleteRecordsError::Internal { .. } => Code::InvalidTopicException,
        DeleteRecordsError::Compacted { .. } | DeleteRecordsError::TableBehind { .. } => {
            Code::PolicyViolation
        }
        DeleteRecordsError::Io(_) | DeleteRecordsError::Offline(_) => Code::KafkaStorageError,
    }
}

/// Consumer groups.
pub(super) fn group(error: &GroupError) -> Code {
    match error {
        GroupError::CoordinatorNotAvailable(_) => Code::CoordinatorNotAvailable,
        GroupError::InvalidGroupId => Code::InvalidGroupId,
        GroupError::InvalidRequest(_) => Code::InvalidRequest,
        GroupError::InvalidSessionTimeout { .. } => Code::InvalidSessionTimeout,
        GroupError::MemberIdRequired => Code::MemberIdRequired,
        GroupError::UnknownMemberId => Code::UnknownMemberId,
        GroupError::IllegalGeneration => Code::IllegalGeneration,
        GroupError::RebalanceInProgress => Code::RebalanceInProgress,
        GroupError::InconsistentGroupProtocol => Code::InconsistentGroupProtocol,
        GroupError::FencedInstanceId => Code::FencedInstanceId,
        GroupError::GroupMaxSizeReached(_) => Code::GroupMaxSizeReached,
        GroupError::GroupIdNotFound(_) => Code::GroupIdNotFound,
        GroupError::NonEmptyGroup => Code::NonEmptyGroup,
        GroupError::GroupSubscribedToTopic => Code::GroupSubscribedToTopic,
        GroupError::OffsetMetadataTooLarge { .. } => Code::OffsetMetadataTooLarge,
        GroupError::InvalidCommitOffsetSize(_) => Code::InvalidCommitOffsetSize,
        GroupError::UnknownTopicOrPartition => Code::UnknownTopicOrPartition,
        GroupError::UnstableOffsetCommit => Code::UnstableOffsetCommit,
        // What Kafka answers when a group does not fit its topic.
        GroupError::Unstorable(_) => Code::UnknownServerError,
        GroupError::ProducerFenced(_) => Code::InvalidProducerEpoch,
        GroupError::FencedMemberEpoch(_) => Code::FencedMemberEpoch,
        GroupError::StaleMemberEpoch => Code::StaleMemberEpoch,
        GroupError::UnreleasedInstanceId => Code::UnreleasedInstanceId,
        GroupError::UnsupportedAssignor(_) => Code::UnsupportedAssignor,
        GroupError::InvalidRegularExpression(_) => Code::InvalidRegularExpression,
        GroupError::UnsupportedVersion(_) => Code::UnsupportedVersion,
        GroupError::InvalidProducerIdMapping(_) => Code::InvalidProducerIdMapping,
        GroupError::InvalidTxnState(_) => Code::InvalidTxnState,
    }
}

/// The code of an outcome in a consumer group.
pub(super) fn group_code<T>(outcome: &Result<T, GroupError>) -> i16 {
    outcome.as_ref().map_or_else(|error| group(error).code(), |_| NONE)
}

/// Commands that span nouns.
pub(super) fn command(error: &CommandError) -> Code {
    match error {
        CommandError::Topic(e) => topic(e),
        CommandError::Append(e) => append(e),
        CommandError::DeleteRecords(e) => delete_records(e),
        CommandError::Read(_)
        | CommandError::Registry(_)
        | CommandError::Catalog(_)
        | CommandError::Commit(_)
        | CommandError::Spec(_)
        | CommandError::Invalid(_)
        | CommandError::NotFound(_)
        | CommandError::Conflict(_)
        | CommandError::Unavailable(_)
        | CommandError::Internal(_)
        | CommandError::Control(_) => kind(error.kind()),
    }
}

/// Errors that Kafka has no word for.
fn kind(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::Invalid => Code::InvalidConfig,
        ErrorKind::NotFound => Code::ResourceNotFound,
        ErrorKind::Conflict | ErrorKind::Fenced => Code::PolicyViolation,
        ErrorKind::Unavailable => Code::RequestTimedOut,
        ErrorKind::Corrupt => Code::KafkaStorageError,
        ErrorKind::Internal => Code::UnknownServerError,
    }
}
