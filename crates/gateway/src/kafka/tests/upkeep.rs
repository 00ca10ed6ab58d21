//! Admin requests of operators: deleting records, directories, replicas, quotas, lists.

use kafka_protocol::messages as m;
use kafka_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};

use super::*;

fn delete_records(topic: &str, offsets: &[(i32, i64)]) -> m::DeleteRecordsRequest {
    let partition = |(index, offset): &(i32, i64)| {
        DeleteRecordsPartition::default().with_partition_index(*index).with_offset(*offset)
    };
    let topic = DeleteRecordsTopic::default()
        .with_name(name(topic))
        .with_partitions(offsets.iter().map(partition).collect());
    m::DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000)
}

fn log_dirs(topics: Option<Vec<(&str, Vec<i32>)>>) -> m::DescribeLogDirsRequest {
    let topic = |(of, partitions): (&str, Vec<i32>)| {
        DescribableLogDirTopic::default().with_topic(name(of)).with_partitions(partitions)
    };
    m::DescribeLogDirsRequest::default().with_topics(topics.map(|t| t.into_iter().map(topic).collect()))
}

fn quotas(remove: bool) -> m::AlterClientQuotasRequest {
    let entity = EntityData::default().with_entity_type(text("user")).with_entity_name(None);
    let op = OpData::default().with_key(text("consumer_byte_rate")).with_value(1.5).with_remove(remove);
    let entry = EntryData::default().with_entity(vec![entity]).with_ops(vec![op]);
    m::AlterClientQuotasRequest::default().with_entries(vec![entry])
}

fn page(topics: &[&str], limit: i32, cursor: Option<(&str, i32)>) -> m::DescribeTopicPartitionsRequest {
    let topics = topics.iter().map(|t| TopicRequest::default().with_name(name(t))).collect();
    let cursor = cursor.map(|(t, p)| Cursor::default().with_topic_name(name(t)).with_partition_index(p));
    m::DescribeTopicPartitionsRequest::default()
        .with_topics(topics)
        .with_response_partition_limit(limit)
        .with_cursor(cursor)
}

