//! Rights: a caller who may do nothing learns nothing, one who may do something gets that; ACLs and users on the wire.

use ::access::{Binding, Operation, Pattern, Permission, ResourceKind, Settings};
use kafka_protocol::messages as m;
use kafka_protocol::messages::alter_user_scram_credentials_request::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;

use super::*;
use crate::kafka::shape::{Field, Kind};
use crate::kafka::versions::{SERVED, Served};

const TOPIC_REFUSED: i16 = 29;
const CLUSTER_REFUSED: i16 = 31;

async fn closed_node() -> Node {
    let settings = Settings { super_users: Vec::new(), open_by_default: false, catalog_tokens: false };
    Node::start_with(Limits::default(), Authentication::None, settings).await
}

fn binding(kind: ResourceKind, name: &str, operation: Operation, permission: Permission) -> Binding {
    let (pattern, principal) = (Pattern::Literal, "User:ANONYMOUS".to_owned());
    Binding { kind, name: name.into(), pattern, principal, host: "*".into(), operation, permission }
}

impl Node {
    fn allow(&self, kind: ResourceKind, name: &str, operation: Operation) {
        self.access.add(&[binding(kind, name, operation, Permission::Allow)]).unwrap();
    }
}

/// Writes a request by its shape in which everything is named `t` and every list has one element.
struct Maker<'a> {
    served: &'a Served,
    version: i16,
    id: base::TopicId,
}

impl Maker<'_> {
    fn fields(&self, fields: &[Field]) -> Vec<u8> {
        let present = fields.iter().filter(|f| f.tag.is_none() && f.is_in(self.version));
        let mut out: Vec<u8> = present.flat_map(|f| self.kind(f.kind)).collect();
        if self.served.is_flexible(self.version) {
            out.push(0);
        }
        out
    }

    fn kind(&self, kind: Kind) -> Vec<u8> {
        match kind {
            // Where it is the kind of a resource: a topic.
            Kind::Fixed(1) => match self.served.api {
                Api::DescribeConfigs | Api::AlterConfigs | Api::IncrementalAlterConfigs => vec![2],
                _ => vec![0],
            },
            // acks=all.
            Kind::Fixed(2) => vec![0xff; 2],
            Kind::Fixed(16) => self.id.0.into_bytes().to_vec(),
            Kind::Fixed(width) => vec![0; width.into()],
            Kind::Text => [self.length(2, 1), b"t".to_vec()].concat(),
            Kind::Bytes => [self.length(4, 3), b"abc".to_vec()].concat(),
            Kind::Struct(fields) => self.fields(fields),
            Kind::Nullable(_) => vec![0xff],
            Kind::Array(element) => [self.length(4, 1), self.kind(*element)].concat(),
        }
    }

    fn length(&self, width: usize, length: u8) -> Vec<u8> {
        if self.served.is_flexible(self.version) {
            return vec![length + 1];
        }
        let mut bytes = vec![0; width];
        bytes[width - 1] = length;
        bytes
    }
}

/// What Debug prints of the answer of an api.
macro_rules! answer_as {
    ($client:expr, $api:expr, $version:expr; $($name:ident => $response:ident),+ $(,)?) => {
        match $api {
            $(Api::$name => answer::<m::$response>($client, $api, $version).await,)+
            other => panic!("{other:?} has no response here"),
        }
    };
}

async fn answer<R: Decodable + std::fmt::Debug>(client: &mut Client, api: Api, version: i16) -> String {
    let correlation = client.correlation;
    format!("{:?}", client.receive::<R>(api, version, correlation).await)
}

