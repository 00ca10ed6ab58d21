//! The one list of Kafka APIs that this door serves, and in which versions.
//!
//! Owns: api keys, advertised and usable versions, from which version an api is flexible.
//! Does not own: what the requests look like (`shape`) or do (`handlers`).
//! Invariants: a maximum is what the handlers implement in meaning, not what the codec can read; a minimum is what
//! Kafka 4.1 advertises, because clients choose features by exact overlap.

use super::shape::{Field, table};

/// An api that is served. The numbers are Kafka's api keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i16)]
pub(super) enum Api {
    Produce = 0,
    Fetch = 1,
    ListOffsets = 2,
    Metadata = 3,
    OffsetCommit = 8,
    OffsetFetch = 9,
    FindCoordinator = 10,
    JoinGroup = 11,
    Heartbeat = 12,
    LeaveGroup = 13,
    SyncGroup = 14,
    DescribeGroups = 15,
    ListGroups = 16,
    SaslHandshake = 17,
    ApiVersions = 18,
    CreateTopics = 19,
    DeleteTopics = 20,
    DeleteRecords = 21,
    InitProducerId = 22,
    OffsetForLeaderEpoch = 23,
    AddPartitionsToTxn = 24,
    AddOffsetsToTxn = 25,
    EndTxn = 26,
    WriteTxnMarkers = 27,
    TxnOffsetCommit = 28,
    DescribeAcls = 29,
    CreateAcls = 30,
    DeleteAcls = 31,
    DescribeConfigs = 32,
    AlterConfigs = 33,
    AlterReplicaLogDirs = 34,
    DescribeLogDirs = 35,
    SaslAuthenticate = 36,
    CreatePartitions = 37,
    DeleteGroups = 42,
    ElectLeaders = 43,
    IncrementalAlterConfigs = 44,
    AlterPartitionReassignments = 45,
    ListPartitionReassignments = 46,
    OffsetDelete = 47,
    DescribeClientQuotas = 48,
    AlterClientQuotas = 49,
    DescribeUserScramCredentials = 50,
    AlterUserScramCredentials = 51,
    DescribeQuorum = 55,
    DescribeCluster = 60,
    DescribeProducers = 61,
    DescribeTransactions = 65,
    ListTransactions = 66,
    ConsumerGroupHeartbeat = 68,
    ConsumerGroupDescribe = 69,
    ListConfigResources = 74,
    DescribeTopicPartitions = 75,
}

/// How an api is served.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) api: Api,
    /// First version in the ApiVersions answer.
    pub(super) min: i16,
    /// First version that is really taken; differs from `min` for Produce alone.
    pub(super) usable_min: i16,
    /// Last version.
    pub(super) max: i16,
    /// First version with compact lengths and tagged fields.
    pub(super) flexible: i16,
    /// The fields of the request.
    pub(super) shape: &'static [Field],
}

impl Served {
    /// Whether `version` has compact lengths and tagged fields.
    pub(super) fn is_flexible(&self, version: i16) -> bool {
        version >= self.flexible
    }
}

const fn api(api: Api, min: i16, max: i16, flexible: i16, shape: &'static [Field]) -> Served {
    Served { api, min, usable_min: min, max, flexible, shape }
}

