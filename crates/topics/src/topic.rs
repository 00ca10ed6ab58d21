//! Topics: their identity and their properties.
//!
//! Owns: the typed form of topic properties, their names, defaults and checks (Kafka's topic configs plus
//! `redpanda.iceberg.*`, which are kept and checked for form here but mean nothing to the log).
//! Does not own: what the Iceberg properties do.
//! Invariants: a stored property has a known name and a value of its form.

use std::collections::BTreeMap;

use base::{PartitionId, TopicId, TopicName};
use serde::{Deserialize, Serialize};

use crate::error::TopicError;

mod keys;

/// Where groups store their offsets, in Kafka's own record format.
pub const CONSUMER_OFFSETS: &str = "__consumer_offsets";
/// Where the state of transactions is stored, in Kafka's own record format.
pub const TRANSACTION_STATE: &str = "__transaction_state";

/// Whether the log makes and writes the topic of that name itself.
pub fn is_internal(name: &str) -> bool {
    matches!(name, CONSUMER_OFFSETS | TRANSACTION_STATE)
}

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

impl TopicInfo {
    /// Whether the log makes and writes it itself.
    pub fn is_internal(&self) -> bool {
        is_internal(self.name.as_str())
    }
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
    pub default: &'static str,
    pub doc: &'static str,
    pub form: ConfigForm,
}

/// The form of a property's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigForm {
    /// `true` or `false`.
    Boolean,
    /// A 32-bit whole number from the smallest to the largest allowed.
    Int(i64, i64),
    /// A 64-bit whole number from the smallest to the largest allowed.
    Long(i64, i64),
    /// A number from 0 to 1.
    Ratio,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Some of these words, separated by commas.
    Words(&'static [&'static str]),
    /// Any text.
    Text,
    /// `redpanda.iceberg.mode`: a mode, perhaps with options after a colon, or sections.
    IcebergMode,
    /// `redpanda.iceberg.partition.spec`: transforms in parentheses.
    PartitionSpec,
}

impl ConfigKey {
    /// All properties there are, by name.
    pub fn all() -> &'static [ConfigKey] {
        keys::ALL
    }

    /// Properties that can be set on the node while it runs. They are the ones that tools set there and that change
    /// nothing here: everything else comes from the node's settings.
    pub fn for_node() -> impl Iterator<Item = &'static ConfigKey> {
        keys::ALL.iter().filter(|key| matches!(key.name, "flush.messages" | "flush.ms"))
    }

    /// The property of that name.
    pub fn named(name: &str) -> Option<&'static ConfigKey> {
        keys::ALL.iter().find(|key| key.name == name)
    }

    fn known(name: &str) -> Result<&'static ConfigKey, TopicError> {
        Self::named(name).ok_or_else(|| TopicError::UnknownConfig {
            name: name.chars().take(128).collect(),
            hint: nearest(name).map_or_else(String::new, |near| format!("; did you mean `{near}`?")),
        })
    }

    /// Checks the form of a value; the error tells what is expected.
    pub fn check(&self, value: &str) -> Result<(), String> {
        match self.form {
            ConfigForm::Boolean => word(value, &["true", "false"]),
            ConfigForm::Int(min, max) | ConfigForm::Long(min, max) => match value.trim().parse::<i64>() {
                Ok(number) if (min..=max).contains(&number) => Ok(()),
                Ok(_) => Err(format!("it must lie from {min} to {max}")),
                Err(_) => Err("a whole number is expected".into()),
            },
            ConfigForm::Ratio => match value.trim().parse::<f64>() {
                Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(()),
                _ => Err("a number from 0 to 1 is expected".into()),
            },
            ConfigForm::Word(words) => word(value, words),
            ConfigForm::Words(words) => value.split(',').try_for_each(|one| word(one.trim(), words)),
            ConfigForm::Text => Ok(()),
            ConfigForm::IcebergMode => iceberg_mode(value),
            ConfigForm::PartitionSpec => partition_spec(value),
        }
    }
}

fn word(value: &str, words: &[&str]) -> Result<(), String> {
    if words.contains(&value) { Ok(()) } else { Err(format!("use {}", words.join(", "))) }
}

fn iceberg_mode(value: &str) -> Result<(), String> {
    const MODES: [&str; 4] = ["disabled", "key_value", "value_schema_id_prefix", "value_schema_latest"];
    let first = value.split([':', ';']).next().unwrap_or_default();
    let sections = ["key", "value", "headers"].contains(&first) && value.contains('=');
    if sections { Ok(()) } else { word(first, &MODES) }
}

fn partition_spec(value: &str) -> Result<(), String> {
    let mut depth = 0i32;
    let value = value.trim();
    for (at, c) in value.char_indices() {
        depth += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        if depth < 0 || (depth == 0 && at + c.len_utf8() < value.len()) {
            return Err("write it as (column, transform(column), …), or () for none".into());
        }
    }
    if depth == 0 && value.starts_with('(') {
        Ok(())
    } else {
        Err("write it as (column, transform(column), …), or () for none".into())
    }
}

/// The known name that needs the fewest edits to become from `name`, when that is plausible.
fn nearest(name: &str) -> Option<&'static str> {
    if name.len() > 128 {
        return None;
    }
    let (distance, near) = keys::ALL.iter().map(|key| (edits(name, key.name), key.name)).min()?;
    (distance <= 3 + name.len() / 4).then_some(near)
}

fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

impl TopicConfig {
    /// Checks names and values.
    pub fn new(set: &BTreeMap<String, String>) -> Result<Self, TopicError> {
        let mut config = Self::default();
        for (name, value) in set {
            config.set(name, Some(value))?;
        }
        config.check_together()?;
        Ok(config)
    }

    /// Sets (`Some`) or resets (`None`) one property.
    pub fn set(&mut self, name: &str, value: Option<&str>) -> Result<(), TopicError> {
        let key = ConfigKey::known(name)?;
        match value {
            None => {
                self.set.remove(name);
            }
            Some(value) => {
                key.check(value).map_err(|reason| TopicError::InvalidConfig {
                    name: name.to_owned(),
                    value: value.chars().take(128).collect(),
                    reason,
                })?;
                self.set.insert(name.to_owned(), value.to_owned());
            }
        }
        Ok(())
    }

    /// Checks values against one another, as Kafka's LogConfig.validateValues.
    pub fn check_together(&self) -> Result<(), TopicError> {
        let (min, max) =
            (self.number("min.compaction.lag.ms", 0), self.number("max.compaction.lag.ms", i64::MAX));
        if min > max {
            return Err(TopicError::InvalidConfig {
                name: "min.compaction.lag.ms".into(),
                value: min.to_string(),
                reason: format!("it must not be larger than max.compaction.lag.ms = {max}"),
            });
        }
        Ok(())
    }

    /// The value that was set on the topic.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.set.get(name).map(String::as_str)
    }

    /// The value that holds: set on the topic, or the default; none of an unknown property.
    pub fn effective(&self, name: &str) -> Option<&str> {
        self.get(name).or_else(|| ConfigKey::named(name).map(|key| key.default))
    }

    /// All properties with the values that hold, for DescribeConfigs.
    pub fn entries(&self) -> impl Iterator<Item = (&'static ConfigKey, &str, ConfigSource)> {
        keys::ALL.iter().map(|key| match self.get(key.name) {
            Some(value) => (key, value, ConfigSource::Topic),
            None => (key, key.default, ConfigSource::Default),
        })
    }

    /// A whole number that holds; `otherwise` when there is none.
    pub(crate) fn number(&self, name: &str, otherwise: i64) -> i64 {
        self.effective(name).and_then(|v| v.trim().parse().ok()).unwrap_or(otherwise)
    }

    /// Whether `cleanup.policy` says compact.
    pub fn is_compacted(&self) -> bool {
        self.effective("cleanup.policy").is_some_and(|v| v.split(',').any(|p| p.trim() == "compact"))
    }

    /// Whether `cleanup.policy` says delete.
    pub fn is_deleted(&self) -> bool {
        self.effective("cleanup.policy").is_some_and(|v| v.split(',').any(|p| p.trim() == "delete"))
    }

    /// Whether the topic is a table, whatever of: the log keeps its records until they have been read.
    pub(crate) fn is_table(&self) -> bool {
        self.effective("redpanda.iceberg.mode").is_some_and(|mode| mode != "disabled")
    }

    /// Whether `message.timestamp.type` is LogAppendTime.
    pub fn stamps_records(&self) -> bool {
        self.effective("message.timestamp.type") == Some("LogAppendTime")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_have_their_own_form() {
        for key in ConfigKey::all() {
            assert_eq!(key.check(key.default), Ok(()), "{}", key.name);
            assert_eq!(keys::ALL.iter().filter(|k| k.name == key.name).count(), 1, "{}", key.name);
        }
    }

    #[test]
    fn unknown_names_get_a_hint() {
        let mut config = TopicConfig::default();
        let unknown = config.set("retention.mss", Some("1")).expect_err("unknown").to_string();
        assert!(unknown.contains("did you mean `retention.ms`?"), "{unknown}");
        let far = config.set("completely.unrelated", Some("1")).expect_err("unknown").to_string();
        assert!(!far.contains("did you mean"), "{far}");
    }

    #[test]
    fn values_are_checked_for_form() {
        let mut config = TopicConfig::default();
        for (name, good, bad) in [
            ("cleanup.policy", "compact,delete", "compress"),
            ("retention.ms", "-1", "-2"),
            ("max.message.bytes", "0", "1MB"),
            ("message.timestamp.type", "LogAppendTime", "logappendtime"),
            ("min.cleanable.dirty.ratio", "0.1", "1.1"),
            ("redpanda.iceberg.mode", "value_schema_latest:subject=x", "values"),
            ("redpanda.iceberg.mode", "key:mode=string;value:mode=binary", "key"),
            ("redpanda.iceberg.partition.spec", "(hour(redpanda.timestamp), a)", "hour(ts)"),
            ("redpanda.iceberg.delete", "false", "no"),
            ("redpanda.iceberg.target.lag.ms", "10000", "10s"),
        ] {
            config.set(name, Some(good)).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(
                matches!(config.set(name, Some(bad)), Err(TopicError::InvalidConfig { .. })),
                "{name}={bad}"
            );
            assert_eq!(config.get(name), Some(good));
        }
        config.set("retention.ms", None).expect("reset");
        assert_eq!((config.get("retention.ms"), config.effective("retention.ms")), (None, Some("604800000")));
    }
}