async fn any_answer(client: &mut Client, api: Api, version: i16) -> String {
    answer_as!(client, api, version;
        Produce => ProduceResponse, Fetch => FetchResponse, ListOffsets => ListOffsetsResponse,
        Metadata => MetadataResponse, OffsetCommit => OffsetCommitResponse, OffsetFetch => OffsetFetchResponse,
        FindCoordinator => FindCoordinatorResponse, JoinGroup => JoinGroupResponse, Heartbeat => HeartbeatResponse,
        LeaveGroup => LeaveGroupResponse, SyncGroup => SyncGroupResponse, DescribeGroups => DescribeGroupsResponse,
        ListGroups => ListGroupsResponse, CreateTopics => CreateTopicsResponse, DeleteTopics => DeleteTopicsResponse,
        DeleteRecords => DeleteRecordsResponse, InitProducerId => InitProducerIdResponse,
        OffsetForLeaderEpoch => OffsetForLeaderEpochResponse, AddPartitionsToTxn => AddPartitionsToTxnResponse,
        AddOffsetsToTxn => AddOffsetsToTxnResponse, EndTxn => EndTxnResponse,
        WriteTxnMarkers => WriteTxnMarkersResponse, TxnOffsetCommit => TxnOffsetCommitResponse,
        DescribeAcls => DescribeAclsResponse, CreateAcls => CreateAclsResponse, DeleteAcls => DeleteAclsResponse,
        DescribeConfigs => DescribeConfigsResponse, AlterConfigs => AlterConfigsResponse,
        AlterReplicaLogDirs => AlterReplicaLogDirsResponse, DescribeLogDirs => DescribeLogDirsResponse,
        CreatePartitions => CreatePartitionsResponse, DeleteGroups => DeleteGroupsResponse,
        ElectLeaders => ElectLeadersResponse, IncrementalAlterConfigs => IncrementalAlterConfigsResponse,
        AlterPartitionReassignments => AlterPartitionReassignmentsResponse,
        ListPartitionReassignments => ListPartitionReassignmentsResponse, OffsetDelete => OffsetDeleteResponse,
        DescribeClientQuotas => DescribeClientQuotasResponse, AlterClientQuotas => AlterClientQuotasResponse,
        DescribeUserScramCredentials => DescribeUserScramCredentialsResponse,
        AlterUserScramCredentials => AlterUserScramCredentialsResponse, DescribeQuorum => DescribeQuorumResponse,
        DescribeCluster => DescribeClusterResponse, DescribeProducers => DescribeProducersResponse,
        DescribeTransactions => DescribeTransactionsResponse, ListTransactions => ListTransactionsResponse,
        ConsumerGroupHeartbeat => ConsumerGroupHeartbeatResponse,
        ConsumerGroupDescribe => ConsumerGroupDescribeResponse,
        ListConfigResources => ListConfigResourcesResponse,
        DescribeTopicPartitions => DescribeTopicPartitionsResponse,
    )
}

