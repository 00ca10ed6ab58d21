//! A topic's properties as far as they make it a table, as a typed value.
//!
//! Owns: `redpanda.iceberg.*` and `frazil.table.*`; the name of a topic's table.
//! Does not own: storing properties (topics does); the grammar of modes (`grammar`).

use std::sync::Arc;
use std::time::Duration;

use tables::{TableIdent, Tables};
use topics::{TopicInfo, Topics};

mod grammar;

pub use grammar::{HeaderValues, IcebergMode, Latest, Section, Side, ValueLayout, default_subject, shown};

/// How far a table may be behind its topic when nothing else is said.
pub const TARGET_LAG_DEFAULT: Duration = Duration::from_secs(10);

const MODE: &str = "redpanda.iceberg.mode";
const NAMESPACE: &str = "frazil.table.namespace";
const NAME: &str = "frazil.table.name";

/// What becomes of records that do not fit (`redpanda.iceberg.invalid.record.action`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InvalidRecords {
    /// They go to the table `<topic>~dlq`.
    #[default]
    DeadLetter,
    Drop,
}

/// All properties of a topic that is a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IcebergTopic {
    pub mode: IcebergMode,
    /// `redpanda.iceberg.target.lag.ms`, default 10 s.
    pub target_lag: Duration,
    pub invalid_records: InvalidRecords,
    /// `redpanda.iceberg.partition.spec`; none: the node's default.
    pub partition_by: Option<String>,
    /// `redpanda.iceberg.delete`, default true: drop the table with the topic.
    pub delete_with_topic: bool,
    /// `frazil.table.backfill`, default true: what was in the topic before it became a table becomes rows too.
    pub backfill: bool,
    /// `frazil.table.namespace`; none: the node's default.
    namespace: Option<String>,
    /// `frazil.table.name`, or the topic's.
    name: String,
}

impl IcebergTopic {
    /// Reads a topic's properties; none when the topic is no table. The error names property, value and cure.
    pub fn of(topic: &TopicInfo) -> Result<Option<Self>, String> {
        Self::read(topic.name.as_str(), |name| topic.config.get(name))
    }

    fn read<'c>(topic: &str, get: impl Fn(&str) -> Option<&'c str>) -> Result<Option<Self>, String> {
        let Some(mode) = get(MODE).map(IcebergMode::parse).transpose()?.flatten() else {
            return Ok(None);
        };
        Ok(Some(Self {
            mode,
            target_lag: property("redpanda.iceberg.target.lag.ms", &get, |value| {
                match value.parse::<u64>() {
                    Ok(ms) => Ok(Duration::from_millis(ms)),
                    Err(_) => Err("give whole milliseconds, 0 or more"),
                }
            })?
            .unwrap_or(TARGET_LAG_DEFAULT),
            invalid_records: property("redpanda.iceberg.invalid.record.action", &get, |value| match value {
                "dlq_table" => Ok(InvalidRecords::DeadLetter),
                "drop" => Ok(InvalidRecords::Drop),
                _ => Err("use dlq_table or drop"),
            })?
            .unwrap_or_default(),
            partition_by: get("redpanda.iceberg.partition.spec").map(str::to_owned),
            delete_with_topic: property("redpanda.iceberg.delete", &get, boolean)?.unwrap_or(true),
            backfill: property("frazil.table.backfill", &get, boolean)?.unwrap_or(true),
            namespace: property(NAMESPACE, &get, named)?.flatten(),
            name: property(NAME, &get, named)?.flatten().unwrap_or_else(|| topic.to_owned()),
        }))
    }

    /// The table of the topic. A namespace of several levels is written with dots.
    pub fn table(&self, tables: &Tables) -> TableIdent {
        match &self.namespace {
            None => tables.ident(&self.name),
            Some(namespace) => TableIdent {
                namespace: namespace.split('.').map(str::to_owned).collect(),
                name: self.name.clone(),
            },
        }
    }

    /// The table of the records that are no rows.
    pub fn dead_letter_table(&self, tables: &Tables) -> TableIdent {
        let table = self.table(tables);
        TableIdent { name: format!("{}{DEAD_LETTER_SUFFIX}", table.name), ..table }
    }

    /// How the table is partitioned.
    pub fn partitioning<'a>(&'a self, tables: &'a Tables) -> &'a str {
        self.partition_by.as_deref().unwrap_or(&tables.settings().default_partition_by)
    }
}

