//! Names and ids.
//!
//! Owns: what a topic may be called, and the types of the ids that cross crate borders.
//! Does not own: what the ids point to.
//! Invariants: a `TopicName` that exists is valid.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Position of a record in a partition: 0 for the first record ever written, then one more for each.
pub type Offset = i64;
/// Index of a partition in its topic, from 0.
pub type PartitionId = i32;
/// Id of a schema in the registry, from 1.
pub type SchemaId = i32;

/// Longest topic name that Kafka takes, in bytes.
pub const TOPIC_NAME_BYTES_MAX: usize = 249;

/// A topic name as Kafka allows it: 1 to 249 of `[a-zA-Z0-9._~-]`, neither `.` nor `..`.
///
/// `~` goes beyond Kafka: it marks dead-letter topics and tables, as in Redpanda.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TopicName(Arc<str>);

/// Why a string is no topic name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is no topic name: {reason}; use 1 to 249 of a-z A-Z 0-9 . _ -")]
pub struct InvalidTopicName {
    /// The refused name, cut to 64 characters.
    pub name: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl TopicName {
    /// Checks `name`.
    pub fn new(name: &str) -> Result<Self, InvalidTopicName> {
        let reason = if name.is_empty() {
            "it is empty"
        } else if name.len() > TOPIC_NAME_BYTES_MAX {
            "it is longer than 249 bytes"
        } else if name == "." || name == ".." {
            "it means a directory"
        } else if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'~')) {
            "it has a character outside the allowed ones"
        } else {
            return Ok(Self(name.into()));
        };
        Err(InvalidTopicName { name: name.chars().take(64).collect(), reason })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl std::borrow::Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for TopicName {
    type Error = InvalidTopicName;
    fn try_from(name: String) -> Result<Self, InvalidTopicName> {
        Self::new(&name)
    }
}

impl From<TopicName> for String {
    fn from(name: TopicName) -> Self {
        name.0.to_string()
    }
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A fresh random id.
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

uuid_id!(
    /// Identity of one log: made when its data directory is made, the same for ever.
    LogId
);
uuid_id!(
    /// Identity of one life of a topic: deleting and creating it again gives another.
    TopicId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_names_follow_kafka() {
        for good in ["a", "trades~dlq", "shop.public.orders", "__consumer_offsets", &"x".repeat(249)] {
            assert!(TopicName::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a b", "a/b", "ä", "a\0", &"x".repeat(250)] {
            assert!(TopicName::new(bad).is_err(), "{bad}");
        }
    }
}
