//! DescribeConfigs, AlterConfigs, IncrementalAlterConfigs.
//!
//! Owns: how properties are shown with their sources and forms, the four operations of KIP-339.
//! Does not own: the properties (topics), the node's settings.
//! Invariants: a request that only validates changes nothing; a resource is changed whole or not at all.

mod broker;
mod resources;
mod synonyms;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use ::topics::{ConfigForm, ConfigKey, ConfigSource, Settings, TopicConfig, TopicError, TopicInfo};
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, alter_configs_response,
    incremental_alter_configs_request, incremental_alter_configs_response,
};
use kafka_protocol::protocol::StrBytes;

use super::super::{Broker, errors};
use super::text;

pub(super) use resources::list;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Sources by DescribeConfigsResponse.ConfigSource.
const FROM_TOPIC: i8 = 1;
const FROM_RUNNING_NODE: i8 = 2;
const FROM_NODE: i8 = 4;
const FROM_DEFAULT: i8 = 5;

/// Changes to one topic: a value, or none for the default.
type Changes = Vec<(String, Option<String>)>;
/// Code and message of what was refused.
type Refusal = (Code, String);

/// The number of a property's source.
pub(super) fn source_code(source: ConfigSource) -> i8 {
    match source {
        ConfigSource::Topic => FROM_TOPIC,
        ConfigSource::Default => FROM_DEFAULT,
    }
}

/// The number of a property's form, by DescribeConfigsResponse.ConfigType.
fn form_code(form: ConfigForm) -> i8 {
    match form {
        ConfigForm::Boolean => 1,
        ConfigForm::Text | ConfigForm::Word(_) | ConfigForm::IcebergMode | ConfigForm::PartitionSpec => 2,
        ConfigForm::Int(..) => 3,
        ConfigForm::Long(..) => 5,
        ConfigForm::Ratio => 6,
        ConfigForm::Words(_) => 7,
    }
}

/// A property as it is shown.
struct Shown {
    name: &'static str,
    /// What the broker calls its default.
    broker_name: &'static str,
    value: Option<String>,
    default: Option<String>,
    default_source: i8,
    source: i8,
    form: i8,
    doc: &'static str,
    read_only: bool,
}

