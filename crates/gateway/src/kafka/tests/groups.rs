//! Consumer groups on the wire: every version, long waits, many members that come and go.

use std::collections::BTreeMap;

use kafka_protocol::messages as m;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};

use super::*;

const UNKNOWN_MEMBER_ID: i16 = 25;
const REBALANCE_IN_PROGRESS: i16 = 27;
const NON_EMPTY_GROUP: i16 = 68;
const GROUP_ID_NOT_FOUND: i16 = 69;
const MEMBER_ID_REQUIRED: i16 = 79;
const INVALID_TXN_STATE: i16 = 48;
const UNSUPPORTED_VERSION: i16 = 35;
const STALE_MEMBER_EPOCH: i16 = 113;

fn group(name: &str) -> m::GroupId {
    m::GroupId(text(name))
}

fn join_request(group_id: &str, member: &str) -> m::JoinGroupRequest {
    let protocol =
        JoinGroupRequestProtocol::default().with_name(text("range")).with_metadata(Bytes::from_static(b"m"));
    m::JoinGroupRequest::default()
        .with_group_id(group(group_id))
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_member_id(text(member))
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
}

fn sync_request(group_id: &str, joined: &m::JoinGroupResponse) -> m::SyncGroupRequest {
    let assignments = joined.members.iter().map(|member| {
        SyncGroupRequestAssignment::default()
            .with_member_id(member.member_id.clone())
            .with_assignment(Bytes::from(format!("for {}", member.member_id.as_str())))
    });
    m::SyncGroupRequest::default()
        .with_group_id(group(group_id))
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone())
        .with_protocol_type(Some(text("consumer")))
        .with_protocol_name(Some(text("range")))
        .with_assignments(assignments.collect())
}

fn heartbeat_request(group_id: &str, joined: &m::JoinGroupResponse) -> m::HeartbeatRequest {
    m::HeartbeatRequest::default()
        .with_group_id(group(group_id))
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone())
}

fn leave_request(group_id: &str, member: &StrBytes, version: i16) -> m::LeaveGroupRequest {
    let request = m::LeaveGroupRequest::default().with_group_id(group(group_id));
    if version < 3 {
        return request.with_member_id(member.clone());
    }
    request.with_members(vec![MemberIdentity::default().with_member_id(member.clone())])
}

fn commit_request(group_id: &str, offset: i64, who: Option<&m::JoinGroupResponse>) -> m::OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default()
        .with_committed_offset(offset)
        .with_committed_metadata(Some(text("meta")));
    let topic = OffsetCommitRequestTopic::default().with_name(name("t")).with_partitions(vec![partition]);
    let request = m::OffsetCommitRequest::default().with_group_id(group(group_id)).with_topics(vec![topic]);
    match who {
        None => request,
        Some(joined) => request
            .with_generation_id_or_member_epoch(joined.generation_id)
            .with_member_id(joined.member_id.clone()),
    }
}

impl Client {
    /// Joins as a new member, with the id that the first answer gives from version 4 on.
    async fn join(&mut self, group_id: &str, version: i16) -> m::JoinGroupResponse {
        let mut request = join_request(group_id, "");
        let answer: m::JoinGroupResponse = self.call(Api::JoinGroup, version, &request).await;
        if answer.error_code != MEMBER_ID_REQUIRED {
            return answer;
        }
        assert!(version >= 4);
        request.member_id = answer.member_id;
        self.call(Api::JoinGroup, version, &request).await
    }

    async fn rejoin(&mut self, group_id: &str, member: &StrBytes) -> m::JoinGroupResponse {
        self.call(Api::JoinGroup, 7, &join_request(group_id, member)).await
    }

    async fn sync(&mut self, group_id: &str, joined: &m::JoinGroupResponse) -> m::SyncGroupResponse {
        self.call(Api::SyncGroup, 5, &sync_request(group_id, joined)).await
    }

    async fn heartbeat(&mut self, group_id: &str, joined: &m::JoinGroupResponse) -> i16 {
        let answer: m::HeartbeatResponse =
            self.call(Api::Heartbeat, 4, &heartbeat_request(group_id, joined)).await;
        answer.error_code
    }

