//! Every request in every version gets an answer that the codec reads to the last byte.

use kafka_protocol::messages as m;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{alter_configs_request, incremental_alter_configs_request};

use super::*;
use crate::kafka::versions::SERVED;

const TOPIC: i8 = 2;

fn metadata(v: i16) -> m::MetadataRequest {
    let topics = ["t", "made", "no/name"].map(|t| MetadataRequestTopic::default().with_name(Some(name(t))));
    m::MetadataRequest::default()
        .with_topics(Some(topics.into()))
        .with_include_topic_authorized_operations(v >= 8)
}

fn fetch(v: i16, id: base::TopicId) -> m::FetchRequest {
    let partitions =
        [0, 9].map(|p| FetchPartition::default().with_partition(p).with_partition_max_bytes(1 << 20));
    let topic = FetchTopic::default().with_partitions(partitions.into());
    let topic = if v >= 13 { topic.with_topic_id(id.0) } else { topic.with_topic(name("t")) };
    m::FetchRequest::default()
        .with_replica_id((-1).into())
        .with_max_bytes(1 << 20)
        .with_min_bytes(1)
        .with_isolation_level((v % 2) as i8)
        .with_topics(vec![topic])
}

fn list_offsets() -> m::ListOffsetsRequest {
    let partitions = [-1, -2, -3, -4, -5, 0, -9]
        .map(|t| ListOffsetsPartition::default().with_timestamp(t))
        .into_iter()
        .chain([ListOffsetsPartition::default().with_partition_index(9)]);
    let topic = ListOffsetsTopic::default().with_name(name("t")).with_partitions(partitions.collect());
    m::ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic])
}

fn offset_fetch(v: i16) -> m::OffsetFetchRequest {
    let request = m::OffsetFetchRequest::default();
    let group = || m::GroupId(text("inner"));
    if v >= 8 {
        let topic =
            OffsetFetchRequestTopics::default().with_name(name("t")).with_partition_indexes(vec![0, 1]);
        let some = OffsetFetchRequestGroup::default().with_group_id(group()).with_topics(Some(vec![topic]));
        let all = OffsetFetchRequestGroup::default().with_group_id(group()).with_topics(None);
        return request.with_groups(vec![some, all]);
    }
    let topic = OffsetFetchRequestTopic::default().with_name(name("t")).with_partition_indexes(vec![0, 1]);
    request.with_group_id(group()).with_topics(Some(vec![topic]))
}

fn for_leader_epoch() -> m::OffsetForLeaderEpochRequest {
    let partition = OffsetForLeaderPartition::default()
        .with_partition(0)
        .with_current_leader_epoch(-1)
        .with_leader_epoch(0);
    let topic = OffsetForLeaderTopic::default().with_topic(name("t")).with_partitions(vec![partition]);
    m::OffsetForLeaderEpochRequest::default().with_replica_id((-1).into()).with_topics(vec![topic])
}

fn create(v: i16) -> m::CreateTopicsRequest {
    let property =
        CreatableTopicConfig::default().with_name(text("retention.ms")).with_value(Some(text("1000")));
    let topic = |name_of: String| {
        CreatableTopic::default()
            .with_name(name(&name_of))
            .with_num_partitions(2)
            .with_replication_factor(1)
            .with_configs(vec![property.clone()])
    };
    let topics = vec![topic(format!("v{v}")), topic("t".into()), topic("no/name".into())];
    m::CreateTopicsRequest::default().with_timeout_ms(1000).with_topics(topics)
}

fn delete(v: i16) -> m::DeleteTopicsRequest {
    let names = [format!("v{v}"), "missing".into()];
    let request = m::DeleteTopicsRequest::default().with_timeout_ms(1000);
    if v >= 6 {
        let state = |n: &String| DeleteTopicState::default().with_name(Some(name(n)));
        return request.with_topics(names.iter().map(state).collect());
    }
    request.with_topic_names(names.iter().map(|n| name(n)).collect())
}

