//! Topics and their properties through admin requests.

use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use kafka_protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DescribeConfigsRequest, DescribeConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse, MetadataRequest, MetadataResponse,
};

use super::*;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

async fn describe(
    client: &mut Client,
    kind: i8,
    of: &str,
    key: Option<&str>,
) -> Vec<DescribeConfigsResourceResult> {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(of))
        .with_configuration_keys(key.map(|k| vec![text(k)]));
    let request =
        DescribeConfigsRequest::default().with_resources(vec![resource]).with_include_synonyms(true);
    let mut response: DescribeConfigsResponse = client.call(Api::DescribeConfigs, 4, &request).await;
    let result = response.results.remove(0);
    assert_eq!(result.error_code, 0, "{:?}", result.error_message);
    result.configs
}

/// Gives (error code, message).
async fn alter(client: &mut Client, changes: &[(&str, i8, Option<&str>)], validate: bool) -> (i16, String) {
    alter_of(client, TOPIC, "t", changes, validate).await
}

async fn alter_of(
    client: &mut Client,
    kind: i8,
    of: &str,
    changes: &[(&str, i8, Option<&str>)],
    validate: bool,
) -> (i16, String) {
    let configs = changes.iter().map(|(property, operation, value)| {
        AlterableConfig::default()
            .with_name(text(property))
            .with_config_operation(*operation)
            .with_value(value.map(text))
    });
    let resource = AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(of))
        .with_configs(configs.collect());
    let request =
        IncrementalAlterConfigsRequest::default().with_resources(vec![resource]).with_validate_only(validate);
    let response: IncrementalAlterConfigsResponse =
        client.call(Api::IncrementalAlterConfigs, 1, &request).await;
    let result = &response.responses[0];
    (result.error_code, result.error_message.as_ref().map(|m| m.to_string()).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn properties_are_set_reset_and_listed() {
    let node = Node::with_topic("t", 1).await;
    let mut client = node.client().await;
    let policy = |configs: Vec<DescribeConfigsResourceResult>| {
        (configs[0].value.as_ref().map(|v| v.to_string()).unwrap_or_default(), configs[0].config_source)
    };
    let key = Some("cleanup.policy");
    assert_eq!(policy(describe(&mut client, TOPIC, "t", key).await), ("delete".into(), 5));
    for (changes, validate, expected) in [
        (vec![("cleanup.policy", 0, Some("compact"))], true, ("delete", 5)),
        (vec![("cleanup.policy", 0, Some("compact"))], false, ("compact", 1)),
        (vec![("cleanup.policy", 2, Some("delete"))], false, ("compact,delete", 1)),
        (vec![("cleanup.policy", 3, Some("compact"))], false, ("delete", 1)),
        (vec![("cleanup.policy", 1, None)], false, ("delete", 5)),
    ] {
        assert_eq!(alter(&mut client, &changes, validate).await, (0, String::new()), "{changes:?}");
        let now = policy(describe(&mut client, TOPIC, "t", key).await);
        assert_eq!((now.0.as_str(), now.1), expected, "{changes:?}");
    }
    for (changes, code) in [
        (vec![("retention.mss", 0, Some("1"))], 40),
        (vec![("retention.ms", 0, Some("soon"))], 40),
        (vec![("retention.ms", 2, Some("1"))], 40),
        (vec![("retention.ms", 0, None)], 42),
        (vec![("min.compaction.lag.ms", 0, Some("5")), ("max.compaction.lag.ms", 0, Some("4"))], 40),
        (vec![("retention.ms", 9, Some("1"))], 42),
        (vec![("retention.ms", 0, Some("1")), ("retention.ms", 1, None)], 42),
    ] {
        for validate in [true, false] {
            let (got, message) = alter(&mut client, &changes, validate).await;
            assert_eq!(got, code, "{changes:?}: {message}");
            assert!(message.contains(changes[0].0), "{message}");
        }
    }
    let all = describe(&mut client, TOPIC, "t", None).await;
    assert!(
        all.len() > 20 && all.iter().all(|c| c.config_type > 0 && !c.synonyms.is_empty() && !c.read_only)
    );
    // librdkafka's tests set every property again with what they were shown.
    for shown in &all {
        let value = shown.value.as_deref().expect(&shown.name);
        assert_eq!(
            alter(&mut client, &[(&shown.name, 0, Some(value))], true).await.0,
            0,
            "{}",
            shown.name.as_str()
        );
    }
    // Every value that holds, in order, under the names that Kafka gives them.
    let synonyms = |configs: &[DescribeConfigsResourceResult], of: &str| {
        let found = configs.iter().find(|c| c.name.as_str() == of).unwrap();
        let shown = found
            .synonyms
            .iter()
            .map(|s| (s.name.to_string(), s.value.clone().unwrap().to_string(), s.source));
        shown.collect::<Vec<_>>()
    };
    let default = ("log.retention.ms".to_owned(), "604800000".to_owned(), 5);
    assert_eq!(synonyms(&all, "retention.ms"), [default.clone()]);
    assert_eq!(alter(&mut client, &[("retention.ms", 0, Some("7"))], false).await.0, 0);
    let set = describe(&mut client, TOPIC, "t", Some("retention.ms")).await;
    assert_eq!(synonyms(&set, "retention.ms"), [("retention.ms".to_owned(), "7".to_owned(), 1), default]);
    let broker = describe(&mut client, BROKER, &NODE_ID.to_string(), None).await;
    assert!(broker.iter().any(|c| c.name.as_str() == "num.partitions"));
    assert_eq!(broker.iter().filter(|c| !c.read_only).count(), 2);
    let retention = broker.iter().find(|c| c.name.as_str() == "offsets.retention.minutes").unwrap();
    assert_eq!(retention.value.as_deref(), Some("10080"));
    // What tools set on a running broker: kept and shown; what would need the configuration file is refused.
    let flush = "log.flush.interval.messages";
    let shown = |configs: &[DescribeConfigsResourceResult], of: &str| {
        let found = configs.iter().find(|c| c.name.as_str() == of).unwrap();
        (found.value.as_ref().unwrap().to_string(), found.config_source, found.read_only)
    };
    assert_eq!(shown(&broker, flush), (i64::MAX.to_string(), 5, false));
    assert_eq!(alter_of(&mut client, BROKER, "", &[(flush, 0, Some("1234"))], true).await.0, 0);
    assert_eq!(alter_of(&mut client, BROKER, "", &[(flush, 0, Some("1234"))], false).await.0, 0);
    let broker = describe(&mut client, BROKER, "", None).await;
    assert_eq!(shown(&broker, flush), ("1234".to_owned(), 2, false));
    let topic = describe(&mut client, TOPIC, "t", None).await;
    assert_eq!(shown(&topic, "flush.messages"), ("1234".to_owned(), 2, false));
    for validate in [true, false] {
        for (property, value, code) in [("num.partitions", "3", 42), (flush, "0", 40), ("none.such", "1", 42)]
        {
            let (got, message) =
                alter_of(&mut client, BROKER, "", &[(property, 0, Some(value))], validate).await;
            assert_eq!(got, code, "{property}: {message}");
        }
    }
    assert_eq!(alter_of(&mut client, BROKER, "", &[(flush, 1, None)], false).await.0, 0);
    assert_eq!(shown(&describe(&mut client, BROKER, "", None).await, flush).1, 5);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_created_one_by_one() {
    let node = Node::start(Limits::default()).await;
    let mut client = node.client().await;
    let topic = |of: &str, partitions, factor| {
        CreatableTopic::default()
            .with_name(name(of))
            .with_num_partitions(partitions)
            .with_replication_factor(factor)
    };
    let assignment = |partition: i32, broker: i32| {
        CreatableReplicaAssignment::default()
            .with_partition_index(partition)
            .with_broker_ids(vec![broker.into()])
    };
    let topics = vec![
        topic("default", -1, -1),
        topic("three", 3, 1),
        topic("copies", 1, 3),
        topic("none", 0, 1),
        topic("twice", 1, 1),
        topic("twice", 2, 1),
        topic("assigned", -1, -1).with_assignments(vec![assignment(1, NODE_ID), assignment(0, NODE_ID)]),
        topic("elsewhere", -1, -1).with_assignments(vec![assignment(0, NODE_ID + 1)]),
    ];
    let request =
        |validate| CreateTopicsRequest::default().with_topics(topics.clone()).with_validate_only(validate);
    for validate in [true, false] {
        let response: CreateTopicsResponse = client.call(Api::CreateTopics, 7, &request(validate)).await;
        let codes: Vec<i16> = response.topics.iter().map(|t| t.error_code).collect();
        assert_eq!(codes, [0, 0, 38, 37, 42, 42, 0, 39], "validate {validate}");
        assert!(response.topics.iter().all(|t| t.error_code == 0 || t.error_message.is_some()));
        assert_eq!(node.topics.list().len(), if validate { 0 } else { 3 });
        if !validate {
            assert_eq!((response.topics[1].num_partitions, response.topics[6].num_partitions), (3, 2));
            assert!(!response.topics[0].topic_id.is_nil());
        }
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_lists_all_none_or_some_and_creates_what_it_may() {
    let node = Node::with_topic("t", 3).await;
    let mut client = node.client().await;
    let ask = |topics: Option<Vec<&str>>, create: bool| {
        let named = |t| MetadataRequestTopic::default().with_name(Some(name(t)));
        MetadataRequest::default()
            .with_topics(topics.map(|t| t.into_iter().map(named).collect()))
            .with_allow_auto_topic_creation(create)
    };
    for (version, topics, count) in [(12, None, 1), (12, Some(vec![]), 0), (1, None, 1), (0, Some(vec![]), 1)]
    {
        let response: MetadataResponse = client.call(Api::Metadata, version, &ask(topics, true)).await;
        assert_eq!(response.topics.len(), count, "version {version}");
        assert_eq!((response.brokers.len(), response.brokers[0].port), (1, i32::from(node.addr.port())));
    }
    let response: MetadataResponse = client.call(Api::Metadata, 12, &ask(Some(vec!["new"]), false)).await;
    assert_eq!(response.topics[0].error_code, 3);
    assert!(node.topics.topic("new").is_none());
    let response: MetadataResponse = client.call(Api::Metadata, 12, &ask(Some(vec!["new"]), true)).await;
    assert_eq!((response.topics[0].error_code, response.topics[0].partitions.len()), (0, 1));
    assert!(node.topics.topic("new").is_some());
    let by_id = |id| {
        let topic = MetadataRequestTopic::default().with_name(None).with_topic_id(id);
        MetadataRequest::default().with_topics(Some(vec![topic]))
    };
    let id = node.topics.topic("t").unwrap().id.0;
    let response: MetadataResponse = client.call(Api::Metadata, 12, &by_id(id)).await;
    assert_eq!(response.topics[0].name.as_ref().map(|n| n.to_string()), Some("t".into()));
    let response: MetadataResponse = client.call(Api::Metadata, 12, &by_id(uuid::Uuid::from_u128(5))).await;
    assert_eq!(response.topics[0].error_code, 100);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_partitions_are_assigned_all_or_none() {
    let node = Node::with_topic("t", 1).await;
    let mut client = node.client().await;
    let mut add = async |total: i32, brokers: &[i32]| {
        let assigned = |id: &i32| CreatePartitionsAssignment::default().with_broker_ids(vec![(*id).into()]);
        let topic = CreatePartitionsTopic::default()
            .with_name(name("t"))
            .with_count(total)
            .with_assignments(Some(brokers.iter().map(assigned).collect()));
        let request = CreatePartitionsRequest::default().with_topics(vec![topic]);
        let response: CreatePartitionsResponse = client.call(Api::CreatePartitions, 3, &request).await;
        response.results[0].error_code
    };
    assert_eq!(add(2, &[0, 0]).await, 39, "two assignments for one partition");
    assert_eq!(add(3, &[0]).await, 39, "one assignment for two");
    assert_eq!(add(2, &[7]).await, 39, "there is no broker 7");
    assert_eq!(add(2, &[0]).await, 0);
    assert_eq!(add(1, &[0]).await, 37, "partitions only grow");
}
