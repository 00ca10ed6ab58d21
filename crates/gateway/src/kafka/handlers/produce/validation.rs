//! Whether records name schemas of their topic's subjects, where the topic asks for it.
//!
//! Owns: the properties `confluent.{key,value}.schema.validation` and `redpanda.{key,value}.schema.id.validation` with their
//! `*.subject.name.strategy`; one error per bad record.
//! Does not own: whether a payload fits its schema (materialize finds that out); batches that do not parse (the log
//! refuses them).
//! Invariants: a topic that does not ask costs a look at its properties. A batch with a bad record is refused whole,
//! before any of it is appended. What is null has no schema.
//! Source: Confluent's "Schema ID Validation", Redpanda's "Server-Side Schema ID Validation".

use std::collections::HashMap;

use ::topics::TopicConfig;
use ::topics::batch::{Batches, RecordView};
use bytes::Bytes;
use kafka_protocol::ResponseError as Code;
use schemas::wire::{self, SchemaName};
use schemas::{Registry, SchemaType};

use super::super::super::Broker;
use super::Refusal;

/// Most bad records of a batch that are named.
const NAMED_MAX: usize = 100;

/// Which subject a schema must belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strategy {
    /// `<topic>-key`, `<topic>-value`.
    Topic,
    /// The record's own full name.
    Record,
    /// `<topic>-<the record's full name>`.
    TopicRecord,
}

/// What a topic asks of its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rules {
    key: Option<Strategy>,
    value: Option<Strategy>,
}

impl Rules {
    /// None for a topic that does not ask.
    pub(super) fn of(config: &TopicConfig) -> Option<Self> {
        let rules = Self { key: strategy(config, "key"), value: strategy(config, "value") };
        (rules.key.is_some() || rules.value.is_some()).then_some(rules)
    }
}

fn strategy(config: &TopicConfig, side: &str) -> Option<Strategy> {
    let asked = |name: String| config.get(&name) == Some("true");
    let redpanda = asked(format!("redpanda.{side}.schema.id.validation"));
    if !redpanda && !asked(format!("confluent.{side}.schema.validation")) {
        return None;
    }
    let own = if redpanda { ["redpanda", "confluent"] } else { ["confluent", "redpanda"] };
    let named = own.iter().find_map(|who| config.get(&format!("{who}.{side}.subject.name.strategy")));
    // The properties' forms let nothing else in.
    Some(match named.and_then(|name| name.rsplit('.').next()) {
        Some("RecordNameStrategy") => Strategy::Record,
        Some("TopicRecordNameStrategy") => Strategy::TopicRecord,
        _ => Strategy::Topic,
    })
}

/// Refuses a batch with records that name no schema of their subject.
pub(super) fn check(broker: &Broker, rules: Rules, topic: &str, batch: &Bytes) -> Option<Refusal> {
    let limit = broker.topics.settings().decompressed_bytes_max;
    let mut checker = Checker { registry: &broker.registry, topic, known: HashMap::new() };
    let mut bad = Vec::new();
    let mut count = 0_usize;
    let mut index = 0_i32;
    for batch in Batches::new(batch) {
        let records = batch.ok()?.records(limit).ok()?;
        for record in &records {
            if let Err(message) = checker.record(rules, &record.ok()?) {
                count += 1;
                if bad.len() < NAMED_MAX {
                    bad.push((index, message));
                }
            }
            index += 1;
        }
    }
    let (at, first) = bad.first()?;
    let message = format!("{count} of {index} records name no schema of topic {topic}: record {at}: {first}");
    Some(Refusal { code: Code::InvalidRecord, message, records: bad })
}

struct Checker<'a> {
    registry: &'a Registry,
    topic: &'a str,
    /// What was found out about a schema, with message indexes, on a side (true for keys).
    known: HashMap<(bool, SchemaName, Vec<u32>), Result<(), String>>,
}