    async fn leave(&mut self, group_id: &str, member: &StrBytes) -> i16 {
        let answer: m::LeaveGroupResponse =
            self.call(Api::LeaveGroup, 5, &leave_request(group_id, member, 5)).await;
        answer.members[0].error_code
    }

    async fn stored(&mut self, group_id: &str) -> i64 {
        let topic = OffsetFetchRequestTopics::default().with_name(name("t")).with_partition_indexes(vec![0]);
        let wanted =
            OffsetFetchRequestGroup::default().with_group_id(group(group_id)).with_topics(Some(vec![topic]));
        let request = m::OffsetFetchRequest::default().with_groups(vec![wanted]).with_require_stable(true);
        let answer: m::OffsetFetchResponse = self.call(Api::OffsetFetch, 8, &request).await;
        answer.groups[0].topics[0].partitions[0].committed_offset
    }
}

/// One request of an api in a version, with what it needs before it.
pub(super) async fn ask(client: &mut Client, api: Api, v: i16) {
    let id = format!("{api:?}-{v}");
    match api {
        Api::JoinGroup => {
            let joined = client.join(&id, v).await;
            assert_eq!((joined.error_code, joined.generation_id), (0, 1), "version {v}");
            assert_eq!(joined.protocol_name.as_deref(), Some("range"), "version {v}");
            let refused: m::JoinGroupResponse = client.call(api, v, &join_request("", "")).await;
            assert_eq!(refused.error_code, 24, "version {v}");
        }
        Api::SyncGroup => {
            let joined = client.join(&id, 7).await;
            let mut request = sync_request(&id, &joined);
            if v < 5 {
                request = request.with_protocol_type(None).with_protocol_name(None);
            }
            let answer: m::SyncGroupResponse = client.call(api, v, &request).await;
            let expected = format!("for {}", joined.member_id.as_str());
            assert_eq!((answer.error_code, &answer.assignment[..]), (0, expected.as_bytes()), "version {v}");
            let refused: m::SyncGroupResponse = client.call(api, v, &request.with_generation_id(9)).await;
            assert_eq!(refused.error_code, 22, "version {v}");
        }
        Api::Heartbeat => {
            let joined = client.join(&id, 7).await;
            let answer: m::HeartbeatResponse = client.call(api, v, &heartbeat_request(&id, &joined)).await;
            assert_eq!(answer.error_code, 0, "version {v}");
        }
        Api::LeaveGroup => {
            let joined = client.join(&id, 7).await;
            let request = leave_request(&id, &joined.member_id, v);
            let answer: m::LeaveGroupResponse = client.call(api, v, &request).await;
            let code = if v < 3 { answer.error_code } else { answer.members[0].error_code };
            assert_eq!(code, 0, "version {v}");
            let again: m::LeaveGroupResponse = client.call(api, v, &request).await;
            let code = if v < 3 { again.error_code } else { again.members[0].error_code };
            assert_eq!(code, UNKNOWN_MEMBER_ID, "version {v}");
        }
        _ => ask_offsets(client, api, v, &id).await,
    }
}

async fn ask_offsets(client: &mut Client, api: Api, v: i16, id: &str) {
    let commit = commit_request(id, 7, None);
    match api {
        Api::OffsetCommit => {
            let answer: m::OffsetCommitResponse = client.call(api, v, &commit).await;
            assert_eq!(answer.topics[0].partitions[0].error_code, 0, "version {v}");
            assert_eq!(client.stored(id).await, 7);
            let foreign = commit.with_group_id(group("nowhere")).with_generation_id_or_member_epoch(1);
            let answer: m::OffsetCommitResponse = client.call(api, v, &foreign).await;
            let expected = if v < 9 { 22 } else { GROUP_ID_NOT_FOUND };
            assert_eq!(answer.topics[0].partitions[0].error_code, expected, "version {v}");
        }
        Api::TxnOffsetCommit => in_transaction(client, v, id).await,
        Api::ConsumerGroupHeartbeat | Api::ConsumerGroupDescribe => follow(client, api, v, id).await,
        Api::OffsetDelete => {
            drop(client.call::<m::OffsetCommitResponse>(Api::OffsetCommit, 8, &commit).await);
            let partition = OffsetDeleteRequestPartition::default();
            let topic =
                OffsetDeleteRequestTopic::default().with_name(name("t")).with_partitions(vec![partition]);
            let request = m::OffsetDeleteRequest::default().with_group_id(group(id)).with_topics(vec![topic]);
            let answer: m::OffsetDeleteResponse = client.call(api, v, &request).await;
            assert_eq!((answer.error_code, answer.topics[0].partitions[0].error_code), (0, 0));
            assert_eq!(client.stored(id).await, -1);
            let inner = request.clone().with_group_id(group("inner"));
            let answer: m::OffsetDeleteResponse = client.call(api, v, &inner).await;
            assert_eq!(answer.error_code, NON_EMPTY_GROUP);
        }
        Api::DeleteGroups => {
            drop(client.call::<m::OffsetCommitResponse>(Api::OffsetCommit, 8, &commit).await);
            let names = vec![group(id), group(id), group("inner")];
            let request = m::DeleteGroupsRequest::default().with_groups_names(names);
            let answer: m::DeleteGroupsResponse = client.call(api, v, &request).await;
            let codes: Vec<i16> = answer.results.iter().map(|r| r.error_code).collect();
            assert_eq!(codes, [0, GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP], "version {v}");
        }
        other => panic!("{other:?} is asked elsewhere"),
    }
}

