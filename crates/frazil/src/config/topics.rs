//! The block `topics`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemas::SchemaType;

use super::problem::Place;
use super::reader::Block;

/// Where properties stand: by Kafka's name, the place and the dotted path of the key.
pub(crate) type Places = BTreeMap<String, (Place, String)>;

/// Properties of a topic by Kafka's names, and where each stands.
#[derive(Debug, Default)]
pub(super) struct Properties {
    pub(super) values: BTreeMap<String, String>,
    pub(super) places: Places,
}

impl Properties {
    fn set(&mut self, name: &str, at: Option<(Place, String)>, value: Option<String>) {
        if let Some(value) = value {
            self.values.insert(name.to_owned(), value);
            self.places.extend(at.map(|at| (name.to_owned(), at)));
        }
    }
}

/// A topic that should exist.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicBlock {
    pub name: String,
    pub place: Place,
    /// None: as many as there are, or the node's default.
    pub partitions: Option<i32>,
    /// Properties by Kafka's names, the ones that the friendly keys stand for included.
    pub config: BTreeMap<String, String>,
    /// Where the properties stand.
    pub(crate) places: Places,
    /// Schema of the values: subject `<topic>-value`.
    pub schema: Option<SchemaBlock>,
}

/// A schema file.
#[derive(Debug, Clone, PartialEq)]
pub struct SchemaBlock {
    pub place: Place,
    pub file: PathBuf,
    /// The file's contents; empty when it could not be read, which is a problem of its own.
    pub text: String,
}

impl SchemaBlock {
    /// By the file's name: `.avsc` is Avro, `.proto` Protobuf, anything else JSON Schema.
    pub(crate) fn schema_type(&self) -> SchemaType {
        match self.file.extension().and_then(|e| e.to_str()) {
            Some("avsc") => SchemaType::Avro,
            Some("proto") => SchemaType::Protobuf,
            _ => SchemaType::Json,
        }
    }
}

pub(super) const KEYS: &[&str] = &["partitions", "retention", "schema", "iceberg", "config"];
pub(super) const ICEBERG_KEYS: &[&str] =
    &["mode", "partition_by", "target_lag", "on_invalid", "delete_with_topic"];

pub(super) fn read(name: String, place: Place, mut block: Block<'_>, directory: &Path) -> TopicBlock {
    if let Err(error) = base::TopicName::new(&name) {
        block.problem_at(&place, "", error.to_string());
    }
    let partitions = block.number("partitions", 1);
    let mut properties = Properties::default();
    let at = block.place_of("retention");
    properties.set("retention.ms", at, block.duration_ms("retention").map(|ms| ms.to_string()));
    let schema = block.block("schema").and_then(|schema| read_schema(schema, directory));
    if let Some(iceberg) = block.block("iceberg") {
        read_iceberg(iceberg, &mut properties);
    }
    read_config(&mut block, &mut properties);
    block.close(KEYS, &["landing", "compatibility", "backfill"]);
    let Properties { values: config, places } = properties;
    TopicBlock { name, place, partitions, config, places, schema }
}

fn read_schema(mut block: Block<'_>, directory: &Path) -> Option<SchemaBlock> {
    let value = block.text_at("value");
    let schema = match value {
        None => {
            block.problem("value", "is missing: name a schema file");
            None
        }
        Some((place, file)) => {
            let file = directory.join(file);
            let text = super::read_text(&file).unwrap_or_else(|reason| {
                block.problem_at(&place, "value", format!("{} {reason}", file.display()));
                String::new()
            });
            Some(SchemaBlock { place, file, text })
        }
    };
    block.close(&["value"], &["key", "compatibility"]);
    schema
}

/// Friendly keys to the properties they stand for.
pub(super) fn read_iceberg(mut block: Block<'_>, properties: &mut Properties) {
    let at = block.place_of("mode");
    match block.text("mode") {
        Some(mode) => properties.set("redpanda.iceberg.mode", at, Some(mode)),
        None => block.problem("mode", "is missing; write for example `mode: value_schema_latest`"),
    }
    let at = block.place_of("partition_by");
    let spec = block.texts("partition_by").map(|fields| match fields.as_slice() {
        [one] if one.starts_with('(') => one.clone(),
        fields => format!("({})", fields.join(", ")),
    });
    properties.set("redpanda.iceberg.partition.spec", at, spec);
    let at = block.place_of("target_lag");
    let lag = block.duration_ms("target_lag").map(|ms| ms.to_string());
    properties.set("redpanda.iceberg.target.lag.ms", at, lag);
    let at = block.place_of("on_invalid");
    properties.set("redpanda.iceberg.invalid.record.action", at, block.text("on_invalid"));
    let at = block.place_of("delete_with_topic");
    let delete = block.boolean("delete_with_topic").map(|b| b.to_string());
    properties.set("redpanda.iceberg.delete", at, delete);
    block.close(ICEBERG_KEYS, &["namespace", "key", "kind", "format_version"]);
}

/// The escape hatch: properties by their own names. One that is set by a friendly key too is refused.
pub(super) fn read_config(block: &mut Block<'_>, properties: &mut Properties) {
    for (name, place, node) in block.entries("config") {
        let key = format!("config.{name}");
        let Some(value) = node.text() else {
            block.problem_at(&place, &key, format!("must be a single value, not {}", node.kind()));
            continue;
        };
        if properties.values.contains_key(&name) {
            block.problem_at(&place, &key, "is already set by another key of this topic");
            continue;
        }
        let at = (place, block.path_of(&key));
        properties.set(&name, Some(at), Some(value.to_owned()));
    }
}
