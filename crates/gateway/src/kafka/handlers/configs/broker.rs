//! The node's settings under the names that Kafka's tools look for.
//!
//! Owns: which settings are shown. Nearly all are read-only here: they come from the configuration file.

use ::topics::{ConfigKey, GroupSettings, Settings};
use kafka_protocol::ResponseError as Code;

use super::super::super::{Broker, NODE_ID};
use super::{FROM_DEFAULT, FROM_NODE, FROM_RUNNING_NODE, Refusal, Shown, form_code, synonyms};

const BOOLEAN: i8 = 1;
const STRING: i8 = 2;
const INT: i8 = 3;
const LONG: i8 = 5;
const LIST: i8 = 7;

/// The settings of the node; `name` is its id, or empty for what holds for all nodes.
pub(super) fn properties(broker: &Broker, name: &str) -> Result<Vec<Shown>, Refusal> {
    check_name(name)?;
    let mut shown_all = settings(broker);
    // What topics have when nothing is set on them.
    for key in ConfigKey::all().iter().filter(|key| is_kafkas(key.name)) {
        let name = synonyms::broker_name(key.name);
        if !shown_all.iter().any(|s| s.name == name) {
            let default = key.default;
            shown_all
                .push(Shown { form: form_code(key.form), ..shown(name, STRING, default, default, key.doc) });
        }
    }
    let set = broker.topics.node_config();
    for key in ConfigKey::for_node() {
        let name = synonyms::broker_name(key.name);
        for shown in shown_all.iter_mut().filter(|s| s.name == name) {
            shown.read_only = false;
            if let Some(value) = set.get(key.name) {
                (shown.value, shown.source) = (Some(value.to_owned()), FROM_RUNNING_NODE);
            }
        }
    }
    shown_all.sort_by_key(|s| s.name);
    Ok(shown_all)
}

/// What the node was started with.
fn settings(broker: &Broker) -> Vec<Shown> {
    let (log, default) = (broker.topics.settings(), Settings::default());
    let listener = format!("{}://{}:{}", broker.protocol(), broker.host.as_str(), broker.port);
    let fixed = |name, form, value: &str, doc| shown(name, form, value, value, doc);
    let mut all = vec![
        shown("advertised.listeners", STRING, &listener, "", "Where clients connect."),
        shown(
            "auto.create.topics.enable",
            BOOLEAN,
            &log.auto_create_topics.to_string(),
            &default.auto_create_topics.to_string(),
            "Naming a topic in Metadata makes it.",
        ),
        shown("broker.id", INT, &NODE_ID.to_string(), "-1", "The id of this node."),
        fixed("compression.type", STRING, "producer", "Batches are kept as they were sent."),
        fixed("default.replication.factor", INT, "1", "This log keeps one copy."),
        fixed("log.cleanup.policy", LIST, "delete", "What becomes of old segments."),
        shown(
            "log.index.interval.bytes",
            INT,
            &log.index_interval_bytes.to_string(),
            &default.index_interval_bytes.to_string(),
            "One index entry per so many bytes of log.",
        ),
        fixed("log.message.timestamp.type", STRING, "CreateTime", "Whose time a record bears."),
        shown(
            "log.segment.bytes",
            LONG,
            &log.segment_bytes.to_string(),
            &default.segment_bytes.to_string(),
            "Size at which a segment is closed.",
        ),
        shown(
            "message.max.bytes",
            INT,
            &log.message_bytes_max.to_string(),
            &default.message_bytes_max.to_string(),
            "Largest batch that is taken, bytes.",
        ),
        fixed("min.insync.replicas", INT, "1", "This log keeps one copy."),
        shown("node.id", INT, &NODE_ID.to_string(), "-1", "The id of this node."),
        shown(
            "num.partitions",
            INT,
            &log.partitions_default.to_string(),
            &default.partitions_default.to_string(),
            "Partitions of a topic that is created without saying how many.",
        ),
        shown(
            "socket.request.max.bytes",
            INT,
            &broker.request_bytes_max.to_string(),
            &crate::admission::Limits::default().request_bytes_max.to_string(),
            "Largest request, bytes.",
        ),
    ];
    all.extend(upkeep_settings(log, &default));
    all.extend(group_settings(&log.groups, &default.groups));
    all
}

/// When upkeep runs.
fn upkeep_settings(log: &Settings, default: &Settings) -> [Shown; 3] {
    [
        shown(
            "log.retention.check.interval.ms",
            LONG,
            &log.retention_check_interval.as_millis().to_string(),
            &default.retention_check_interval.as_millis().to_string(),
            "How often old segments are looked for, ms.",
        ),
        shown(
            "log.cleaner.backoff.ms",
            LONG,
            &log.cleaner_backoff.as_millis().to_string(),
            &default.cleaner_backoff.as_millis().to_string(),
            "Pause between two looks for something to compact, ms.",
        ),
        shown(
            "log.cleaner.enable",
            BOOLEAN,
            "true",
            "true",
            "Topics with cleanup.policy=compact are compacted.",
        ),
    ]
}

/// The group coordinator's.
fn group_settings(groups: &GroupSettings, default: &GroupSettings) -> Vec<Shown> {
    type Value = fn(&GroupSettings) -> u128;
    let all: [(&'static str, Value, &'static str); 7] = [
        (
            "group.consumer.heartbeat.interval.ms",
            |g| g.consumer_heartbeat_interval.as_millis(),
            "How often members of the consumer protocol show that they are there, ms.",
        ),
        (
            "group.consumer.session.timeout.ms",
            |g| g.consumer_session_timeout.as_millis(),
            "Silence after which a member of the consumer protocol is gone, ms.",
        ),
        (
            "group.initial.rebalance.delay.ms",
            |g| g.initial_rebalance_delay.as_millis(),
            "How long a new group waits for more members after each that comes, ms.",
        ),
        (
            "group.max.session.timeout.ms",
            |g| g.session_timeout_max.as_millis(),
            "Longest session that a member may ask for, ms.",
        ),
        ("group.max.size", |g| g.members_max as u128, "Most members of one group."),
        (
            "group.min.session.timeout.ms",
            |g| g.session_timeout_min.as_millis(),
            "Shortest session that a member may ask for, ms.",
        ),
        (
            "offsets.retention.minutes",
            |g| u128::from(g.offsets_retention.as_secs() / 60),
            "How long offsets outlive their group's last member, minutes.",
        ),
    ];
    let one = |(name, value, doc): (_, Value, _)| {
        shown(name, INT, &value(groups).to_string(), &value(default).to_string(), doc)
    };
    all.into_iter().map(one).collect()
}

/// Refuses other nodes than this one.
pub(super) fn check_name(name: &str) -> Result<(), Refusal> {
    if !name.is_empty() && name != NODE_ID.to_string() {
        let message = format!("there is no broker {name}: the only one is {NODE_ID}");
        return Err((Code::InvalidRequest, message));
    }
    Ok(())
}

fn is_kafkas(property: &str) -> bool {
    !property.starts_with("redpanda.") && !property.starts_with("frazil.")
}

fn shown(name: &'static str, form: i8, value: &str, default: &str, doc: &'static str) -> Shown {
    Shown {
        name,
        broker_name: name,
        value: Some(value.to_owned()),
        default: (!default.is_empty()).then(|| default.to_owned()),
        default_source: FROM_DEFAULT,
        source: if value == default { FROM_DEFAULT } else { FROM_NODE },
        form,
        doc,
        read_only: true,
    }
}