/// A member of the consumer protocol that joins, stores an offset and leaves.
async fn follow(client: &mut Client, api: Api, v: i16, id: &str) {
    let version = if api == Api::ConsumerGroupHeartbeat { v } else { 1 };
    let request = |epoch: i32| {
        m::ConsumerGroupHeartbeatRequest::default()
            .with_group_id(group(id))
            .with_member_id(text("m"))
            .with_member_epoch(epoch)
    };
    let join = request(0)
        .with_rebalance_timeout_ms(10_000)
        .with_subscribed_topic_names(Some(vec![name("t")]))
        .with_topic_partitions(Some(vec![]));
    let joined: m::ConsumerGroupHeartbeatResponse =
        client.call(Api::ConsumerGroupHeartbeat, version, &join).await;
    assert_eq!((joined.error_code, joined.member_epoch), (0, 1), "version {v}");
    let assigned = &joined.assignment.unwrap().topic_partitions[0].partitions;
    assert_eq!(assigned, &[0, 1], "version {v}");
    if api == Api::ConsumerGroupDescribe {
        let names = vec![group(id), group("none")];
        let request = m::ConsumerGroupDescribeRequest::default().with_group_ids(names);
        let answer: m::ConsumerGroupDescribeResponse = client.call(api, v, &request).await;
        assert_eq!(answer.groups[0].members[0].assignment.topic_partitions[0].topic_name, name("t"));
        assert_eq!(answer.groups[0].group_state.as_str(), "Stable");
        assert_eq!(answer.groups[1].error_code, GROUP_ID_NOT_FOUND, "version {v}");
    }
    let commit = |epoch: i32| {
        commit_request(id, 4, None).with_member_id(text("m")).with_generation_id_or_member_epoch(epoch)
    };
    for (epoch, version, expected) in [(1, 9, 0), (2, 9, STALE_MEMBER_EPOCH), (1, 8, UNSUPPORTED_VERSION)] {
        let answer: m::OffsetCommitResponse = client.call(Api::OffsetCommit, version, &commit(epoch)).await;
        assert_eq!(answer.topics[0].partitions[0].error_code, expected, "version {v}");
    }
    assert_eq!(client.join(id, 9).await.error_code, 23, "a classic member beside one that is none");
    let left: m::ConsumerGroupHeartbeatResponse =
        client.call(Api::ConsumerGroupHeartbeat, version, &request(-1)).await;
    assert_eq!((left.error_code, left.member_epoch), (0, -1), "version {v}");
    // Without members the group takes classic ones, with the offsets that it has.
    let classic = client.join(id, 9).await;
    assert_eq!((classic.error_code, client.stored(id).await), (0, 4), "version {v}");
    let refused: m::ConsumerGroupHeartbeatResponse =
        client.call(Api::ConsumerGroupHeartbeat, version, &join).await;
    assert_eq!(refused.error_code, GROUP_ID_NOT_FOUND, "version {v}");
}