/// The codes in what Debug prints of an answer.
fn codes(answer: &str) -> Vec<i16> {
    let after = answer.split("error_code: ").skip(1);
    after.map(|rest| rest.split([',', ' ', '}']).next().unwrap().parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_do_nothing_sees_refusals_alone() {
    let node = closed_node().await;
    node.create("t", 1).await;
    node.topics.note_consumed("t", "t", 0, 0);
    let id = node.topics.topic("t").unwrap().id;
    let mut client = node.client().await;
    for served in &SERVED {
        if matches!(served.api, Api::ApiVersions | Api::SaslHandshake | Api::SaslAuthenticate) {
            continue;
        }
        for version in served.usable_min..=served.max {
            client.correlation += 1;
            let mut frame = BytesMut::new();
            frame.put_i16(served.api as i16);
            frame.put_i16(version);
            frame.put_i32(client.correlation);
            frame.put_i16(-1);
            if served.is_flexible(version) {
                frame.put_u8(0);
            }
            frame.put_slice(&Maker { served, version, id }.fields(served.shape));
            client.send_raw(&(frame.len() as i32).to_be_bytes()).await;
            client.send_raw(&frame).await;
            let answer = any_answer(&mut client, served.api, version).await;
            let at = format!("{:?} version {version}: {answer}", served.api);
            match served.api {
                // Everybody may find the node; lists leave out what may not be seen.
                Api::DescribeCluster => {}
                Api::ListGroups => assert!(answer.contains("groups: []"), "{at}"),
                Api::ListTransactions => assert!(answer.contains("transaction_states: []"), "{at}"),
                _ => {
                    let codes = codes(&answer);
                    assert!(codes.iter().all(|code| [0, 29, 30, 31, 53].contains(code)), "{at}");
                    // DescribeLogDirs has no place for a code before version 3: it tells of nothing.
                    let silent = served.api == Api::DescribeLogDirs && version < 3;
                    assert!(silent || codes.iter().any(|code| *code != 0), "{at}");
                    assert!(!silent || answer.contains("results: []"), "{at}");
                }
            }
        }
    }
    let partition = node.topics.partition("t", 0).expect("the topic is still there");
    assert_eq!((partition.marks().durable, partition.marks().log_start), (0, 0));
    assert!(node.access.bindings(&::access::Filter::ALL).is_empty() && node.access.users().is_empty());
    node.stop().await;
}

fn metadata(topics: Option<&[&str]>) -> m::MetadataRequest {
    let of = |topics: &[&str]| {
        topics.iter().map(|t| MetadataRequestTopic::default().with_name(Some(name(t)))).collect()
    };
    m::MetadataRequest::default()
        .with_topics(topics.map(of))
        .with_allow_auto_topic_creation(true)
        .with_include_topic_authorized_operations(true)
        .with_include_cluster_authorized_operations(true)
}

async fn described(client: &mut Client, v: i16, topics: Option<&[&str]>) -> Vec<(String, i16)> {
    let mut request = metadata(topics);
    if v < 8 {
        request.include_cluster_authorized_operations = false;
        request.include_topic_authorized_operations = false;
        request.allow_auto_topic_creation = true;
    }
    let answer: m::MetadataResponse = client.call(Api::Metadata, v, &request).await;
    answer.topics.into_iter().map(|t| (t.name.unwrap().to_string(), t.error_code)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_there_for_those_who_may_describe_them() {
    let node = closed_node().await;
    node.create("seen", 1).await;
    node.create("hidden", 1).await;
    node.allow(ResourceKind::Topic, "seen", Operation::Read);
    let mut client = node.client().await;
    let pair = |topic: &str, code| (topic.to_owned(), code);
    assert_eq!(described(&mut client, 9, None).await, [pair("seen", 0)]);
    // In version 0 no names mean all: names that are taken out must not become that.
    assert_eq!(described(&mut client, 0, Some(&[])).await, [pair("seen", 0)]);
    assert_eq!(described(&mut client, 0, Some(&["hidden"])).await, [pair("hidden", TOPIC_REFUSED)]);
    let both = described(&mut client, 9, Some(&["hidden", "seen", "new"])).await;
    assert_eq!(both, [pair("seen", 0), pair("hidden", TOPIC_REFUSED), pair("new", TOPIC_REFUSED)]);
    // To be made, a topic has to be describable and creatable.
    node.allow(ResourceKind::Topic, "new", Operation::Describe);
    assert_eq!(described(&mut client, 9, Some(&["new"])).await, [pair("new", TOPIC_REFUSED)]);
    assert!(node.topics.topic("new").is_none());
    node.allow(ResourceKind::Cluster, "kafka-cluster", Operation::Create);
    assert_eq!(described(&mut client, 9, Some(&["new"])).await, [pair("new", 0)]);
    let answer: m::MetadataResponse = client.call(Api::Metadata, 9, &metadata(Some(&["seen"]))).await;
    let bits = 1 << Operation::Read.code() | 1 << Operation::Describe.code();
    assert_eq!(answer.topics[0].topic_authorized_operations, bits);
    assert_eq!(answer.cluster_authorized_operations, 0, "the cluster may not be described");
    // Reading is not writing.
    assert_eq!(client.produce("seen", 0, batch(1)).await.0, TOPIC_REFUSED);
    node.allow(ResourceKind::Topic, "seen", Operation::Write);
    assert_eq!(client.produce("seen", 0, batch(1)).await, (0, 0));
    node.stop().await;
}

fn creation(name: &str, permission: i8) -> AclCreation {
    AclCreation::default()
        .with_resource_type(2)
        .with_resource_name(text(name))
        .with_resource_pattern_type(3)
        .with_principal(text("User:*"))
        .with_host(text("*"))
        .with_operation(2)
        .with_permission_type(permission)
}

#[tokio::test(flavor = "multi_thread")]
async fn acls_are_made_found_and_taken_away() {
    let node = Node::with_topic("t", 1).await;
    let mut client = node.client().await;
    let request = m::CreateAclsRequest::default().with_creations(vec![
        creation("t", 2),
        creation("", 3),
        creation("t", 9),
        creation("u", 2),
    ]);
    for v in 1..=3 {
        let answer: m::CreateAclsResponse = client.call(Api::CreateAcls, v, &request).await;
        let codes: Vec<i16> = answer.results.iter().map(|r| r.error_code).collect();
        assert_eq!(codes, [0, 42, 42, 0], "version {v}");
    }
    assert_eq!(client.produce("t", 0, batch(1)).await.0, TOPIC_REFUSED);
    assert_eq!(described(&mut client, 9, Some(&["t"])).await, [("t".to_owned(), TOPIC_REFUSED)]);
    let filter = m::DescribeAclsRequest::default()
        .with_resource_type_filter(2)
        .with_resource_name_filter(None)
        .with_pattern_type_filter(1)
        .with_principal_filter(None)
        .with_host_filter(None)
        .with_operation(1)
        .with_permission_type(1);
    for v in 1..=3 {
        let answer: m::DescribeAclsResponse = client.call(Api::DescribeAcls, v, &filter).await;
        let names: Vec<_> =
            answer.resources.iter().map(|r| (r.resource_name.to_string(), r.acls.len())).collect();
        assert_eq!(names, [("t".to_owned(), 1), ("u".to_owned(), 1)], "version {v}");
    }
    let wrong = filter.clone().with_operation(99);
    let answer: m::DescribeAclsResponse = client.call(Api::DescribeAcls, 3, &wrong).await;
    assert_eq!(answer.error_code, 42);
    let delete = |name: &str, pattern| {
        DeleteAclsFilter::default()
            .with_resource_type_filter(2)
            .with_resource_name_filter(Some(text(name)))
            .with_pattern_type_filter(pattern)
            .with_principal_filter(None)
            .with_host_filter(None)
            .with_operation(1)
            .with_permission_type(1)
    };
    let request =
        m::DeleteAclsRequest::default().with_filters(vec![delete("t", 3), delete("u", 77), delete("u", 2)]);
    let answer: m::DeleteAclsResponse = client.call(Api::DeleteAcls, 3, &request).await;
    let gone: Vec<_> = answer.filter_results.iter().map(|r| (r.error_code, r.matching_acls.len())).collect();
    assert_eq!(gone, [(0, 1), (42, 0), (0, 1)]);
    assert_eq!(client.produce("t", 0, batch(1)).await.0, 0);
    node.stop().await;
}

async fn alter_users(
    client: &mut Client,
    request: m::AlterUserScramCredentialsRequest,
) -> Vec<(String, i16)> {
    let answer: m::AlterUserScramCredentialsResponse =
        client.call(Api::AlterUserScramCredentials, 0, &request).await;
    answer.results.iter().map(|r| (r.user.to_string(), r.error_code)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_made_shown_and_taken_away() {
    let node = Node::start(Limits::default()).await;
    let mut client = node.client().await;
    let put = |user: &str, mechanism, iterations| {
        ScramCredentialUpsertion::default()
            .with_name(text(user))
            .with_mechanism(mechanism)
            .with_iterations(iterations)
            .with_salt(Bytes::from_static(b"salt"))
            .with_salted_password(vec![7; if mechanism == 1 { 32 } else { 64 }].into())
    };
    let drop_of = |user: &str| ScramCredentialDeletion::default().with_name(text(user)).with_mechanism(1);
    let request = m::AlterUserScramCredentialsRequest::default()
        .with_upsertions(vec![
            put("a", 1, 4_096),
            put("a", 2, 8_192),
            put("few", 1, 4_095),
            put("many", 1, 16_385),
            put("strange", 9, 4_096),
            put("", 1, 4_096),
            put("twice", 1, 4_096),
            put("twice", 1, 4_096),
        ])
        .with_deletions(vec![drop_of("nobody")]);
    let answer = alter_users(&mut client, request).await;
    let expected =
        [("", 93), ("a", 0), ("few", 93), ("many", 93), ("nobody", 91), ("strange", 33), ("twice", 92)];
    assert_eq!(answer, expected.map(|(user, code)| (user.to_owned(), code)));
    let names = ["a", "nobody"]
        .map(|user| m::describe_user_scram_credentials_request::UserName::default().with_name(text(user)));
    for users in [None, Some(vec![]), Some(names.to_vec())] {
        let some = users.as_ref().is_some_and(|users| !users.is_empty());
        let request = m::DescribeUserScramCredentialsRequest::default().with_users(users);
        let answer: m::DescribeUserScramCredentialsResponse =
            client.call(Api::DescribeUserScramCredentials, 0, &request).await;
        let infos: Vec<_> =
            answer.results[0].credential_infos.iter().map(|i| (i.mechanism, i.iterations)).collect();
        assert_eq!(infos, [(1, 4_096), (2, 8_192)]);
        let codes: Vec<i16> = answer.results.iter().map(|r| r.error_code).collect();
        assert_eq!(codes, if some { vec![0, 91] } else { vec![0] });
    }
    let request = m::AlterUserScramCredentialsRequest::default().with_deletions(vec![drop_of("a")]);
    assert_eq!(alter_users(&mut client, request).await, [("a".to_owned(), 0)]);
    assert_eq!(node.access.users()["a"].len(), 1);
    // Managing users needs a right on the cluster.
    node.access
        .add(&[binding(ResourceKind::Cluster, "kafka-cluster", Operation::Alter, Permission::Deny)])
        .unwrap();
    let request = m::AlterUserScramCredentialsRequest::default().with_deletions(vec![drop_of("a")]);
    assert_eq!(alter_users(&mut client, request).await, [("a".to_owned(), CLUSTER_REFUSED)]);
    node.stop().await;
}
