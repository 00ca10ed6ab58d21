//! How a consumer inside this process looks as a group.
//!
//! Owns: a made-up member with a subscription and an assignment in the consumer protocol's form.
//! Does not own: its offsets (topics).

use std::collections::BTreeMap;
use std::net::SocketAddr;

use ::topics::Consumed;
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};

use super::text;

pub(super) const PROTOCOL_TYPE: &str = "consumer";
pub(super) const STATE: &str = "Stable";
pub(super) const GROUP_TYPE: &str = "classic";
/// What tools print as the name of the way partitions were assigned.
const ASSIGNOR: &str = "frazil";

pub(super) fn described(consumed: &Consumed, peer: SocketAddr) -> DescribedGroup {
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
    use kafka_protocol::protocol::{Decodable, StrBytes};

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
