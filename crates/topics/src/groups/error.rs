//! What can go wrong in a group.
//!
//! Owns: one variant per answer that Kafka's group coordinator has.
//! Does not own: Kafka's error codes (gateway/kafka maps these).

use base::{ErrorKind, Fault};

/// An answer of the group coordinator that is no success. The names are those of Kafka's errors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    #[error("{0}")]
    FencedMemberEpoch(String),
    #[error("the member is in another epoch")]
    StaleMemberEpoch,
    #[error("a member with this group.instance.id is still there")]
    UnreleasedInstanceId,
    #[error("{0}")]
    UnsupportedAssignor(String),
    #[error("{0}")]
    InvalidRegularExpression(String),
    #[error("{0}")]
    UnsupportedVersion(String),
    /// The log cannot take the group's records now.
    #[error("the group coordinator is not available: {0}")]
    CoordinatorNotAvailable(String),
    #[error("an empty group id names no group")]
    InvalidGroupId,
    #[error("{0}")]
    InvalidRequest(String),
    #[error("a session timeout of {got} ms: it must lie from {min} to {max} ms")]
    InvalidSessionTimeout { got: i32, min: u128, max: u128 },
    /// Who joins first without an id gets one with this answer.
    #[error("join again with the member id of this answer")]
    MemberIdRequired,
    #[error("the group has no such member")]
    UnknownMemberId,
    #[error("the group is in another generation")]
    IllegalGeneration,
    #[error("the group is being rebalanced")]
    RebalanceInProgress,
    #[error("the group's members share no protocol with this one")]
    InconsistentGroupProtocol,
    #[error("another member has taken over this group.instance.id")]
    FencedInstanceId,
    #[error("{0}")]
    GroupMaxSizeReached(String),
    #[error("there is no group {0}")]
    GroupIdNotFound(String),
    #[error("the group has members")]
    NonEmptyGroup,
    #[error("the group is subscribed to the topic")]
    GroupSubscribedToTopic,
    #[error("the offset's metadata has {got} bytes, {max} are taken")]
    OffsetMetadataTooLarge { got: usize, max: usize },
    #[error("{0}")]
    InvalidCommitOffsetSize(String),
    #[error("there is no such topic or partition")]
    UnknownTopicOrPartition,
    #[error("a transaction that stores this offset has not ended")]
    UnstableOffsetCommit,
    /// The group's records do not fit the log.
    #[error("the group's metadata cannot be stored: {0}")]
    Unstorable(String),
    /// A newer producer with the same transactional id writes.
    #[error("{0}")]
    ProducerFenced(String),
    /// The producer id is not that of the transactional id.
    #[error("{0}")]
    InvalidProducerIdMapping(String),
    /// The transaction does not allow this now.
    #[error("{0}")]
    InvalidTxnState(String),
}

impl Fault for GroupError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::CoordinatorNotAvailable(_)
            | Self::RebalanceInProgress
            | Self::UnstableOffsetCommit
            | Self::MemberIdRequired => ErrorKind::Unavailable,
            Self::InvalidGroupId
            | Self::InvalidRequest(_)
            | Self::UnsupportedAssignor(_)
            | Self::InvalidRegularExpression(_)
            | Self::UnsupportedVersion(_)
            | Self::InvalidSessionTimeout { .. }
            | Self::InconsistentGroupProtocol
            | Self::GroupMaxSizeReached(_)
            | Self::OffsetMetadataTooLarge { .. }
            | Self::InvalidCommitOffsetSize(_)
            | Self::Unstorable(_) => ErrorKind::Invalid,
            Self::UnknownMemberId
            | Self::GroupIdNotFound(_)
            | Self::UnknownTopicOrPartition
            | Self::InvalidProducerIdMapping(_) => ErrorKind::NotFound,
            Self::NonEmptyGroup
            | Self::GroupSubscribedToTopic
            | Self::InvalidTxnState(_)
            | Self::UnreleasedInstanceId => ErrorKind::Conflict,
            Self::IllegalGeneration
            | Self::FencedInstanceId
            | Self::ProducerFenced(_)
            | Self::FencedMemberEpoch(_)
            | Self::StaleMemberEpoch => ErrorKind::Fenced,
        }
    }
}
