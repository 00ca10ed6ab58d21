//! The list of topic properties.
//!
//! Owns: names, defaults and forms; the names are Kafka's (TopicConfig.java) and Redpanda's (`redpanda.iceberg.*`).
//! Does not own: what they do.
//! Invariants: every property has a default, so that a tool can set again what it was shown.

use super::{ConfigForm, ConfigKey};

const fn key(name: &'static str, default: &'static str, form: ConfigForm, doc: &'static str) -> ConfigKey {
    ConfigKey { name, default, doc, form }
}

/// How the subject of a schema is named: Confluent's words, short and in full.
const SUBJECT_STRATEGIES: &[&str] = &[
    "TopicNameStrategy",
    "RecordNameStrategy",
    "TopicRecordNameStrategy",
    "io.confluent.kafka.serializers.subject.TopicNameStrategy",
    "io.confluent.kafka.serializers.subject.RecordNameStrategy",
    "io.confluent.kafka.serializers.subject.TopicRecordNameStrategy",
];

pub(super) const ALL: &[ConfigKey] = &[
    key(
        "cleanup.policy",
        "delete",
        ConfigForm::Words(&["delete", "compact"]),
        "What becomes of old segments: delete, compact, or both.",
    ),
    key("compression.gzip.level", "-1", ConfigForm::Int(-1, 9), "Kept for tools: see compression.type."),
    key("compression.lz4.level", "9", ConfigForm::Int(1, 17), "Kept for tools: see compression.type."),
    key(
        "compression.type",
        "producer",
        ConfigForm::Word(&["producer", "uncompressed", "none", "gzip", "snappy", "lz4", "zstd"]),
        "Kept for tools: batches are kept as they were sent, whatever is set here.",
    ),
    key(
        "compression.zstd.level",
        "3",
        ConfigForm::Int(-131_072, 22),
        "Kept for tools: see compression.type.",
    ),
    key(
        "confluent.key.schema.validation",
        "false",
        ConfigForm::Boolean,
        "Whether a record's key must name a schema of its subject; else its batch is refused.",
    ),
    key(
        "confluent.key.subject.name.strategy",
        "io.confluent.kafka.serializers.subject.TopicNameStrategy",
        ConfigForm::Word(SUBJECT_STRATEGIES),
        "Which subject that is: by topic, by record, or by both.",
    ),
    key(
        "confluent.value.schema.validation",
        "false",
        ConfigForm::Boolean,
        "Whether a record's value must name a schema of its subject; else its batch is refused.",
    ),
    key(
        "confluent.value.subject.name.strategy",
        "io.confluent.kafka.serializers.subject.TopicNameStrategy",
        ConfigForm::Word(SUBJECT_STRATEGIES),
        "Which subject that is: by topic, by record, or by both.",
    ),
    key(
        "delete.retention.ms",
        "86400000",
        ConfigForm::Long(0, i64::MAX),
        "How long tombstones of compacted topics stay, ms.",
    ),
    key(
        "file.delete.delay.ms",
        "60000",
        ConfigForm::Long(0, i64::MAX),
        "Kept for tools: a removed segment's file goes at once.",
    ),
    key(
        "flush.messages",
        "9223372036854775807",
        ConfigForm::Long(1, i64::MAX),
        "Kept for tools: every acknowledged batch is synced.",
    ),
    key(
        "flush.ms",
        "9223372036854775807",
        ConfigForm::Long(0, i64::MAX),
        "Kept for tools: every acknowledged batch is synced.",
    ),
    key(
        "follower.replication.throttled.replicas",
        "",
        ConfigForm::Text,
        "Kept for tools: this log keeps one copy.",
    ),
    key(
        "frazil.retention.hold.bytes",
        "10737418240",
        ConfigForm::Long(-1, i64::MAX),
        "Most bytes per partition that retention, compaction and DeleteRecords keep for tables that are behind; -1: any.",
    ),
    key(
        "frazil.table.backfill",
        "true",
        ConfigForm::Boolean,
        "Whether what was in the topic before it became a table becomes rows too.",
    ),
    key("frazil.table.name", "", ConfigForm::Text, "Name of the table; the topic's when it is empty."),
    key(
        "frazil.table.namespace",
        "",
        ConfigForm::Text,
        "Namespace of the table, levels separated by dots; the node's default when it is empty.",
    ),
    key(
        "index.interval.bytes",
        "4096",
        ConfigForm::Int(0, i32::MAX as i64),
        "One index entry per so many bytes of log.",
    ),
    key(
        "leader.replication.throttled.replicas",
        "",
        ConfigForm::Text,
        "Kept for tools: this log keeps one copy.",
    ),
    key(
        "max.compaction.lag.ms",
        "9223372036854775807",
        ConfigForm::Long(1, i64::MAX),
        "Longest time a record stays uncompacted, ms.",
    ),
    key(
        "max.message.bytes",
        "1048588",
        ConfigForm::Int(0, i32::MAX as i64),
        "Largest batch that is taken, bytes.",
    ),
    key(
        "message.format.version",
        "3.0-IV1",
        ConfigForm::Text,
        "Kept for tools: as in Kafka since 3.0 it has no effect.",
    ),
    key(
        "message.timestamp.after.max.ms",
        "3600000",
        ConfigForm::Long(0, i64::MAX),
        "How far ahead of the broker's clock a client's time may be, ms.",
    ),
    key(
        "message.timestamp.before.max.ms",
        "9223372036854775807",
        ConfigForm::Long(0, i64::MAX),
        "How far behind the broker's clock a client's time may be, ms.",
    ),
    key(
        "message.timestamp.type",
        "CreateTime",
        ConfigForm::Word(&["CreateTime", "LogAppendTime"]),
        "Whose time a record bears.",
    ),
    key(
        "min.cleanable.dirty.ratio",
        "0.5",
        ConfigForm::Ratio,
        "Share of uncompacted bytes from which compaction is worth it.",
    ),
    key(
        "min.compaction.lag.ms",
        "0",
        ConfigForm::Long(0, i64::MAX),
        "Shortest time a record stays uncompacted, ms.",
    ),
    key(
        "min.insync.replicas",
        "1",
        ConfigForm::Int(1, i32::MAX as i64),
        "Kept for tools: this log keeps one copy.",
    ),
    key("preallocate", "false", ConfigForm::Boolean, "Kept for tools: files grow as they are written."),
    key("redpanda.iceberg.delete", "true", ConfigForm::Boolean, "Whether the table goes with the topic."),
    key(
        "redpanda.iceberg.invalid.record.action",
        "dlq_table",
        ConfigForm::Word(&["dlq_table", "drop"]),
        "What becomes of records that do not fit the table.",
    ),
    key("redpanda.iceberg.mode", "disabled", ConfigForm::IcebergMode, "How the topic is an Iceberg table."),
    key(
        "redpanda.iceberg.partition.spec",
        "(hour(redpanda.timestamp))",
        ConfigForm::PartitionSpec,
        "How the table is partitioned.",
    ),
    key(
        "redpanda.iceberg.target.lag.ms",
        "10000",
        ConfigForm::Long(0, i64::MAX),
        "How far the table may be behind the topic, ms.",
    ),
    key(
        "redpanda.key.schema.id.validation",
        "false",
        ConfigForm::Boolean,
        "Whether a record's key must name a schema of its subject; else its batch is refused.",
    ),
    key(
        "redpanda.key.subject.name.strategy",
        "TopicNameStrategy",
        ConfigForm::Word(SUBJECT_STRATEGIES),
        "Which subject that is: by topic, by record, or by both.",
    ),
    key(
        "redpanda.value.schema.id.validation",
        "false",
        ConfigForm::Boolean,
        "Whether a record's value must name a schema of its subject; else its batch is refused.",
    ),
    key(
        "redpanda.value.subject.name.strategy",
        "TopicNameStrategy",
        ConfigForm::Word(SUBJECT_STRATEGIES),
        "Which subject that is: by topic, by record, or by both.",
    ),
    key(
        "retention.bytes",
        "-1",
        ConfigForm::Long(-1, i64::MAX),
        "Largest size of a partition before old segments go, bytes; -1: any.",
    ),
    key(
        "retention.ms",
        "604800000",
        ConfigForm::Long(-1, i64::MAX),
        "Age at which segments go, counted from their last append by the broker's clock, ms; -1: never.",
    ),
    key(
        "segment.bytes",
        "268435456",
        ConfigForm::Int(1_024, i32::MAX as i64),
        "Size at which a segment is closed, bytes.",
    ),
    key(
        "segment.index.bytes",
        "10485760",
        ConfigForm::Int(4, i32::MAX as i64),
        "Kept for tools: an index is as large as its segment needs.",
    ),
    key(
        "segment.jitter.ms",
        "0",
        ConfigForm::Long(0, i64::MAX),
        "Kept for tools: segments close at segment.ms.",
    ),
    key("segment.ms", "604800000", ConfigForm::Long(1, i64::MAX), "Age at which a segment is closed, ms."),
    key(
        "unclean.leader.election.enable",
        "false",
        ConfigForm::Boolean,
        "Kept for tools: this log keeps one copy.",
    ),
];
