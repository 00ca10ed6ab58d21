//! Topics: their identity and their properties.
//!
//! Owns: the typed form of topic properties, their names, defaults and checks (Kafka's topic configs plus
//! `redpanda.iceberg.*` and `frazil.*`, which are kept and checked for form here but mean nothing to the log).
//! Does not own: what the Iceberg properties do.

use std::collections::BTreeMap;

use base::{PartitionId, TopicId, TopicName};
use serde::{Deserialize, Serialize};

/// A topic to be created.
#[derive(Debug, Clone, Default)]
pub struct NewTopic {
    pub name: String,
    /// None: the broker's default.
    pub partitions: Option<i32>,
    /// Properties by Kafka's names; unknown ones are refused by name.
    pub config: BTreeMap<String, String>,
}

/// One life of a topic.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TopicInfo {
    pub id: TopicId,
    pub name: TopicName,
    pub partitions: PartitionId,
    pub created_ms: i64,
    pub config: TopicConfig,
}

/// Properties that were set on a topic; everything else is at its default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TopicConfig {
    pub(crate) set: BTreeMap<String, String>,
}

/// Where a property's value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigSource {
    /// Set on the topic.
    Topic,
    /// Built in.
    Default,
}

/// A topic property.
#[derive(Debug, Clone, Copy)]
pub struct ConfigKey {
    pub name: &'static str,
    pub default: Option<&'static str>,
    pub doc: &'static str,
}