/// Offsets of a transaction: refused outside of one, pending until its end.
async fn in_transaction(client: &mut Client, v: i16, id: &str) {
    let transactional = || m::TransactionalId(text(id));
    let init = m::InitProducerIdRequest::default()
        .with_transactional_id(Some(transactional()))
        .with_transaction_timeout_ms(60_000);
    let producer: m::InitProducerIdResponse = client.call(Api::InitProducerId, 4, &init).await;
    let partition = TxnOffsetCommitRequestPartition::default()
        .with_committed_offset(9)
        .with_committed_metadata(Some(text("meta")));
    let topic = TxnOffsetCommitRequestTopic::default().with_name(name("t")).with_partitions(vec![partition]);
    let request = m::TxnOffsetCommitRequest::default()
        .with_transactional_id(transactional())
        .with_group_id(group(id))
        .with_producer_id(producer.producer_id)
        .with_producer_epoch(producer.producer_epoch)
        .with_topics(vec![topic]);
    let answer: m::TxnOffsetCommitResponse = client.call(Api::TxnOffsetCommit, v, &request).await;
    assert_eq!(answer.topics[0].partitions[0].error_code, INVALID_TXN_STATE, "version {v}");
    let add = m::AddOffsetsToTxnRequest::default()
        .with_transactional_id(transactional())
        .with_group_id(group(id))
        .with_producer_id(producer.producer_id)
        .with_producer_epoch(producer.producer_epoch);
    let added: m::AddOffsetsToTxnResponse = client.call(Api::AddOffsetsToTxn, 3, &add).await;
    assert_eq!(added.error_code, 0, "version {v}");
    let answer: m::TxnOffsetCommitResponse = client.call(Api::TxnOffsetCommit, v, &request).await;
    assert_eq!(answer.topics[0].partitions[0].error_code, 0, "version {v}");
    assert_eq!(client.stored(id).await, -1, "version {v}");
    let end = m::EndTxnRequest::default()
        .with_transactional_id(transactional())
        .with_producer_id(producer.producer_id)
        .with_producer_epoch(producer.producer_epoch)
        .with_committed(true);
    let ended: m::EndTxnResponse = client.call(Api::EndTxn, 3, &end).await;
    assert_eq!(ended.error_code, 0, "version {v}");
    assert_eq!(client.stored(id).await, 9, "version {v}");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_described_as_they_are() {
    let node = Node::with_topic("t", 1).await;
    let mut client = node.client().await;
    let joined = client.join("g", 9).await;
    assert_eq!(client.sync("g", &joined).await.error_code, 0);
    let committed: m::OffsetCommitResponse =
        client.call(Api::OffsetCommit, 8, &commit_request("g", 3, Some(&joined))).await;
    assert_eq!(committed.topics[0].partitions[0].error_code, 0);
    let request = m::DescribeGroupsRequest::default().with_groups(vec![group("g"), group("none")]);
    let answer: m::DescribeGroupsResponse = client.call(Api::DescribeGroups, 6, &request).await;
    let (found, none) = (&answer.groups[0], &answer.groups[1]);
    assert_eq!((found.group_state.as_str(), found.protocol_data.as_str()), ("Stable", "range"));
    let member = &found.members[0];
    assert_eq!((member.client_id.as_str(), member.client_host.as_str()), ("test", "/127.0.0.1"));
    assert_eq!((&member.member_metadata[..], member.member_assignment.is_empty()), (&b"m"[..], false));
    assert_eq!((none.error_code, none.group_state.as_str()), (GROUP_ID_NOT_FOUND, "Dead"));
    let listed = |states: &[&str], types: &[&str]| {
        let texts = |words: &[&str]| words.iter().map(|w| text(w)).collect();
        m::ListGroupsRequest::default().with_states_filter(texts(states)).with_types_filter(texts(types))
    };
    for (states, types, expected) in
        [(&["Stable"][..], &[][..], 1), (&["Empty"], &[], 0), (&[], &["classic"], 1), (&[], &["consumer"], 0)]
    {
        let answer: m::ListGroupsResponse = client.call(Api::ListGroups, 5, &listed(states, types)).await;
        assert_eq!(answer.groups.len(), expected, "{states:?} {types:?}");
    }
    node.stop().await;
}

/// A JoinGroup that waits holds up the answers behind it on its connection, and nobody else's.
#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_member_keeps_only_its_own_connection_waiting() {
    let node = Node::with_topic("t", 1).await;
    let (mut one, mut two) = (node.client().await, node.client().await);
    let first = one.join("g", 7).await;
    assert_eq!(one.sync("g", &first).await.error_code, 0);
    // The second waits for the first to join again.
    let required: m::JoinGroupResponse = two.call(Api::JoinGroup, 7, &join_request("g", "")).await;
    let joining = two.send(Api::JoinGroup, 7, &join_request("g", &required.member_id)).await;
    let behind = two.send(Api::ListGroups, 5, &m::ListGroupsRequest::default()).await;
    while one.heartbeat("g", &first).await == 0 {}
    assert_eq!(one.heartbeat("g", &first).await, REBALANCE_IN_PROGRESS);
    let second = one.rejoin("g", &first.member_id).await;
    assert_eq!((second.generation_id, second.members.len()), (2, 2));
    let joined: m::JoinGroupResponse = two.receive(Api::JoinGroup, 7, joining).await;
    assert_eq!((joined.error_code, joined.generation_id), (0, 2));
    two.receive::<m::ListGroupsResponse>(Api::ListGroups, 5, behind).await;
    // Its client goes away while it waits for its assignment: it stays a member, and the leader's sync succeeds.
    two.send(Api::SyncGroup, 5, &sync_request("g", &joined)).await;
    drop(two);
    assert_eq!(one.sync("g", &second).await.error_code, 0);
    assert_eq!(node.topics.groups().describe("g").unwrap().members.len(), 2);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_joins_or_moves_an_inner_consumer() {
    let node = Node::with_topic("t", 1).await;
    node.topics.note_consumed("inner", "t", 0, 5);
    let mut client = node.client().await;
    assert_eq!(client.join("inner", 9).await.error_code, 23);
    let answer: m::OffsetCommitResponse =
        client.call(Api::OffsetCommit, 8, &commit_request("inner", 0, None)).await;
    assert_eq!(answer.topics[0].partitions[0].error_code, UNKNOWN_MEMBER_ID);
    assert_eq!(client.stored("inner").await, 5);
    node.stop().await;
}

/// One member that comes, follows its group through some rebalances, and goes.
async fn come_and_go(node: &Node, seed: u64) -> Vec<String> {
    let mut client = node.client().await;
    let mut surprises = Vec::new();
    let mut joined = client.join("storm", 9).await;
    let mut rounds = 2 + seed % 4;
    loop {
        if joined.error_code != 0 {
            surprises.push(format!("join {}", joined.error_code));
            return surprises;
        }
        let synced = client.sync("storm", &joined).await;
        let expected = format!("for {}", joined.member_id.as_str());
        match synced.error_code {
            0 if synced.assignment == expected => {}
            REBALANCE_IN_PROGRESS => {}
            other => surprises.push(format!("sync {other} {:?}", synced.assignment)),
        }
        while rounds > 0 {
            match client.heartbeat("storm", &joined).await {
                0 => tokio::task::yield_now().await,
                REBALANCE_IN_PROGRESS => break,
                other => surprises.push(format!("heartbeat {other}")),
            }
            rounds -= 1;
        }
        if rounds == 0 {
            let code = client.leave("storm", &joined.member_id).await;
            if code != 0 {
                surprises.push(format!("leave {code}"));
            }
            return surprises;
        }
        joined = client.call(Api::JoinGroup, 9, &join_request("storm", &joined.member_id)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_members_come_and_go_without_surprises() {
    let node = Arc::new(Node::with_topic("t", 1).await);
    let members = (0..200u64).map(|seed| {
        let node = Arc::clone(&node);
        tokio::spawn(async move { come_and_go(&node, seed).await })
    });
    let mut surprises = BTreeMap::new();
    for member in members.collect::<Vec<_>>() {
        for surprise in timeout(Duration::from_secs(120), member).await.expect("it ends").unwrap() {
            *surprises.entry(surprise).or_insert(0) += 1;
        }
    }
    assert!(surprises.is_empty(), "{surprises:?}");
    let left = node.topics.groups().describe("storm").expect("stored");
    assert_eq!((left.state, left.members.len()), ("Empty", 0));
    Arc::try_unwrap(node).unwrap_or_else(|_| panic!("everybody is gone")).stop().await;
}