/// The topic that a table is made of.
pub fn topic_of(
    topics: &Topics,
    tables: &Tables,
    table: &TableIdent,
) -> Option<(Arc<TopicInfo>, IcebergTopic)> {
    let made = |topic: Arc<TopicInfo>| {
        let settings = IcebergTopic::of(&topic).ok().flatten()?;
        (settings.table(tables) == *table).then_some((topic, settings))
    };
    // Most tables are called as their topics are.
    let namesake = topics.topic(&table.name).and_then(made);
    namesake.or_else(|| {
        let named = |topic: &Arc<TopicInfo>| [NAME, NAMESPACE].iter().any(|p| topic.config.get(p).is_some());
        topics.list().into_iter().filter(named).find_map(made)
    })
}

/// Behind the name of a topic's dead-letter table.
pub const DEAD_LETTER_SUFFIX: &str = "~dlq";

fn boolean(value: &str) -> Result<bool, &'static str> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("use true or false"),
    }
}

/// A name; none when it is empty.
fn named(value: &str) -> Result<Option<String>, &'static str> {
    let wrong = |c: char| c.is_control() || "/\\%*?".contains(c);
    let fine = |level: &str| !level.is_empty() && !level.contains(wrong);
    if value.is_empty() {
        Ok(None)
    } else if value.len() <= 255 && value.split('.').all(fine) {
        Ok(Some(value.to_owned()))
    } else {
        Err(
            "give at most 255 bytes without control characters, / \\ % * ?, and without empty parts between dots",
        )
    }
}

fn property<'c, T>(
    name: &str,
    get: impl Fn(&str) -> Option<&'c str>,
    parse: impl FnOnce(&str) -> Result<T, &'static str>,
) -> Result<Option<T>, String> {
    get(name)
        .map(|value| parse(value.trim()).map_err(|cure| format!("`{value}` is no value of {name}: {cure}")))
        .transpose()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn read(set: &[(&str, &str)]) -> Result<Option<IcebergTopic>, String> {
        let set: BTreeMap<_, _> = set.iter().copied().collect();
        IcebergTopic::read("trades", |name| set.get(name).copied())
    }

    #[test]
    fn defaults_are_those_that_topics_show() {
        let shown = |name: &str| match name {
            MODE => Some("key_value"),
            name => topics::ConfigKey::named(name).map(|key| key.default),
        };
        let left_out = read(&[(MODE, "key_value")]).expect("defaults").expect("a table");
        let mut set = IcebergTopic::read("trades", shown).expect("valid").expect("a table");
        let partition_by = set.partition_by.take();
        assert_eq!(partition_by, Some(tables::Settings::default().default_partition_by));
        assert_eq!(set, left_out);
    }

    #[test]
    fn the_other_properties_have_defaults() {
        let mode = ("redpanda.iceberg.mode", "key_value");
        let topic = read(&[mode]).expect("valid").expect("a table");
        assert_eq!(topic.target_lag, TARGET_LAG_DEFAULT);
        assert_eq!(topic.invalid_records, InvalidRecords::DeadLetter);
        assert_eq!(
            (topic.partition_by.as_deref(), topic.delete_with_topic, topic.backfill),
            (None, true, true)
        );
        assert_eq!((topic.namespace.as_deref(), topic.name.as_str()), (None, "trades"));
        let topic = read(&[
            mode,
            ("redpanda.iceberg.target.lag.ms", "250"),
            ("redpanda.iceberg.invalid.record.action", "drop"),
            ("redpanda.iceberg.partition.spec", "(day(redpanda.timestamp))"),
            ("frazil.table.backfill", "false"),
            ("frazil.table.namespace", "lake.raw"),
            ("frazil.table.name", "all_trades"),
            ("redpanda.iceberg.delete", "false"),
        ])
        .expect("valid")
        .expect("a table");
        assert_eq!(topic.target_lag, Duration::from_millis(250));
        assert_eq!(topic.invalid_records, InvalidRecords::Drop);
        assert_eq!(topic.partition_by.as_deref(), Some("(day(redpanda.timestamp))"));
        assert_eq!((topic.delete_with_topic, topic.backfill), (false, false));
        assert_eq!((topic.namespace.as_deref(), topic.name.as_str()), (Some("lake.raw"), "all_trades"));
        for wrong in ["redpanda.iceberg.target.lag.ms", "redpanda.iceberg.delete", "frazil.table.backfill"] {
            let error = read(&[mode, (wrong, "-1")]).expect_err(wrong);
            assert!(error.contains(wrong) && error.contains("`-1`"), "{error}");
        }
        for wrong in ["a..b", "a/b", "*"] {
            let error = read(&[mode, ("frazil.table.namespace", wrong)]).expect_err(wrong);
            assert!(error.contains("frazil.table.namespace"), "{error}");
        }
        let error = read(&[("redpanda.iceberg.mode", "values")]).expect_err("no mode");
        assert!(error.contains("redpanda.iceberg.mode"), "{error}");
    }
}