/// Everything that is served, by api key.
pub(super) static SERVED: [Served; 53] = [
    // Version 0 is advertised because librdkafka up to 2.11 compresses with gzip and snappy only for brokers that
    // list it (librdkafka#4956, KAFKA-18659); versions 0 to 2 carry message sets, which nobody takes any more.
    // 12 would promise transaction.version 2 (KIP-890), 13 topic ids.
    Served { usable_min: 3, ..api(Api::Produce, 0, 11, 9, table::PRODUCE) },
    // 18 carries a follower's high watermark.
    api(Api::Fetch, 4, 17, 12, table::FETCH),
    api(Api::ListOffsets, 1, 10, 6, table::LIST_OFFSETS),
    api(Api::Metadata, 0, 13, 9, table::METADATA),
    // 10 carries topic ids, as does 10 of OffsetFetch.
    api(Api::OffsetCommit, 2, 9, 8, table::OFFSET_COMMIT),
    api(Api::OffsetFetch, 1, 9, 6, table::OFFSET_FETCH),
    api(Api::FindCoordinator, 0, 6, 3, table::FIND_COORDINATOR),
    // kafka-go and others ask for version 1 (KAFKA-19444).
    api(Api::JoinGroup, 0, 9, 6, table::JOIN_GROUP),
    api(Api::Heartbeat, 0, 4, 4, table::HEARTBEAT),
    api(Api::LeaveGroup, 0, 5, 4, table::LEAVE_GROUP),
    api(Api::SyncGroup, 0, 5, 4, table::SYNC_GROUP),
    api(Api::DescribeGroups, 0, 6, 5, table::DESCRIBE_GROUPS),
    api(Api::ListGroups, 0, 5, 3, table::LIST_GROUPS),
    // It has no flexible version.
    api(Api::SaslHandshake, 0, 1, 2, table::SASL_HANDSHAKE),
    api(Api::ApiVersions, 0, 4, 3, table::API_VERSIONS),
    api(Api::CreateTopics, 2, 7, 5, table::CREATE_TOPICS),
    api(Api::DeleteTopics, 1, 6, 4, table::DELETE_TOPICS),
    api(Api::DeleteRecords, 0, 2, 2, table::DELETE_RECORDS),
    // 6 is unstable in Kafka (two-phase commit, KIP-939).
    api(Api::InitProducerId, 0, 5, 2, table::INIT_PRODUCER_ID),
    api(Api::OffsetForLeaderEpoch, 2, 4, 4, table::OFFSET_FOR_LEADER_EPOCH),
    // 4 is for brokers among themselves; 5, as 5 of EndTxn, belongs to transaction.version 2 (KIP-890).
    api(Api::AddPartitionsToTxn, 0, 3, 3, table::ADD_PARTITIONS_TO_TXN),
    api(Api::AddOffsetsToTxn, 0, 4, 3, table::ADD_OFFSETS_TO_TXN),
    api(Api::EndTxn, 0, 4, 3, table::END_TXN),
    api(Api::WriteTxnMarkers, 1, 1, 1, table::WRITE_TXN_MARKERS),
    // 5 would promise transaction.version 2.
    api(Api::TxnOffsetCommit, 0, 4, 3, table::TXN_OFFSET_COMMIT),
    api(Api::DescribeAcls, 1, 3, 2, table::DESCRIBE_ACLS),
    api(Api::CreateAcls, 1, 3, 2, table::CREATE_ACLS),
    api(Api::DeleteAcls, 1, 3, 2, table::DELETE_ACLS),
    api(Api::DescribeConfigs, 1, 4, 4, table::DESCRIBE_CONFIGS),
    api(Api::AlterConfigs, 0, 2, 2, table::ALTER_CONFIGS),
    api(Api::AlterReplicaLogDirs, 1, 2, 2, table::ALTER_REPLICA_LOG_DIRS),
    api(Api::DescribeLogDirs, 1, 4, 2, table::DESCRIBE_LOG_DIRS),
    api(Api::SaslAuthenticate, 0, 2, 2, table::SASL_AUTHENTICATE),
    api(Api::CreatePartitions, 0, 3, 2, table::CREATE_PARTITIONS),
    api(Api::DeleteGroups, 0, 2, 2, table::DELETE_GROUPS),
    api(Api::ElectLeaders, 0, 2, 2, table::ELECT_LEADERS),
    api(Api::IncrementalAlterConfigs, 0, 1, 1, table::INCREMENTAL_ALTER_CONFIGS),
    api(Api::AlterPartitionReassignments, 0, 1, 0, table::ALTER_PARTITION_REASSIGNMENTS),
    api(Api::ListPartitionReassignments, 0, 0, 0, table::LIST_PARTITION_REASSIGNMENTS),
    // It has no flexible version.
    api(Api::OffsetDelete, 0, 0, 1, table::OFFSET_DELETE),
    api(Api::DescribeClientQuotas, 0, 1, 1, table::DESCRIBE_CLIENT_QUOTAS),
    api(Api::AlterClientQuotas, 0, 1, 1, table::ALTER_CLIENT_QUOTAS),
    api(Api::DescribeUserScramCredentials, 0, 0, 0, table::DESCRIBE_USER_SCRAM_CREDENTIALS),
    api(Api::AlterUserScramCredentials, 0, 0, 0, table::ALTER_USER_SCRAM_CREDENTIALS),
    api(Api::DescribeQuorum, 0, 2, 0, table::DESCRIBE_QUORUM),
    api(Api::DescribeCluster, 0, 2, 0, table::DESCRIBE_CLUSTER),
    api(Api::DescribeProducers, 0, 0, 0, table::DESCRIBE_PRODUCERS),
    api(Api::DescribeTransactions, 0, 0, 0, table::DESCRIBE_TRANSACTIONS),
    // 2 filters by a regular expression.
    api(Api::ListTransactions, 0, 1, 0, table::LIST_TRANSACTIONS),
    api(Api::ConsumerGroupHeartbeat, 0, 1, 0, table::CONSUMER_GROUP_HEARTBEAT),
    api(Api::ConsumerGroupDescribe, 0, 1, 0, table::CONSUMER_GROUP_DESCRIBE),
    api(Api::ListConfigResources, 0, 1, 0, table::LIST_CONFIG_RESOURCES),
    api(Api::DescribeTopicPartitions, 0, 0, 0, table::DESCRIBE_TOPIC_PARTITIONS),
];

/// How the api with this key is served, if it is.
pub(super) fn served(key: i16) -> Option<&'static Served> {
    SERVED.iter().find(|s| s.api as i16 == key)
}
