//! DescribeQuorum: the quorum of Kafka's controllers (KIP-595), answered for one node.
//!
//! Owns: the answer: this node is the only voter and has everything.
//! Does not own: any quorum; there is none.

use std::sync::Arc;

use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::describe_quorum_request::PartitionData as AskedPartition;
use kafka_protocol::messages::describe_quorum_response::{
    Listener, Node, PartitionData, ReplicaState, TopicData,
};
use kafka_protocol::messages::{DescribeQuorumRequest, DescribeQuorumResponse};

use super::super::{Broker, NODE_ID};
use super::text;

/// The topic of Kafka's own metadata, which exists in this answer alone.
const METADATA_TOPIC: &str = "__cluster_metadata";

pub(super) async fn describe(
    broker: Arc<Broker>,
    version: i16,
    request: DescribeQuorumRequest,
) -> DescribeQuorumResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|p| quorum_of(&broker, version, &topic.topic_name, p));
        let partitions = partitions.collect();
        TopicData::default().with_topic_name(topic.topic_name).with_partitions(partitions)
    });
    let response = DescribeQuorumResponse::default().with_topics(topics.collect());
    if version < 2 {
        return response;
    }
    let listener = Listener::default()
        .with_name(text(broker.protocol()))
        .with_host(broker.host.clone())
        .with_port(u16::try_from(broker.port).unwrap_or_default());
    response.with_nodes(vec![Node::default().with_node_id(NODE_ID.into()).with_listeners(vec![listener])])
}

fn quorum_of(broker: &Broker, version: i16, topic: &str, asked: &AskedPartition) -> PartitionData {
    let answer = PartitionData::default().with_partition_index(asked.partition_index);
    if topic != METADATA_TOPIC || asked.partition_index != 0 {
        let message = format!("the quorum's topic is {METADATA_TOPIC}, its partition 0");
        return answer
            .with_error_code(Code::UnknownTopicOrPartition.code())
            .with_error_message((version >= 2).then(|| text(message)));
    }
    let voter = ReplicaState::default().with_replica_id(NODE_ID.into());
    answer
        .with_leader_id(NODE_ID.into())
        .with_leader_epoch(broker.topics.leader_epoch())
        .with_current_voters(vec![voter])
}
