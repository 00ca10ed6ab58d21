//! ElectLeaders, AlterPartitionReassignments, ListPartitionReassignments: there is one replica, and it leads.
//!
//! Owns: the answers that Kafka gives where there is nothing to elect and nowhere to move.

use std::sync::Arc;

use base::PartitionId;
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::alter_partition_reassignments_request::ReassignablePartition;
use kafka_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ElectLeadersRequest,
    ElectLeadersResponse, ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};

use super::super::{Broker, NODE_ID, errors};
use super::text;

/// ElectionType: preferred and unclean.
const ELECTION_TYPES: std::ops::RangeInclusive<i8> = 0..=1;

fn unknown(topic: &str, index: PartitionId) -> String {
    format!("there is no partition {topic}-{index}")
}

pub(super) async fn elect(broker: Arc<Broker>, request: ElectLeadersRequest) -> ElectLeadersResponse {
    if !ELECTION_TYPES.contains(&request.election_type) {
        return ElectLeadersResponse::default().with_error_code(Code::InvalidRequest.code());
    }
    // For all partitions, Kafka leaves those out that needed none.
    let asked = request.topic_partitions.unwrap_or_default();
    let results = asked.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|index| {
            let (code, message) = match broker.topics.partition(topic.topic.as_str(), *index) {
                Some(_) => (
                    Code::ElectionNotNeeded,
                    format!("broker {NODE_ID} leads this partition and is its only replica"),
                ),
                None => (Code::UnknownTopicOrPartition, unknown(topic.topic.as_str(), *index)),
            };
            PartitionResult::default()
                .with_partition_id(*index)
                .with_error_code(code.code())
                .with_error_message(Some(text(message)))
        });
        let partitions = partitions.collect();
        ReplicaElectionResult::default().with_topic(topic.topic).with_partition_result(partitions)
    });
    ElectLeadersResponse::default().with_replica_election_results(results.collect())
}

pub(super) async fn reassign(
    broker: Arc<Broker>,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let responses = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let response =
                ReassignablePartitionResponse::default().with_partition_index(partition.partition_index);
            match reassigned(&broker, topic.name.as_str(), partition) {
                Ok(()) => response,
                Err((code, message)) => {
                    response.with_error_code(code.code()).with_error_message(Some(text(message)))
                }
            }
        });
        let partitions = partitions.collect();
        ReassignableTopicResponse::default().with_name(topic.name).with_partitions(partitions)
    });
    AlterPartitionReassignmentsResponse::default()
        .with_allow_replication_factor_change(request.allow_replication_factor_change)
        .with_error_code(errors::NONE)
        .with_responses(responses.collect())
}

fn reassigned(broker: &Broker, topic: &str, wanted: &ReassignablePartition) -> Result<(), (Code, String)> {
    let index = wanted.partition_index;
    if broker.topics.partition(topic, index).is_none() {
        return Err((Code::UnknownTopicOrPartition, unknown(topic, index)));
    }
    match wanted.replicas.as_deref() {
        None => Err((Code::NoReassignmentInProgress, format!("{topic}-{index} is not being moved"))),
        // It is where it shall be.
        Some([only]) if only.0 == NODE_ID => Ok(()),
        Some(_) => {
            let message = format!("assign {topic}-{index} to broker {NODE_ID} alone: there is no other");
            Err((Code::InvalidReplicaAssignment, message))
        }
    }
}

pub(super) async fn list_reassignments(
    _broker: Arc<Broker>,
    _request: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse::default()
}
