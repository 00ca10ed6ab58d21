//! Refusing a request whole.
//!
//! Owns: where each kind of answer has its error codes.

use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages as m;

use super::super::super::errors::NONE;
use super::super::text;

/// A request that can be refused whole.
pub(in super::super) trait Refuse {
    type Answer;

    /// The answer that says `code` wherever it has room for one.
    fn refuse(self, code: Code) -> Self::Answer;
}

/// Answers with one code for everything.
macro_rules! one_code {
    ($($request:ident => $answer:ident),+ $(,)?) => {
        $(impl Refuse for m::$request {
            type Answer = m::$answer;

            fn refuse(self, code: Code) -> m::$answer {
                m::$answer::default().with_error_code(code.code())
            }
        })+
    };
}

one_code! {
    ListConfigResourcesRequest => ListConfigResourcesResponse,
    SyncGroupRequest => SyncGroupResponse,
    HeartbeatRequest => HeartbeatResponse,
    LeaveGroupRequest => LeaveGroupResponse,
    OffsetDeleteRequest => OffsetDeleteResponse,
    AddOffsetsToTxnRequest => AddOffsetsToTxnResponse,
    EndTxnRequest => EndTxnResponse,
    DescribeLogDirsRequest => DescribeLogDirsResponse,
}

/// The same with a message.
macro_rules! one_code_and_message {
    ($($request:ident => $answer:ident),+ $(,)?) => {
        $(impl Refuse for m::$request {
            type Answer = m::$answer;

            fn refuse(self, code: Code) -> m::$answer {
                m::$answer::default().with_error_code(code.code()).with_error_message(Some(text(code)))
            }
        })+
    };
}

one_code_and_message! {
    AlterPartitionReassignmentsRequest => AlterPartitionReassignmentsResponse,
    ListPartitionReassignmentsRequest => ListPartitionReassignmentsResponse,
    ConsumerGroupHeartbeatRequest => ConsumerGroupHeartbeatResponse,
    DescribeAclsRequest => DescribeAclsResponse,
    DescribeUserScramCredentialsRequest => DescribeUserScramCredentialsResponse,
}

impl Refuse for m::DescribeQuorumRequest {
    type Answer = m::DescribeQuorumResponse;

    // Its message came with version 2.
    fn refuse(self, code: Code) -> m::DescribeQuorumResponse {
        m::DescribeQuorumResponse::default().with_error_code(code.code()).with_error_message(None)
    }
}

impl Refuse for m::DescribeClientQuotasRequest {
    type Answer = m::DescribeClientQuotasResponse;

    fn refuse(self, code: Code) -> m::DescribeClientQuotasResponse {
        m::DescribeClientQuotasResponse::default()
            .with_error_code(code.code())
            .with_error_message(Some(text(code)))
            .with_entries(None)
    }
}

impl Refuse for m::ElectLeadersRequest {
    type Answer = m::ElectLeadersResponse;

    fn refuse(self, code: Code) -> m::ElectLeadersResponse {
        use m::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
        let topics = self.topic_partitions.unwrap_or_default().into_iter().map(|topic| {
            let of = |index| {
                let result = PartitionResult::default().with_partition_id(index);
                result.with_error_code(code.code()).with_error_message(Some(text(code)))
            };
            let partitions = topic.partitions.into_iter().map(of).collect();
            ReplicaElectionResult::default().with_topic(topic.topic).with_partition_result(partitions)
        });
        m::ElectLeadersResponse::default()
            .with_error_code(code.code())
            .with_replica_election_results(topics.collect())
    }
}

impl Refuse for m::InitProducerIdRequest {
    type Answer = m::InitProducerIdResponse;

    fn refuse(self, code: Code) -> m::InitProducerIdResponse {
        m::InitProducerIdResponse::default()
            .with_error_code(code.code())
            .with_producer_id((-1).into())
            .with_producer_epoch(-1)
    }
}

impl Refuse for m::AlterReplicaLogDirsRequest {
    type Answer = m::AlterReplicaLogDirsResponse;

    fn refuse(self, code: Code) -> m::AlterReplicaLogDirsResponse {
        use m::alter_replica_log_dirs_response::{
            AlterReplicaLogDirPartitionResult as Partition, AlterReplicaLogDirTopicResult as Topic,
        };
        let topics = self.dirs.into_iter().flat_map(|dir| dir.topics).map(|topic| {
            let of = |index| Partition::default().with_partition_index(index).with_error_code(code.code());
            let partitions = topic.partitions.into_iter().map(of).collect();
            Topic::default().with_topic_name(topic.name).with_partitions(partitions)
        });
        m::AlterReplicaLogDirsResponse::default().with_results(topics.collect())
    }
}

impl Refuse for m::AlterClientQuotasRequest {
    type Answer = m::AlterClientQuotasResponse;

    fn refuse(self, code: Code) -> m::AlterClientQuotasResponse {
        use m::alter_client_quotas_response::{EntityData, EntryData};
        let entries = self.entries.into_iter().map(|entry| {
            let entity = entry.entity.into_iter().map(|one| {
                EntityData::default().with_entity_type(one.entity_type).with_entity_name(one.entity_name)
            });
            EntryData::default()
                .with_error_code(code.code())
                .with_error_message(Some(text(code)))
                .with_entity(entity.collect())
        });
        m::AlterClientQuotasResponse::default().with_entries(entries.collect())
    }
}

impl Refuse for m::CreateAclsRequest {
    type Answer = m::CreateAclsResponse;