pub(super) async fn describe(
    broker: Arc<Broker>,
    version: i16,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let detail = Detail {
        synonyms: request.include_synonyms,
        documentation: request.include_documentation && version >= 3,
        version,
    };
    let results = request.resources.into_iter().map(|resource| {
        let keys: Option<HashSet<StrBytes>> = resource.configuration_keys.map(|k| k.into_iter().collect());
        let result = DescribeConfigsResult::default().with_resource_type(resource.resource_type);
        let shown = properties(&broker, resource.resource_type, &resource.resource_name);
        let result = result.with_resource_name(resource.resource_name);
        match shown {
            Ok(shown) => {
                let wanted = shown
                    .into_iter()
                    .filter(|p| keys.as_ref().is_none_or(|k| k.iter().any(|key| key.as_str() == p.name)));
                result.with_configs(wanted.map(|p| detail.show(p)).collect())
            }
            Err((code, message)) => {
                result.with_error_code(code.code()).with_error_message(Some(text(message)))
            }
        }
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

fn properties(broker: &Broker, resource_type: i8, name: &str) -> Result<Vec<Shown>, Refusal> {
    match resource_type {
        TOPIC => Ok(topic_properties(&*topic(broker, name)?, broker)),
        BROKER => broker::properties(broker, name),
        other => Err(unknown_resource(other)),
    }
}

fn topic(broker: &Broker, name: &str) -> Result<Arc<TopicInfo>, Refusal> {
    broker.topics.topic(name).ok_or_else(|| {
        let error = TopicError::NotFound(name.to_owned());
        (errors::topic(&error), error.to_string())
    })
}

fn unknown_resource(resource_type: i8) -> Refusal {
    let message = format!("resource type {resource_type} has no properties: topics (2) and brokers (4) have");
    (Code::InvalidRequest, message)
}

fn topic_properties(topic: &TopicInfo, broker: &Broker) -> Vec<Shown> {
    let (settings, node) = (broker.topics.settings(), broker.topics.node_config());
    let entries = topic.config.entries().map(|(key, value, source)| {
        let of_node = table_default(key, broker).or_else(|| node_default(key, settings, &node));
        let (default, default_source) = of_node.unwrap_or_else(|| (key.default.to_owned(), FROM_DEFAULT));
        let default = Some(default);
        let (value, source) = match source {
            ConfigSource::Topic => (Some(queries::mode::shown(key.name, value).into_owned()), FROM_TOPIC),
            ConfigSource::Default => (default.clone(), default_source),
        };
        Shown {
            name: key.name,
            broker_name: synonyms::broker_name(key.name),
            value,
            default,
            default_source,
            source,
            form: form_code(key.form),
            doc: key.doc,
            read_only: false,
        }
    });
    entries.collect()
}

/// The same for properties of tables.
fn table_default(key: &ConfigKey, broker: &Broker) -> Option<(String, i8)> {
    let set = match key.name {
        "redpanda.iceberg.partition.spec" => broker.commands.default_partitioning(),
        _ => return None,
    };
    (key.default != set).then(|| (set.to_owned(), FROM_NODE))
}

/// The node's own default of a property, where its settings differ from what is built in.
fn node_default(key: &ConfigKey, settings: &Settings, node: &TopicConfig) -> Option<(String, i8)> {
    if let Some(set) = node.get(key.name) {
        return Some((set.to_owned(), FROM_RUNNING_NODE));
    }
    let set = match key.name {
        "segment.bytes" => settings.segment_bytes.to_string(),
        "max.message.bytes" => settings.message_bytes_max.to_string(),
        "index.interval.bytes" => settings.index_interval_bytes.to_string(),
        _ => return None,
    };
    (key.default != set).then_some((set, FROM_NODE))
}

struct Detail {
    synonyms: bool,
    documentation: bool,
    version: i16,
}

impl Detail {
    fn show(&self, property: Shown) -> DescribeConfigsResourceResult {
        let synonym = |name: &'static str, value: &Option<String>, source| {
            DescribeConfigsSynonym::default()
                .with_name(name.into())
                .with_value(value.as_deref().map(text))
                .with_source(source)
        };
        // In the order in which they would hold, the one that does first.
        let mut synonyms = Vec::new();
        if self.synonyms {
            if property.source != property.default_source || property.default.is_none() {
                synonyms.push(synonym(property.name, &property.value, property.source));
            }
            if property.default.is_some() {
                synonyms.push(synonym(property.broker_name, &property.default, property.default_source));
            }
        }
        DescribeConfigsResourceResult::default()
            .with_name(property.name.into())
            .with_value(property.value.map(text))
            .with_read_only(property.read_only)
            .with_config_source(property.source)
            .with_synonyms(synonyms)
            .with_config_type(if self.version >= 3 { property.form } else { 0 })
            .with_documentation(self.documentation.then(|| property.doc.into()))
    }
}

/// AlterConfigs: what is not named goes back to its default.
pub(super) async fn replace(broker: Arc<Broker>, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let named: BTreeMap<String, Option<String>> = resource
            .configs
            .into_iter()
            .map(|c| (c.name.to_string(), c.value.map(|v| v.to_string())))
            .collect();
        let outcome = match alterable(&broker, resource.resource_type, &resource.resource_name) {
            Ok(target) => {
                let named: BTreeMap<String, Option<String>> =
                    named.into_iter().map(|(name, value)| (target.property(&name), value)).collect();
                let config = target.config();
                let set = config.entries().filter(|(_, _, source)| *source == ConfigSource::Topic);
                let unset = set.filter(|(key, _, _)| !named.contains_key(key.name));
                let mut changes: Changes = unset.map(|(key, _, _)| (key.name.to_owned(), None)).collect();
                changes.extend(named);
                apply(&broker, &target, changes, request.validate_only).await
            }
            Err(refusal) => Err(refusal),
        };
        let (code, message) = answer(outcome);
        responses.push(
            alter_configs_response::AlterConfigsResourceResponse::default()
                .with_error_code(code)
                .with_error_message(message)
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name),
        );
    }
    AlterConfigsResponse::default().with_responses(responses)
}

/// IncrementalAlterConfigs: what is not named stays.
pub(super) async fn alter(
    broker: Arc<Broker>,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let outcome = match alterable(&broker, resource.resource_type, &resource.resource_name) {
            Ok(target) => match changes_to(&target, &resource.configs) {
                Ok(changes) => apply(&broker, &target, changes, request.validate_only).await,
                Err(refusal) => Err(refusal),
            },
            Err(refusal) => Err(refusal),
        };
        let (code, message) = answer(outcome);
        responses.push(
            incremental_alter_configs_response::AlterConfigsResourceResponse::default()
                .with_error_code(code)
                .with_error_message(message)
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name),
        );
    }
    IncrementalAlterConfigsResponse::default().with_responses(responses)
}