fn describe_configs() -> m::DescribeConfigsRequest {
    let resources =
        [(TOPIC, "t"), (TOPIC, "missing"), (4, ""), (4, "0"), (4, "1"), (8, "x")].map(|(kind, of)| {
            DescribeConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(text(of))
                .with_configuration_keys(None)
        });
    m::DescribeConfigsRequest::default().with_resources(resources.into()).with_include_synonyms(true)
}

async fn ask(client: &mut Client, api: Api, v: i16, id: base::TopicId) {
    match api {
        Api::Produce | Api::Fetch | Api::ListOffsets | Api::OffsetForLeaderEpoch | Api::InitProducerId => {
            ask_records(client, api, v, id).await
        }
        Api::Metadata
        | Api::ApiVersions
        | Api::DescribeQuorum
        | Api::DescribeCluster
        | Api::FindCoordinator
        | Api::OffsetFetch
        | Api::DescribeGroups
        | Api::ListGroups => ask_cluster(client, api, v).await,
        Api::AddPartitionsToTxn
        | Api::AddOffsetsToTxn
        | Api::EndTxn
        | Api::WriteTxnMarkers
        | Api::DescribeProducers
        | Api::DescribeTransactions
        | Api::ListTransactions => transactions::ask(client, api, v).await,
        Api::OffsetCommit
        | Api::TxnOffsetCommit
        | Api::ConsumerGroupHeartbeat
        | Api::ConsumerGroupDescribe
        | Api::OffsetDelete
        | Api::JoinGroup
        | Api::SyncGroup
        | Api::Heartbeat
        | Api::LeaveGroup
        | Api::DeleteGroups => groups::ask(client, api, v).await,
        Api::CreateTopics | Api::DeleteTopics | Api::CreatePartitions => ask_topics(client, api, v).await,
        Api::DescribeConfigs | Api::AlterConfigs | Api::IncrementalAlterConfigs => {
            ask_configs(client, api, v).await
        }
        Api::DeleteRecords
        | Api::AlterReplicaLogDirs
        | Api::DescribeLogDirs
        | Api::ElectLeaders
        | Api::AlterPartitionReassignments
        | Api::ListPartitionReassignments
        | Api::DescribeClientQuotas
        | Api::AlterClientQuotas
        | Api::ListConfigResources
        | Api::DescribeTopicPartitions => upkeep::ask(client, api, v).await,
        // The tests of `access` and `sasl` ask these.
        Api::SaslHandshake
        | Api::SaslAuthenticate
        | Api::CreateAcls
        | Api::DescribeAcls
        | Api::DeleteAcls
        | Api::DescribeUserScramCredentials
        | Api::AlterUserScramCredentials => {}
    }
}

async fn ask_records(client: &mut Client, api: Api, v: i16, id: base::TopicId) {
    match api {
        Api::Produce => {
            let request = produce_request("t", 0, batch(3), -1);
            let response: ProduceResponse = client.call(api, v, &request).await;
            assert_eq!(response.responses[0].partition_responses[0].error_code, 0, "version {v}");
        }
        Api::Fetch => {
            let response: m::FetchResponse = client.call(api, v, &fetch(v, id)).await;
            let partitions = &response.responses[0].partitions;
            assert_eq!((partitions[0].error_code, partitions[1].error_code), (0, 3), "version {v}");
            assert!(partitions[0].records.as_ref().is_some_and(|r| !r.is_empty()), "version {v}");
            assert_eq!(partitions[0].aborted_transactions.is_some(), v % 2 == 1, "version {v}");
        }
        Api::ListOffsets => drop(client.call::<m::ListOffsetsResponse>(api, v, &list_offsets()).await),
        Api::OffsetForLeaderEpoch => {
            drop(client.call::<m::OffsetForLeaderEpochResponse>(api, v, &for_leader_epoch()).await);
        }
        Api::InitProducerId => {
            let request = m::InitProducerIdRequest::default().with_transactional_id(None);
            let response: m::InitProducerIdResponse = client.call(api, v, &request).await;
            assert!(response.error_code == 0 && response.producer_id.0 >= 0, "version {v}");
        }
        other => panic!("{other:?} is asked elsewhere"),
    }
}

