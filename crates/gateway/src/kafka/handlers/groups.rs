//! Consumer groups as far as they exist: the consumers inside this process, shown as groups so that lag tools see
//! how far the tables are. Clients cannot join groups yet, and the apis for that are not listed in `versions`.
//!
//! Owns: how an inner consumer looks as a group.
//! Does not own: its offsets (topics).

mod offsets;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use ::topics::Consumed;
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{
    DescribeGroupsRequest, DescribeGroupsResponse, FindCoordinatorRequest, FindCoordinatorResponse, GroupId,
    ListGroupsRequest, ListGroupsResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::super::{Broker, NODE_ID};
use super::{GROUP_OPERATIONS, NOT_ASKED, text};

pub(super) use offsets::fetch_offsets;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const PROTOCOL_TYPE: &str = "consumer";
const STATE: &str = "Stable";
const GROUP_TYPE: &str = "classic";
/// What tools print as the name of the way partitions were assigned.
const ASSIGNOR: &str = "frazil";

/// Which node coordinates a group or a transactional id: this one.
pub(super) async fn find_coordinator(
    broker: Arc<Broker>,
    version: i16,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let is_known = matches!(request.key_type, GROUP | TRANSACTION);
    let refusal = Code::InvalidRequest.code();
    let message = || {
        Some(text(
            "share groups are not served: only consumer groups and transactional ids have a coordinator",
        ))
    };
    if version >= 4 {
        let coordinators = request.coordinator_keys.into_iter().map(|key| {
            let found = Coordinator::default().with_key(key);
            if is_known {
                found.with_node_id(NODE_ID.into()).with_host(broker.host.clone()).with_port(broker.port)
            } else {
                found
                    .with_node_id((-1).into())
                    .with_port(-1)
                    .with_error_code(refusal)
                    .with_error_message(message())
            }
        });
        return FindCoordinatorResponse::default().with_coordinators(coordinators.collect());
    }
    let found = FindCoordinatorResponse::default();
    if is_known {
        found.with_node_id(NODE_ID.into()).with_host(broker.host.clone()).with_port(broker.port)
    } else {
        found.with_node_id((-1).into()).with_port(-1).with_error_code(refusal).with_error_message(message())
    }
}

pub(super) async fn list(broker: Arc<Broker>, request: ListGroupsRequest) -> ListGroupsResponse {
    // An empty filter lets everything through (KIP-518, KIP-848).
    let passes = |filter: &[StrBytes], word: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(word))
    };
    let shown = passes(&request.states_filter, STATE) && passes(&request.types_filter, GROUP_TYPE);
    let groups = broker.topics.consumers().into_iter().filter(|_| shown).map(|consumed| {
        ListedGroup::default()
            .with_group_id(GroupId(text(&consumed.group)))
            .with_protocol_type(PROTOCOL_TYPE.into())
            .with_group_state(STATE.into())
            .with_group_type(GROUP_TYPE.into())
    });
    ListGroupsResponse::default().with_groups(groups.collect())
}

pub(super) async fn describe(
    broker: Arc<Broker>,
    peer: SocketAddr,
    version: i16,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let consumers = broker.topics.consumers();
    let operations = if request.include_authorized_operations { GROUP_OPERATIONS } else { NOT_ASKED };
    let groups = request.groups.into_iter().map(|id| {
        let found = consumers.iter().find(|consumed| consumed.group == id.as_str());
        match found {
            Some(consumed) => {
                described(consumed, peer).with_group_id(id).with_authorized_operations(operations)
            }
            None => missing(id, version).with_authorized_operations(operations),
        }
    });
    DescribeGroupsResponse::default().with_groups(groups.collect())
}

/// Until version 5 a group that does not exist is one that is dead (KIP-1043).
fn missing(id: GroupId, version: i16) -> DescribedGroup {
    let group = DescribedGroup::default().with_group_state("Dead".into());
    if version < 6 {
        return group.with_group_id(id);
    }
    let message = format!("there is no group {}", id.as_str());
    group
        .with_group_id(id)
        .with_error_code(Code::GroupIdNotFound.code())
        .with_error_message(Some(text(message)))
}

fn described(consumed: &Consumed, peer: SocketAddr) -> DescribedGroup {
    let member = DescribedGroupMember::default()
        .with_member_id(text(&consumed.group))
        .with_client_id("frazil".into())
        // Inside this process is where the asking client's other end is.
        .with_client_host(text(format_args!("/{}", if peer.is_ipv6() { "::1" } else { "127.0.0.1" })))
        .with_member_metadata(subscription(consumed))
        .with_member_assignment(assignment(consumed));
    DescribedGroup::default()
        .with_group_state(STATE.into())
        .with_protocol_type(PROTOCOL_TYPE.into())
        .with_protocol_data(ASSIGNOR.into())
        .with_members(vec![member])
}

fn by_topic(consumed: &Consumed) -> BTreeMap<&str, Vec<i32>> {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for at in consumed.offsets.keys() {
        topics.entry(at.topic.as_str()).or_default().push(at.partition);
    }
    topics
}

/// ConsumerProtocolSubscription version 0.
fn subscription(consumed: &Consumed) -> Bytes {
    let topics = by_topic(consumed);
    let mut out = BytesMut::new();
    out.put_i16(0);
    out.put_i32(topics.len() as i32);
    for name in topics.keys() {
        put_string(&mut out, name);
    }
    out.put_i32(-1);
    out.freeze()
}

/// ConsumerProtocolAssignment version 0.
fn assignment(consumed: &Consumed) -> Bytes {
    let topics = by_topic(consumed);
    let mut out = BytesMut::new();
    out.put_i16(0);
    out.put_i32(topics.len() as i32);
    for (name, partitions) in topics {
        put_string(&mut out, name);
        out.put_i32(partitions.len() as i32);
        partitions.into_iter().for_each(|p| out.put_i32(p));
    }
    out.put_i32(-1);
    out.freeze()
}

/// Topic names have at most 249 bytes, so the length always fits.
fn put_string(out: &mut BytesMut, text: &str) {
    out.put_i16(text.len() as i16);
    out.put_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use ::topics::TopicPartition;
    use base::TopicName;
    use kafka_protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
    use kafka_protocol::protocol::Decodable;

    use super::*;

    #[test]
    fn inner_consumers_look_like_members_of_the_consumer_protocol() {
        let at = |topic: &str, partition| TopicPartition { topic: TopicName::new(topic).unwrap(), partition };
        let offsets = [(at("a", 0), 5), (at("a", 1), 7), (at("b", 0), 0)].into();
        let consumed = Consumed { group: "frazil.materialize.a".into(), offsets };
        let mut bytes = subscription(&consumed).slice(2..);
        let decoded = ConsumerProtocolSubscription::decode(&mut bytes, 0).unwrap();
        assert_eq!(decoded.topics, vec![StrBytes::from("a"), StrBytes::from("b")]);
        let mut bytes = assignment(&consumed).slice(2..);
        let decoded = ConsumerProtocolAssignment::decode(&mut bytes, 0).unwrap();
        assert!(bytes.is_empty());
        assert_eq!(decoded.assigned_partitions[0].partitions, vec![0, 1]);
        assert_eq!(decoded.assigned_partitions[1].topic.as_str(), "b");
    }
}
