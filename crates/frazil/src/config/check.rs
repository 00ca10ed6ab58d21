//! What can be checked without a node: schemas compile, properties are known, SQL parses, references and cycles.

use std::collections::{BTreeMap, BTreeSet};

use pipelines::Trigger;
use queries::relations::{StatementFacts, statement_facts};
use schemas::{DecodeOptions, Decoder, RegisteredSchema, ResolvedSchema, SchemaType};

use super::problem::{Place, Problems};
use super::topics::{Places, TopicBlock};
use super::{Config, PipelineBlock};

pub(super) fn check(config: &Config, problems: &mut Problems) {
    for topic in &config.topics {
        check_properties(topic, problems);
        check_schema(topic, problems);
    }
    let declared: BTreeSet<&str> = config
        .topics
        .iter()
        .map(|t| t.name.as_str())
        .chain(config.pipelines.iter().map(|p| p.spec.into.topic.as_str()))
        .collect();
    for pipeline in &config.pipelines {
        check_pipeline(pipeline, &declared, problems);
    }
    check_cycles(&config.pipelines, problems);
    super::server::check_kafka_address(&config.listen, &config.security, problems);
}

fn check_properties(topic: &TopicBlock, problems: &mut Problems) {
    let path = format!("topics.{}", topic.name);
    check_each_property(&topic.name, &topic.config, &topic.places, (&topic.place, &path), problems);
    let needs_schema = topic
        .config
        .get("redpanda.iceberg.mode")
        .is_some_and(|mode| mode == "value_schema_latest" || mode == "value:mode=schema_latest");
    if needs_schema && topic.schema.is_none() {
        let reason = "is missing: a table of mode value_schema_latest takes its columns from it";
        problems.add(topic.place.clone(), &format!("topics.{}.schema", topic.name), reason);
    }
}

/// Each property alone, so that every wrong one is named where it stands; then all together.
fn check_each_property(
    topic: &str,
    config: &BTreeMap<String, String>,
    places: &Places,
    whole: (&Place, &str),
    problems: &mut Problems,
) {
    let mut sound = true;
    for (name, value) in config {
        let alone = BTreeMap::from([(name.clone(), value.clone())]);
        if let Err(error) = crate::properties::check(topic, &alone) {
            let (place, path) = places.get(name).map_or(whole, |(place, path)| (place, path.as_str()));
            problems.add(place.clone(), path, error);
            sound = false;
        }
    }
    if sound && let Err(error) = crate::properties::check(topic, config) {
        problems.add(whole.0.clone(), whole.1, error);
    }
}

fn check_schema(topic: &TopicBlock, problems: &mut Problems) {
    let Some(schema) = topic.schema.as_ref().filter(|s| !s.text.is_empty()) else { return };
    let key = format!("topics.{}.schema.value", topic.name);
    let shown = schema.file.display();
    let schema_type = schema.schema_type();
    if schema_type == SchemaType::Json
        && let Err(error) = serde_json::from_str::<serde_json::Value>(&schema.text)
    {
        return problems.add(schema.place.clone(), &key, format!("{shown} is no JSON: {error}"));
    }
    let registered =
        RegisteredSchema { id: 1, schema_type, schema: schema.text.clone(), references: Vec::new() };
    let resolved = ResolvedSchema::alone(registered);
    if let Err(reason) = schemas::check_schema(&resolved) {
        return problems.add(schema.place.clone(), &key, format!("{shown}: {reason}"));
    }
    let decoder = Decoder::new(&resolved, &DecodeOptions::default());
    if let Err(schemas::SetupError::Unsupported { path, reason, .. }) = decoder {
        problems.add(schema.place.clone(), &key, format!("{shown}: {path}: {reason}"));
    }
}

fn check_pipeline(pipeline: &PipelineBlock, declared: &BTreeSet<&str>, problems: &mut Problems) {
    let path = format!("pipelines.{}", pipeline.name);
    let undeclared = |topic: &str| {
        let known: Vec<&str> = declared.iter().copied().collect();
        let way_out = match super::nearest::nearest(topic, &known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("declare it: `topics: {{ {topic}: {{}} }}`"),
        };
        format!("topic {topic} is not declared here; {way_out}")
    };
    match statement_facts(&pipeline.spec.sql) {
        Ok(facts) => {
            for table in read_topics(&facts).filter(|t| !declared.contains(t)) {
                problems.add(pipeline.sql_place.clone(), &format!("{path}.sql"), undeclared(table));
            }
        }
        Err(error) => problems.add(pipeline.sql_place.clone(), &format!("{path}.sql"), error.to_string()),
    }
    let (into, whole) = (&pipeline.spec.into, format!("{path}.into"));
    check_each_property(&into.topic, &into.config, &pipeline.places, (&pipeline.place, &whole), problems);
    if let Trigger::OnCommit(topics) = &pipeline.spec.trigger {
        for topic in topics.iter().filter(|t| !declared.contains(t.as_str())) {
            problems.add(pipeline.place.clone(), &format!("{path}.trigger.on_commit"), undeclared(topic));
        }
    }
}

/// Topics whose tables a query reads. Other schemas (`pg_catalog`) are not made of topics; `t~dlq` and `t$snapshots`
/// belong to `t`.
fn read_topics(facts: &StatementFacts) -> impl Iterator<Item = &str> {
    facts.relations.iter().filter(|r| r.schema.is_none()).map(|r| {
        let name = r.name.split_once('$').map_or(r.name.as_str(), |(name, _)| name);
        name.strip_suffix("~dlq").unwrap_or(name)
    })
}

/// A pipeline that reads or is woken by its own results, directly or through others, would never rest.
fn check_cycles(pipelines: &[PipelineBlock], problems: &mut Problems) {
    let mut feeds: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut inputs: Vec<BTreeSet<String>> = Vec::with_capacity(pipelines.len());
    for pipeline in pipelines {
        let mut own = BTreeSet::new();
        if let Ok(facts) = statement_facts(&pipeline.spec.sql) {
            own.extend(read_topics(&facts).map(str::to_owned));
        }
        if let Trigger::OnCommit(topics) = &pipeline.spec.trigger {
            own.extend(topics.iter().cloned());
        }
        for topic in &own {
            feeds.entry(topic.clone()).or_default().push(&pipeline.spec.into.topic);
        }
        inputs.push(own);
    }
    for (pipeline, own) in pipelines.iter().zip(&inputs) {
        let mut seen = BTreeSet::new();
        let mut waiting = vec![pipeline.spec.into.topic.as_str()];
        while let Some(topic) = waiting.pop() {
            if seen.insert(topic) {
                waiting.extend(feeds.get(topic).into_iter().flatten());
            }
        }
        if let Some(topic) = own.iter().find(|t| seen.contains(t.as_str())) {
            let reason = format!("runs in a circle: its results come back to {topic}, which it reads");
            problems.add(pipeline.place.clone(), &format!("pipelines.{}", pipeline.name), reason);
        }
    }
}