fn answer(outcome: Result<(), Refusal>) -> (i16, Option<StrBytes>) {
    match outcome {
        Ok(()) => (errors::NONE, None),
        Err((code, message)) => (code.code(), Some(text(message))),
    }
}

/// What is altered.
enum Target {
    Topic(Arc<TopicInfo>),
    /// The node, with what was set on it.
    Node(TopicConfig),
}

impl Target {
    fn config(&self) -> &TopicConfig {
        match self {
            Self::Topic(info) => &info.config,
            Self::Node(config) => config,
        }
    }

    /// The property that a client calls `name`.
    fn property(&self, name: &str) -> String {
        let known = ConfigKey::for_node().find(|key| synonyms::broker_name(key.name) == name);
        match (self, known) {
            (Self::Node(_), Some(key)) => key.name.to_owned(),
            _ => name.to_owned(),
        }
    }
}

fn alterable(broker: &Broker, resource_type: i8, name: &str) -> Result<Target, Refusal> {
    match resource_type {
        TOPIC => topic(broker, name).map(Target::Topic),
        BROKER => {
            broker::check_name(name)?;
            Ok(Target::Node(broker.topics.node_config()))
        }
        other => Err(unknown_resource(other)),
    }
}

fn changes_to(
    target: &Target,
    configs: &[incremental_alter_configs_request::AlterableConfig],
) -> Result<Changes, Refusal> {
    let mut changes: Changes = Vec::with_capacity(configs.len());
    for config in configs {
        let name = target.property(&config.name);
        if changes.iter().any(|(other, _)| *other == name) {
            return Err((Code::InvalidRequest, format!("property {name} is in the request twice")));
        }
        let value = || {
            let missing = || (Code::InvalidRequest, format!("property {name} has no value"));
            config.value.as_ref().map(|v| v.to_string()).ok_or_else(missing)
        };
        let change = match config.config_operation {
            0 => Some(value()?),
            1 => None,
            2 => Some(with_words(target.config(), &name, |words| join(words, &value()?))?),
            3 => Some(with_words(target.config(), &name, |words| leave(words, &value()?))?),
            other => {
                let message = format!("operation {other} on {name}: use 0 (set) to 3 (subtract)");
                return Err((Code::InvalidRequest, message));
            }
        };
        changes.push((name, change));
    }
    Ok(changes)
}

/// Changes the words of a list property.
fn with_words(
    config: &TopicConfig,
    name: &str,
    change: impl FnOnce(Vec<String>) -> Result<String, Refusal>,
) -> Result<String, Refusal> {
    let is_list = ConfigKey::named(name).is_some_and(|key| matches!(key.form, ConfigForm::Words(_)));
    if !is_list {
        return Err((
            Code::InvalidConfig,
            format!("property {name} is no list: only set and delete change it"),
        ));
    }
    let now = config.effective(name).unwrap_or_default();
    change(words(now).map(str::to_owned).collect())
}

fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|word| !word.is_empty())
}

fn join(mut have: Vec<String>, more: &str) -> Result<String, Refusal> {
    for word in words(more) {
        if !have.iter().any(|h| h == word) {
            have.push(word.to_owned());
        }
    }
    Ok(have.join(","))
}

fn leave(mut have: Vec<String>, less: &str) -> Result<String, Refusal> {
    have.retain(|h| !words(less).any(|word| word == h));
    Ok(have.join(","))
}

async fn apply(
    broker: &Arc<Broker>,
    target: &Target,
    changes: Changes,
    validate_only: bool,
) -> Result<(), Refusal> {
    if validate_only {
        let mut config = target.config().clone();
        for (name, value) in &changes {
            if matches!(target, Target::Node(_)) && !ConfigKey::for_node().any(|key| key.name == name) {
                let error = TopicError::NotForNode(name.clone());
                return Err((errors::topic(&error), error.to_string()));
            }
            config.set(name, value.as_deref()).map_err(|e| (errors::topic(&e), e.to_string()))?;
        }
        config.check_together().map_err(|e| (errors::topic(&e), e.to_string()))?;
        return Ok(());
    }
    let info = match target {
        Target::Topic(info) => info,
        Target::Node(_) => {
            let node = Arc::clone(broker);
            let altered = super::off_thread(move || node.topics.alter_node_config(&changes)).await;
            let altered = altered.map_err(|_| (Code::UnknownServerError, "the request failed".to_owned()))?;
            return altered.map_err(|e| (errors::topic(&e), base::fault::chain(&e)));
        }
    };
    let altered = broker.commands.alter_topic(info.name.as_str(), &changes).await;
    altered.map(drop).map_err(|e| (errors::command(&e), base::fault::chain(&e)))
}
