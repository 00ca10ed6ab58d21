//! `redpanda.iceberg.*` topic properties as a typed value.
//!
//! Owns: the grammar of `redpanda.iceberg.mode` as far as it is served: `disabled`, `key_value`,
//! `value_schema_latest[:subject=S]`, and the same written as a section (`value:mode=binary`,
//! `value:mode=schema_latest,subject=S`); other modes are refused by name.
//! Does not own: storing properties (topics does).

use std::time::Duration;

/// How far a table may be behind its topic when nothing else is said.
pub const TARGET_LAG_DEFAULT: Duration = Duration::from_secs(10);

const MODE: &str = "redpanda.iceberg.mode";
const SERVED: &str = "use disabled, key_value or value_schema_latest[:subject=S]";

/// What becomes of records that do not fit (`redpanda.iceberg.invalid.record.action`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InvalidRecords {
    /// They go to the table `<topic>~dlq`.
    #[default]
    DeadLetter,
    Drop,
}

/// How a topic is a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IcebergMode {
    /// Value column of bytes.
    KeyValue,
    /// One column per field of the latest schema of `subject`.
    ValueSchemaLatest { subject: String },
}

/// All Iceberg properties of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IcebergTopic {
    pub mode: IcebergMode,
    /// `redpanda.iceberg.target.lag.ms`, default 10 s.
    pub target_lag: Duration,
    pub invalid_records: InvalidRecords,
    /// `redpanda.iceberg.partition.spec`, default `()`.
    pub partition_by: String,
    /// `redpanda.iceberg.delete`, default true: drop the table with the topic.
    pub delete_with_topic: bool,
}

impl IcebergTopic {
    /// Reads a topic's properties; none when the topic is no table. The error names property, value and cure.
    pub fn of(topic: &topics::TopicInfo) -> Result<Option<Self>, String> {
        Self::read(topic.name.as_str(), |name| topic.config.get(name))
    }

    fn read<'c>(topic: &str, get: impl Fn(&str) -> Option<&'c str>) -> Result<Option<Self>, String> {
        let Some(mode) = get(MODE).map(|mode| parse_mode(mode, topic)).transpose()?.flatten() else {
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
            partition_by: get("redpanda.iceberg.partition.spec").unwrap_or("()").to_owned(),
            delete_with_topic: property("redpanda.iceberg.delete", &get, |value| match value {
                "true" => Ok(true),
                "false" => Ok(false),
                _ => Err("use true or false"),
            })?
            .unwrap_or(true),
        }))
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

/// Reads a mode; none for `disabled`.
fn parse_mode(text: &str, topic: &str) -> Result<Option<IcebergMode>, String> {
    mode_of(text, topic).map_err(|what| format!("`{text}` is no value of {MODE}: {what}; {SERVED}"))
}

fn mode_of(text: &str, topic: &str) -> Result<Option<IcebergMode>, String> {
    if text.contains(';') {
        return Err("modes of several sections are not served yet".into());
    }
    let (head, options) = match text.split_once(':') {
        None => (text, None),
        Some((head, options)) => (head, Some(options)),
    };
    match (head, options) {
        ("disabled", None) => Ok(None),
        ("key_value", None) => Ok(Some(IcebergMode::KeyValue)),
        ("value_schema_latest", options) => {
            Ok(Some(IcebergMode::ValueSchemaLatest { subject: subject(options, topic)? }))
        }
        ("value", Some(options)) => section(options, topic).map(Some),
        ("value_schema_id_prefix", _) => Err("schema ids in front of values are not served yet".into()),
        ("key" | "headers", Some(_)) => Err(format!("a `{head}` section is not served yet")),
        _ => Err("there is no such mode".into()),
    }
}

/// `subject=S`, or nothing.
fn subject(options: Option<&str>, topic: &str) -> Result<String, String> {
    let Some(options) = options else { return Ok(format!("{topic}-value")) };
    let mut found = None;
    for option in options.split(',') {
        match option.split_once('=') {
            Some(("subject", "")) => return Err("the subject is empty".into()),
            Some(("subject", name)) if found.is_none() => found = Some(name.to_owned()),
            Some(("subject", _)) => return Err("the subject is given twice".into()),
            Some(("protobuf_name", _)) => return Err("Protobuf is not decoded yet".into()),
            _ => return Err(format!("unknown option `{option}`")),
        }
    }
    found.ok_or_else(|| "no option after the colon".into())
}