/// Asks one version of one api.
pub(super) async fn ask(client: &mut Client, api: Api, v: i16) {
    match api {
        Api::DeleteRecords => {
            let response: m::DeleteRecordsResponse =
                client.call(api, v, &delete_records("t", &[(0, 0), (9, 0), (0, 1 << 40)])).await;
            let codes: Vec<i16> = response.topics[0].partitions.iter().map(|p| p.error_code).collect();
            assert_eq!(codes, [0, 3, 1], "version {v}");
        }
        Api::DescribeLogDirs => {
            let response: m::DescribeLogDirsResponse = client.call(api, v, &log_dirs(None)).await;
            assert!(response.results[0].topics.iter().any(|t| t.name.as_str() == "t"), "version {v}");
        }
        Api::AlterReplicaLogDirs => {
            let topic = AlterReplicaLogDirTopic::default().with_name(name("t")).with_partitions(vec![0]);
            let dir = AlterReplicaLogDir::default().with_path(text("/elsewhere")).with_topics(vec![topic]);
            let request = m::AlterReplicaLogDirsRequest::default().with_dirs(vec![dir]);
            let response: m::AlterReplicaLogDirsResponse = client.call(api, v, &request).await;
            assert_eq!(response.results[0].partitions[0].error_code, 57, "version {v}");
        }
        Api::ElectLeaders => {
            let topic = TopicPartitions::default().with_topic(name("t")).with_partitions(vec![0, 9]);
            let request = m::ElectLeadersRequest::default().with_topic_partitions(Some(vec![topic]));
            let response: m::ElectLeadersResponse = client.call(api, v, &request).await;
            let results = &response.replica_election_results[0].partition_result;
            assert_eq!((results[0].error_code, results[1].error_code), (84, 3), "version {v}");
        }
        Api::AlterPartitionReassignments => {
            let to = |index, replicas: Option<Vec<i32>>| {
                ReassignablePartition::default()
                    .with_partition_index(index)
                    .with_replicas(replicas.map(|r| r.into_iter().map(Into::into).collect()))
            };
            let partitions =
                vec![to(0, Some(vec![0])), to(0, Some(vec![0, 1])), to(0, None), to(9, Some(vec![0]))];
            let topic = ReassignableTopic::default().with_name(name("t")).with_partitions(partitions);
            let request = m::AlterPartitionReassignmentsRequest::default().with_topics(vec![topic]);
            let response: m::AlterPartitionReassignmentsResponse = client.call(api, v, &request).await;
            let codes: Vec<i16> = response.responses[0].partitions.iter().map(|p| p.error_code).collect();
            assert_eq!(codes, [0, 39, 85, 3], "version {v}");
        }
        Api::ListPartitionReassignments => {
            let request = m::ListPartitionReassignmentsRequest::default().with_topics(None);
            let response: m::ListPartitionReassignmentsResponse = client.call(api, v, &request).await;
            assert_eq!((response.error_code, response.topics.len()), (0, 0), "version {v}");
        }
        Api::DescribeClientQuotas => {
            let component = ComponentData::default().with_entity_type(text("user")).with_match_type(2);
            let request = m::DescribeClientQuotasRequest::default().with_components(vec![component]);
            let response: m::DescribeClientQuotasResponse = client.call(api, v, &request).await;
            assert_eq!((response.error_code, response.entries), (0, Some(vec![])), "version {v}");
        }
        Api::AlterClientQuotas => {
            for (remove, code) in [(false, 42), (true, 0)] {
                let response: m::AlterClientQuotasResponse = client.call(api, v, &quotas(remove)).await;
                assert_eq!(response.entries[0].error_code, code, "version {v}");
            }
        }
        Api::ListConfigResources => {
            let response: m::ListConfigResourcesResponse =
                client.call(api, v, &m::ListConfigResourcesRequest::default()).await;
            assert_eq!((response.error_code, response.config_resources.is_empty()), (0, v == 0));
        }
        Api::DescribeTopicPartitions => {
            let request = page(&["t", "missing", "no/name"], 2_000, None);
            let response: m::DescribeTopicPartitionsResponse = client.call(api, v, &request).await;
            let codes: Vec<i16> = response.topics.iter().map(|t| t.error_code).collect();
            assert_eq!(codes, [3, 17, 0], "version {v}");
        }
        other => panic!("{other:?} is asked elsewhere"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_records_move_the_beginning() {
    let node = Node::with_topic("t", 1).await;
    let mut client = node.client().await;
    for _ in 0..3 {
        assert_eq!(client.produce("t", 0, batch(10)).await.0, 0);
    }
    let partition = ListOffsetsPartition::default().with_timestamp(-2);
    let topic = ListOffsetsTopic::default().with_name(name("t")).with_partitions(vec![partition]);
    let earliest = m::ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
    for (asked, expected) in [(0, 0), (15, 15), (7, 15), (-1, 30)] {
        let response: m::DeleteRecordsResponse =
            client.call(Api::DeleteRecords, 2, &delete_records("t", &[(0, asked)])).await;
        let partition = &response.topics[0].partitions[0];
        assert_eq!((partition.error_code, partition.low_watermark), (0, expected));
        let response: m::ListOffsetsResponse = client.call(Api::ListOffsets, 7, &earliest).await;
        assert_eq!(response.topics[0].partitions[0].offset, expected);
    }
    let response: m::DeleteRecordsResponse =
        client.call(Api::DeleteRecords, 2, &delete_records("t", &[(0, 31), (0, -2)])).await;
    assert!(response.topics[0].partitions.iter().all(|p| (p.error_code, p.low_watermark) == (1, -1)));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_described_page_by_page() {
    let node = Node::with_topic("a", 3).await;
    node.create("b", 1).await;
    node.create("c", 4).await;
    let mut client = node.client().await;
    for limit in 1..10 {
        let (mut seen, mut cursor) = (Vec::new(), None::<(String, i32)>);
        loop {
            let from = cursor.as_ref().map(|(topic, partition)| (topic.as_str(), *partition));
            let response: m::DescribeTopicPartitionsResponse =
                client.call(Api::DescribeTopicPartitions, 0, &page(&[], limit, from)).await;
            let here: Vec<(String, i32)> = response
                .topics
                .iter()
                .flat_map(|t| {
                    let of = t.name.as_ref().unwrap().to_string();
                    t.partitions.iter().map(move |p| (of.clone(), p.partition_index))
                })
                .collect();
            assert!(here.len() <= limit as usize && !here.is_empty());
            seen.extend(here);
            match response.next_cursor {
                Some(next) => cursor = Some((next.topic_name.to_string(), next.partition_index)),
                None => break,
            }
        }
        let all = [("a", 3), ("b", 1), ("c", 4)].map(|(t, n)| (0..n).map(move |p| (t.to_owned(), p)));
        assert_eq!(seen, all.into_iter().flatten().collect::<Vec<_>>(), "limit {limit}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_directory_tells_the_size_of_each_partition() {
    let node = Node::with_topic("t", 2).await;
    let mut client = node.client().await;
    client.produce("t", 1, batch(10)).await;
    for (asked, expected) in [(None, 2), (Some(vec![("t", vec![1, 7]), ("u", vec![0])]), 1)] {
        let response: m::DescribeLogDirsResponse =
            client.call(Api::DescribeLogDirs, 4, &log_dirs(asked)).await;
        let dir = &response.results[0];
        assert_eq!((dir.error_code, dir.log_dir.as_str()), (0, node.dir.to_str().unwrap()));
        assert!(dir.usable_bytes > 0);
        let partitions = &dir.topics[0].partitions;
        assert_eq!((dir.topics.len(), partitions.len()), (1, expected));
        let last = partitions.last().unwrap();
        assert!(last.partition_index == 1 && last.partition_size > 0);
    }
    node.stop().await;
}
