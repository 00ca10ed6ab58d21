//! Settings of the log.
//!
//! Owns: every limit of this crate, with its default.
//! Does not own: where settings come from.

use std::time::Duration;

/// Settings of the embedded log. All sizes are bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// A segment is closed beyond this size, unless the topic says otherwise (`segment.bytes`).
    pub segment_bytes: u64,
    /// One index entry per so many bytes of log.
    pub index_interval_bytes: u64,
    /// A write-ahead file is closed beyond this size.
    pub wal_file_bytes: u64,
    /// Most bytes waiting for the disk before appends answer `Busy`.
    pub unsynced_bytes_max: u64,
    /// Largest batch, unless the topic says otherwise (`max.message.bytes`).
    pub message_bytes_max: usize,
    /// Largest size of one batch once decompressed.
    pub decompressed_bytes_max: usize,
    /// Free space below which appends are refused, so that tables can still catch up.
    pub reserve_bytes: u64,
    /// Space that is set aside on the disk and given up when it is full, so that what was accepted still becomes
    /// durable and the log can be opened without a free byte; 0 for none.
    pub recovery_bytes: u64,
    /// Partitions of a topic that is created without saying how many.
    pub partitions_default: i32,
    /// Whether a topic comes into being when a client asks for it by name (`auto.create.topics.enable`).
    pub auto_create_topics: bool,
    /// Largest replication factor that a new topic may ask for; one copy is kept whatever it says.
    pub replication_factor_max: i16,
    /// Most partitions of one topic.
    pub partitions_max: i32,
    /// A producer id that wrote nothing for so long is forgotten.
    pub producer_expiry: Duration,
    /// Most producers known per partition; beyond it the quietest are forgotten.
    pub producers_max: usize,
    /// Largest progress value of a named writer.
    pub progress_bytes_max: usize,
    /// Longest time a transaction may ask for (`transaction.max.timeout.ms`).
    pub transaction_timeout_max: Duration,
    /// A transactional id that nobody used for so long is forgotten (`transactional.id.expiration.ms`).
    pub transactional_id_expiry: Duration,
    /// Longest transactional id, bytes.
    pub transactional_id_bytes_max: usize,
    /// Most transactional ids that are known at a time.
    pub transactional_ids_max: usize,
    /// Most partitions of one transaction.
    pub transaction_partitions_max: usize,
    /// Most segment files that are kept open.
    pub open_files_max: usize,
    /// How often old segments are looked for (Kafka's log.retention.check.interval.ms); sooner while the disk is full.
    pub retention_check_interval: Duration,
    /// Most keys that a pass of compaction remembers, about 50 bytes each (Kafka's log.cleaner.dedupe.buffer.size in
    /// other units); a pass that meets more ends there, and the next goes on.
    pub cleaner_keys_max: usize,
    /// Pause between two looks for something to compact (Kafka's log.cleaner.backoff.ms).
    pub cleaner_backoff: Duration,
    /// The group coordinator.
    pub groups: GroupSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            segment_bytes: 256 << 20,
            index_interval_bytes: 4096,
            wal_file_bytes: 64 << 20,
            unsynced_bytes_max: 64 << 20,
            message_bytes_max: 1_048_588,
            decompressed_bytes_max: 64 << 20,
            reserve_bytes: 64 << 20,
            recovery_bytes: 64 << 20,
            partitions_default: 1,
            auto_create_topics: true,
            replication_factor_max: 1,
            partitions_max: 10_000,
            producer_expiry: Duration::from_secs(86_400),
            producers_max: 10_000,
            progress_bytes_max: 32 << 20,
            transaction_timeout_max: Duration::from_secs(3_600),
            transactional_id_expiry: Duration::from_secs(7 * 86_400),
            transactional_id_bytes_max: 4_096,
            transactional_ids_max: 100_000,
            transaction_partitions_max: 10_000,
            open_files_max: 512,
            retention_check_interval: Duration::from_secs(60),
            cleaner_keys_max: 1_000_000,
            cleaner_backoff: Duration::from_secs(15),
            groups: GroupSettings::default(),
        }
    }
}

/// Settings of the group coordinator; the names of Kafka's broker settings stand with each.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupSettings {
    /// `group.min.session.timeout.ms`.
    pub session_timeout_min: Duration,
    /// `group.max.session.timeout.ms`.
    pub session_timeout_max: Duration,
    /// `group.initial.rebalance.delay.ms`: how long an empty group waits for more members after the first; again as
    /// long for each that comes, up to the rebalance timeout.
    pub initial_rebalance_delay: Duration,
    /// How long a new member may wait in a JoinGroup before it must show that it is still there.
    pub new_member_join_timeout: Duration,
    /// `group.max.size`: most members of a group, and most that have an id but have not joined.
    pub members_max: usize,
    /// Most groups.
    pub groups_max: usize,
    /// Most bytes of names and protocol metadata of the members of one group; with the assignments they must fit one
    /// batch of `__consumer_offsets`.
    pub group_bytes_max: usize,
    /// `group.consumer.session.timeout.ms`.
    pub consumer_session_timeout: Duration,
    /// `group.consumer.heartbeat.interval.ms`.
    pub consumer_heartbeat_interval: Duration,
    /// `offset.metadata.max.bytes`.
    pub offset_metadata_bytes_max: usize,
    /// Most partitions that one group stores offsets of.
    pub offsets_per_group_max: usize,
    /// `offsets.retention.minutes`: how long offsets outlive the last member, or the last commit without members.
    pub offsets_retention: Duration,
    /// `offsets.retention.check.interval.ms`.
    pub offsets_check_interval: Duration,
}

impl Default for GroupSettings {
    fn default() -> Self {
        Self {
            session_timeout_min: Duration::from_secs(6),
            session_timeout_max: Duration::from_secs(30 * 60),
            initial_rebalance_delay: Duration::from_millis(100),
            new_member_join_timeout: Duration::from_secs(5 * 60),
            members_max: 10_000,
            groups_max: 10_000,
            group_bytes_max: 768 << 10,
            consumer_session_timeout: Duration::from_secs(45),
            consumer_heartbeat_interval: Duration::from_secs(5),
            offset_metadata_bytes_max: 4096,
            offsets_per_group_max: 100_000,
            offsets_retention: Duration::from_secs(7 * 86_400),
            offsets_check_interval: Duration::from_secs(600),
        }
    }
}
