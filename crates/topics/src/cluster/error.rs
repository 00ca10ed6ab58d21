//! What can go wrong with a cluster.
//!
//! Owns: the mapping from Kafka's error codes to kinds.
//! Does not own: messages of the embedded log (`crate::error`).

use base::{ErrorKind, Fault};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;

/// A request to a cluster that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// Nobody answers at the bootstrap address.
    #[error("cannot reach Kafka at {bootstrap}: {reason}")]
    Unreachable { bootstrap: String, reason: String },
    /// The cluster wants a login, or does not take this one; `user` is none when there was none.
    #[error("Kafka at {bootstrap} does not let {} in: {reason}", .user.as_deref().unwrap_or("clients without a login"))]
    NotLetIn { bootstrap: String, user: Option<String>, reason: String },
    #[error("there is no topic {0}")]
    UnknownTopic(String),
    #[error("topic {topic} has no partition {partition}")]
    UnknownPartition { topic: String, partition: i32 },
    #[error("topic {0} exists already")]
    TopicExists(String),
    /// The broker refused; says what and which code.
    #[error("{subject}: the broker refused with {code}: {reason}")]
    Refused { subject: String, code: String, reason: String, retriable: bool },
    /// The properties of a topic are what they were after a change that should have changed them.
    #[error(
        "the properties of topic {0} are as they were: the broker refused the change, without a reason that this client passes on"
    )]
    Unchanged(String),
    /// Some records were not acknowledged.
    #[error("{failed} of {sent} records were not acknowledged; the first: {first}")]
    Undelivered { sent: u64, failed: u64, first: String },
    #[error("the queue of the producer stayed full for {seconds} s: the broker does not keep up")]
    QueueFull { seconds: u64 },
    #[error("cannot {doing}: {reason}")]
    Failed { doing: &'static str, reason: String },
}

impl Fault for ClusterError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Unreachable { .. } | Self::Undelivered { .. } | Self::QueueFull { .. } => {
                ErrorKind::Unavailable
            }
            Self::UnknownTopic(_) | Self::UnknownPartition { .. } => ErrorKind::NotFound,
            Self::TopicExists(_) => ErrorKind::Conflict,
            Self::Refused { retriable: true, .. } => ErrorKind::Unavailable,
            Self::Refused { .. } | Self::NotLetIn { .. } | Self::Unchanged(_) => ErrorKind::Invalid,
            Self::Failed { .. } => ErrorKind::Internal,
        }
    }
}

impl ClusterError {
    pub(crate) fn from_code(code: Code, subject: &str) -> Self {
        match code {
            Code::UnknownTopicOrPartition | Code::UnknownTopic => Self::UnknownTopic(subject.to_owned()),
            Code::TopicAlreadyExists => Self::TopicExists(subject.to_owned()),
            Code::UnknownPartition => Self::UnknownPartition { topic: subject.to_owned(), partition: -1 },
            other => Self::Refused {
                subject: subject.to_owned(),
                code: format!("{other:?}"),
                reason: other.to_string(),
                retriable: retriable(other),
            },
        }
    }

    pub(crate) fn from_kafka(error: KafkaError, bootstrap: &str) -> Self {
        match error.rdkafka_error_code() {
            Some(
                code @ (Code::BrokerTransportFailure
                | Code::AllBrokersDown
                | Code::OperationTimedOut
                | Code::Resolve
                | Code::RequestTimedOut
                | Code::TimedOutQueue),
            ) => Self::Unreachable { bootstrap: bootstrap.to_owned(), reason: code.to_string() },
            Some(code) => Self::from_code(code, bootstrap),
            None => Self::Failed { doing: "use the client", reason: error.to_string() },
        }
    }
}

fn retriable(code: Code) -> bool {
    matches!(
        code,
        Code::NotLeaderForPartition
            | Code::LeaderNotAvailable
            | Code::NotEnoughReplicas
            | Code::CoordinatorNotAvailable
            | Code::CoordinatorLoadInProgress
            | Code::KafkaStorageError
            | Code::RequestTimedOut
            | Code::NetworkException
    )
}