    fn refuse(self, code: Code) -> m::CreateAclsResponse {
        use m::create_acls_response::AclCreationResult;
        let results = self.creations.iter().map(|_| {
            AclCreationResult::default().with_error_code(code.code()).with_error_message(Some(text(code)))
        });
        m::CreateAclsResponse::default().with_results(results.collect())
    }
}

impl Refuse for m::DeleteAclsRequest {
    type Answer = m::DeleteAclsResponse;

    fn refuse(self, code: Code) -> m::DeleteAclsResponse {
        use m::delete_acls_response::DeleteAclsFilterResult;
        let results = self.filters.iter().map(|_| {
            DeleteAclsFilterResult::default()
                .with_error_code(code.code())
                .with_error_message(Some(text(code)))
        });
        m::DeleteAclsResponse::default().with_filter_results(results.collect())
    }
}

impl Refuse for m::AlterUserScramCredentialsRequest {
    type Answer = m::AlterUserScramCredentialsResponse;

    fn refuse(self, code: Code) -> m::AlterUserScramCredentialsResponse {
        use m::alter_user_scram_credentials_response::AlterUserScramCredentialsResult;
        let names =
            self.deletions.into_iter().map(|d| d.name).chain(self.upsertions.into_iter().map(|u| u.name));
        let results = names.map(|name| {
            AlterUserScramCredentialsResult::default()
                .with_user(name)
                .with_error_code(code.code())
                .with_error_message(Some(text(code)))
        });
        m::AlterUserScramCredentialsResponse::default().with_results(results.collect())
    }
}

impl Refuse for m::WriteTxnMarkersRequest {
    type Answer = m::WriteTxnMarkersResponse;

    fn refuse(self, code: Code) -> m::WriteTxnMarkersResponse {
        use m::write_txn_markers_response::{
            WritableTxnMarkerPartitionResult as Partition, WritableTxnMarkerResult as Marker,
            WritableTxnMarkerTopicResult as Topic,
        };
        let markers = self.markers.into_iter().map(|marker| {
            let topics = marker.topics.into_iter().map(|topic| {
                let of =
                    |index| Partition::default().with_partition_index(index).with_error_code(code.code());
                let partitions = topic.partition_indexes.into_iter().map(of).collect();
                Topic::default().with_name(topic.name).with_partitions(partitions)
            });
            Marker::default().with_producer_id(marker.producer_id).with_topics(topics.collect())
        });
        m::WriteTxnMarkersResponse::default().with_markers(markers.collect())
    }
}

impl Refuse for m::OffsetCommitRequest {
    type Answer = m::OffsetCommitResponse;

    fn refuse(self, code: Code) -> m::OffsetCommitResponse {
        m::OffsetCommitResponse::default()
            .with_topics(self.topics.into_iter().map(|topic| committed(topic, code)).collect())
    }
}

/// A topic of OffsetCommit whose offsets are not stored.
pub(super) fn committed(
    topic: m::offset_commit_request::OffsetCommitRequestTopic,
    code: Code,
) -> m::offset_commit_response::OffsetCommitResponseTopic {
    use m::offset_commit_response::{
        OffsetCommitResponsePartition as Partition, OffsetCommitResponseTopic as Topic,
    };
    let partitions = topic.partitions.iter().map(|partition| {
        Partition::default().with_partition_index(partition.partition_index).with_error_code(code.code())
    });
    let partitions = partitions.collect();
    Topic::default().with_name(topic.name).with_partitions(partitions)
}

impl Refuse for m::TxnOffsetCommitRequest {
    type Answer = m::TxnOffsetCommitResponse;

    fn refuse(self, code: Code) -> m::TxnOffsetCommitResponse {
        m::TxnOffsetCommitResponse::default()
            .with_topics(self.topics.into_iter().map(|topic| committed_in_transaction(topic, code)).collect())
    }
}

/// The same of TxnOffsetCommit.
pub(super) fn committed_in_transaction(
    topic: m::txn_offset_commit_request::TxnOffsetCommitRequestTopic,
    code: Code,
) -> m::txn_offset_commit_response::TxnOffsetCommitResponseTopic {
    use m::txn_offset_commit_response::{
        TxnOffsetCommitResponsePartition as Partition, TxnOffsetCommitResponseTopic as Topic,
    };
    let partitions = topic.partitions.iter().map(|partition| {
        Partition::default().with_partition_index(partition.partition_index).with_error_code(code.code())
    });
    let partitions = partitions.collect();
    Topic::default().with_name(topic.name).with_partitions(partitions)
}

impl Refuse for m::AddPartitionsToTxnRequest {
    type Answer = m::AddPartitionsToTxnResponse;

    fn refuse(self, code: Code) -> m::AddPartitionsToTxnResponse {
        added(self, |_| code)
    }
}

/// The answer to AddPartitionsToTxn with a code by topic.
pub(super) fn added(
    request: m::AddPartitionsToTxnRequest,
    code: impl Fn(&str) -> Code,
) -> m::AddPartitionsToTxnResponse {
    use m::add_partitions_to_txn_response::{
        AddPartitionsToTxnPartitionResult as Partition, AddPartitionsToTxnTopicResult as Topic,
    };
    let topics = request.v3_and_below_topics.into_iter().map(|topic| {
        let code = code(&topic.name).code();
        let of = |index| Partition::default().with_partition_index(index).with_partition_error_code(code);
        let partitions = topic.partitions.into_iter().map(of).collect();
        Topic::default().with_name(topic.name).with_results_by_partition(partitions)
    });
    m::AddPartitionsToTxnResponse::default()
        .with_error_code(NONE)
        .with_results_by_topic_v3_and_below(topics.collect())
}