async fn ask_cluster(client: &mut Client, api: Api, v: i16) {
    match api {
        Api::Metadata => {
            let response: m::MetadataResponse = client.call(api, v, &metadata(v)).await;
            let codes: Vec<i16> = response.topics.iter().map(|t| t.error_code).collect();
            assert_eq!(codes, [0, 0, 17], "version {v}");
        }
        Api::ApiVersions => {
            let request = m::ApiVersionsRequest::default();
            let request = if v >= 3 {
                request.with_client_software_name(text("test")).with_client_software_version(text("1.0"))
            } else {
                request
            };
            let response: m::ApiVersionsResponse = client.call(api, v, &request).await;
            assert_eq!((response.error_code, response.api_keys.len()), (0, SERVED.len()), "version {v}");
        }
        Api::DescribeQuorum => {
            use m::describe_quorum_request::{PartitionData, TopicData};
            let topic = |of: &str| {
                TopicData::default().with_topic_name(name(of)).with_partitions(vec![PartitionData::default()])
            };
            let request = m::DescribeQuorumRequest::default()
                .with_topics(vec![topic("__cluster_metadata"), topic("t")]);
            let response: m::DescribeQuorumResponse = client.call(api, v, &request).await;
            let of = |at: usize| &response.topics[at].partitions[0];
            assert_eq!(
                (of(0).error_code, of(0).current_voters.len(), of(1).error_code),
                (0, 1, 3),
                "version {v}"
            );
        }
        Api::DescribeCluster => {
            let response: m::DescribeClusterResponse =
                client.call(api, v, &m::DescribeClusterRequest::default()).await;
            assert_eq!((response.error_code, response.brokers.len()), (0, 1), "version {v}");
        }
        Api::FindCoordinator => {
            let request = m::FindCoordinatorRequest::default();
            let request = if v >= 4 {
                request.with_coordinator_keys(vec![text("g"), text("h")])
            } else {
                request.with_key(text("g"))
            };
            let response: m::FindCoordinatorResponse = client.call(api, v, &request).await;
            let port = response.coordinators.first().map_or(response.port, |c| c.port);
            assert_ne!(port, 0, "version {v}");
        }
        Api::OffsetFetch => drop(client.call::<m::OffsetFetchResponse>(api, v, &offset_fetch(v)).await),
        Api::DescribeGroups => {
            let groups = vec![m::GroupId(text("inner")), m::GroupId(text("missing"))];
            let request = m::DescribeGroupsRequest::default().with_groups(groups);
            let response: m::DescribeGroupsResponse = client.call(api, v, &request).await;
            assert_eq!(response.groups[0].group_state.as_str(), "Stable");
            assert_eq!(response.groups[1].group_state.as_str(), "Dead");
        }
        Api::ListGroups => {
            let response: m::ListGroupsResponse = client.call(api, v, &m::ListGroupsRequest::default()).await;
            assert!(response.groups.iter().any(|g| g.group_id.as_str() == "inner"), "version {v}");
        }
        other => panic!("{other:?} is asked elsewhere"),
    }
}

async fn ask_topics(client: &mut Client, api: Api, v: i16) {
    match api {
        Api::CreateTopics => {
            let response: m::CreateTopicsResponse = client.call(api, v, &create(v)).await;
            let codes: Vec<i16> = response.topics.iter().map(|t| t.error_code).collect();
            assert_eq!(codes, [0, 36, 17], "version {v}");
        }
        Api::DeleteTopics => {
            drop(client.call::<m::CreateTopicsResponse>(Api::CreateTopics, 7, &create(v)).await);
            let response: m::DeleteTopicsResponse = client.call(api, v, &delete(v)).await;
            let codes: Vec<i16> = response.responses.iter().map(|t| t.error_code).collect();
            assert_eq!(codes, [0, 3], "version {v}");
        }
        Api::CreatePartitions => {
            let topic =
                CreatePartitionsTopic::default().with_name(name("t")).with_count(100).with_assignments(None);
            let request =
                m::CreatePartitionsRequest::default().with_topics(vec![topic]).with_validate_only(true);
            let response: m::CreatePartitionsResponse = client.call(api, v, &request).await;
            assert_eq!(response.results[0].error_code, 0, "version {v}");
        }
        other => panic!("{other:?} is asked elsewhere"),
    }
}