impl Checker<'_> {
    fn record(&mut self, rules: Rules, record: &RecordView<'_>) -> Result<(), String> {
        if let (Some(strategy), Some(key)) = (rules.key, record.key) {
            self.side(strategy, true, key, record)?;
        }
        match (rules.value, record.value) {
            (Some(strategy), Some(value)) => self.side(strategy, false, value, record),
            _ => Ok(()),
        }
    }

    fn side(
        &mut self,
        strategy: Strategy,
        is_key: bool,
        payload: &[u8],
        record: &RecordView<'_>,
    ) -> Result<(), String> {
        let (side, header) = if is_key { ("key", wire::KEY_HEADER) } else { ("value", wire::VALUE_HEADER) };
        let in_header = record.headers.iter().find(|(name, _)| *name == header.as_bytes());
        let bytes = in_header.map_or(payload, |(_, value)| value.unwrap_or_default());
        let framed = wire::split(bytes).map_err(|error| format!("{side}: {error}"))?;
        let indexes = match strategy {
            Strategy::Topic => Vec::new(),
            // A format that has none begins its payload here, whatever the bytes are.
            Strategy::Record | Strategy::TopicRecord => {
                wire::message_indexes(framed.rest).map_or_else(|_| vec![0], |(indexes, _)| indexes)
            }
        };
        let asked = (is_key, framed.schema, indexes);
        if let Some(known) = self.known.get(&asked) {
            return known.clone();
        }
        let found = self.schema(strategy, is_key, framed.schema, &asked.2);
        // Each entry is a schema that somebody registered or a name that somebody made up: of those only a few are kept.
        if self.known.len() < NAMED_MAX {
            self.known.insert(asked, found.clone());
        }
        found
    }

    fn schema(
        &self,
        strategy: Strategy,
        is_key: bool,
        name: SchemaName,
        indexes: &[u32],
    ) -> Result<(), String> {
        let side = if is_key { "key" } else { "value" };
        let schema = match name {
            SchemaName::Id(id) => self.registry.by_id(id),
            SchemaName::Guid(guid) => self.registry.by_guid(guid),
        };
        let schema = schema.map_err(|error| format!("{side}: {error}"))?;
        let subject = match strategy {
            Strategy::Topic => format!("{}-{side}", self.topic),
            Strategy::Record | Strategy::TopicRecord => {
                let indexes = if schema.schema_type == SchemaType::Protobuf { indexes } else { &[] };
                let named = self.registry.record_name(schema.id, indexes);
                let record =
                    named.map_err(|reason| format!("{side}: schema {} has no name: {reason}", schema.id))?;
                if strategy == Strategy::Record { record } else { format!("{}-{record}", self.topic) }
            }
        };
        if self.registry.is_used_by(schema.id, &subject) {
            return Ok(());
        }
        Err(format!("{side}: schema {} is not registered under subject {subject}", schema.id))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn topics_ask_in_either_vocabulary() {
        let of = |set: &[(&str, &str)]| {
            let set: BTreeMap<_, _> = set.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            Rules::of(&TopicConfig::new(&set).unwrap())
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("confluent.value.schema.validation", "false")]), None);
        let value = |strategy| Some(Rules { key: None, value: Some(strategy) });
        assert_eq!(of(&[("confluent.value.schema.validation", "true")]), value(Strategy::Topic));
        assert_eq!(
            of(&[
                ("redpanda.value.schema.id.validation", "true"),
                ("redpanda.value.subject.name.strategy", "RecordNameStrategy"),
            ]),
            value(Strategy::Record)
        );
        assert_eq!(
            of(&[
                ("confluent.key.schema.validation", "true"),
                (
                    "confluent.key.subject.name.strategy",
                    "io.confluent.kafka.serializers.subject.TopicRecordNameStrategy",
                ),
            ]),
            Some(Rules { key: Some(Strategy::TopicRecord), value: None })
        );
    }
}