/// The `value` section: `mode=binary`, or `mode=schema_latest` with its options.
fn section(options: &str, topic: &str) -> Result<IcebergMode, String> {
    let (mode, rest) = match options.split_once(',') {
        None => (options, None),
        Some((mode, rest)) => (mode, Some(rest)),
    };
    match mode {
        "mode=binary" if rest.is_none() => Ok(IcebergMode::KeyValue),
        "mode=schema_latest" => {
            subject(rest, topic).map(|subject| IcebergMode::ValueSchemaLatest { subject })
        }
        other => Err(format!("`{other}` is not served in a `value` section")),
    }
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
    fn modes_parse() {
        let latest = |s: &str| Some(IcebergMode::ValueSchemaLatest { subject: s.into() });
        for (text, expected) in [
            ("disabled", None),
            ("key_value", Some(IcebergMode::KeyValue)),
            ("value:mode=binary", Some(IcebergMode::KeyValue)),
            ("value_schema_latest", latest("trades-value")),
            ("value_schema_latest:subject=Trade", latest("Trade")),
            ("value:mode=schema_latest", latest("trades-value")),
            ("value:mode=schema_latest,subject=a=b", latest("a=b")),
        ] {
            let got = read(&[("redpanda.iceberg.mode", text)]).expect(text);
            assert_eq!(got.map(|t| t.mode), expected, "{text}");
        }
        assert_eq!(read(&[]), Ok(None));
    }

    #[test]
    fn defaults_are_those_that_topics_show() {
        let shown = |name: &str| match name {
            MODE => Some("key_value"),
            name => topics::ConfigKey::named(name).map(|key| key.default),
        };
        let left_out = read(&[(MODE, "key_value")]).expect("defaults");
        assert_eq!(IcebergTopic::read("trades", shown), Ok(left_out));
    }

    #[test]
    fn other_modes_are_refused_by_name() {
        for (text, word) in [
            ("value_schema_id_prefix", "schema ids in front"),
            ("value_schema_latest:subject=", "empty"),
            ("value_schema_latest:", "unknown option"),
            ("value_schema_latest:subject=a,subject=b", "twice"),
            ("value_schema_latest:protobuf_name=a.B", "Protobuf"),
            ("value_schema_latest:x=y", "unknown option `x=y`"),
            ("key:mode=string", "`key` section"),
            ("value:mode=string", "mode=string"),
            ("value:mode=binary;key:mode=string", "several sections"),
            ("key_value:subject=x", "no such mode"),
            ("KEY_VALUE", "no such mode"),
        ] {
            let error = read(&[("redpanda.iceberg.mode", text)]).expect_err(text);
            assert!(error.contains(word) && error.contains("redpanda.iceberg.mode"), "{error}");
            assert!(error.contains(text) && error.contains("key_value or value_schema_latest"), "{error}");
        }
    }

    #[test]
    fn the_other_properties_have_defaults() {
        let mode = ("redpanda.iceberg.mode", "key_value");
        let topic = read(&[mode]).expect("valid").expect("a table");
        assert_eq!(topic.target_lag, TARGET_LAG_DEFAULT);
        assert_eq!(topic.invalid_records, InvalidRecords::DeadLetter);
        assert_eq!((topic.partition_by.as_str(), topic.delete_with_topic), ("()", true));
        let topic = read(&[
            mode,
            ("redpanda.iceberg.target.lag.ms", "250"),
            ("redpanda.iceberg.invalid.record.action", "drop"),
            ("redpanda.iceberg.partition.spec", "(hour(redpanda.timestamp))"),
            ("redpanda.iceberg.delete", "false"),
        ])
        .expect("valid")
        .expect("a table");
        assert_eq!(topic.target_lag, Duration::from_millis(250));
        assert_eq!(topic.invalid_records, InvalidRecords::Drop);
        assert_eq!(
            (topic.partition_by.as_str(), topic.delete_with_topic),
            ("(hour(redpanda.timestamp))", false)
        );
        for wrong in ["redpanda.iceberg.target.lag.ms", "redpanda.iceberg.delete"] {
            let error = read(&[mode, (wrong, "-1")]).expect_err(wrong);
            assert!(error.contains(wrong) && error.contains("`-1`"), "{error}");
        }
    }
}