async fn ask_configs(client: &mut Client, api: Api, v: i16) {
    match api {
        Api::DescribeConfigs => {
            let response: m::DescribeConfigsResponse = client.call(api, v, &describe_configs()).await;
            let codes: Vec<i16> = response.results.iter().map(|r| r.error_code).collect();
            assert_eq!(codes, [0, 3, 0, 0, 42, 42], "version {v}");
        }
        Api::AlterConfigs => {
            use alter_configs_request::{AlterConfigsResource, AlterableConfig};
            let config =
                AlterableConfig::default().with_name(text("retention.ms")).with_value(Some(text("5000")));
            let resource = AlterConfigsResource::default()
                .with_resource_type(TOPIC)
                .with_resource_name(text("t"))
                .with_configs(vec![config]);
            let request = m::AlterConfigsRequest::default().with_resources(vec![resource]);
            let response: m::AlterConfigsResponse = client.call(api, v, &request).await;
            assert_eq!(response.responses[0].error_code, 0, "version {v}");
        }
        Api::IncrementalAlterConfigs => {
            use incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
            let config = AlterableConfig::default().with_name(text("retention.ms")).with_config_operation(1);
            let resource = AlterConfigsResource::default()
                .with_resource_type(TOPIC)
                .with_resource_name(text("t"))
                .with_configs(vec![config]);
            let request = m::IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
            let response: m::IncrementalAlterConfigsResponse = client.call(api, v, &request).await;
            assert_eq!(response.responses[0].error_code, 0, "version {v}");
        }
        other => panic!("{other:?} is asked elsewhere"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_version_of_every_request_is_answered() {
    let node = Node::with_topic("t", 2).await;
    node.topics.note_consumed("inner", "t", 0, 0);
    let id = node.topics.topic("t").unwrap().id;
    let mut client = node.client().await;
    for served in &SERVED {
        for version in served.usable_min..=served.max {
            ask(&mut client, served.api, version, id).await;
        }
    }
    node.stop().await;
}

/// What librdkafka sends for all topics since version 9: three bytes are left over.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_after_a_request_are_ignored() {
    let node = Node::with_topic("t", 1).await;
    let mut client = node.client().await;
    let body = [0, 3, 0, 13, 0, 0, 0, 9, 0xff, 0xff, 0, 0, 0, 0, 0, 1, 0, 0];
    client.send_raw(&(body.len() as i32).to_be_bytes()).await;
    client.send_raw(&body).await;
    let response: m::MetadataResponse = client.receive(Api::Metadata, 13, 9).await;
    assert_eq!(response.topics.len(), 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn newer_api_versions_are_answered_in_the_oldest_form_with_the_list() {
    let node = Node::start(Limits::default()).await;
    let mut client = node.client().await;
    client.send_raw(&[0, 0, 0, 11, 0, 18, 0, 99, 0, 0, 0, 7, 0xff, 0xff, 0xff]).await;
    let mut frame = client.receive_frame().await.unwrap();
    assert_eq!(frame.get_i32(), 7);
    let response = m::ApiVersionsResponse::decode(&mut frame, 0).unwrap();
    assert_eq!((response.error_code, response.api_keys.len()), (35, SERVED.len()));
    let produce = response.api_keys.iter().find(|k| k.api_key == 0).unwrap();
    assert_eq!((produce.min_version, produce.max_version), (0, 11));
    // The connection goes on, and a client without a proper name is told so.
    let nameless = m::ApiVersionsRequest::default();
    let response: m::ApiVersionsResponse = client.call(Api::ApiVersions, 3, &nameless).await;
    assert_eq!(response.error_code, 42);
    node.stop().await;
}
