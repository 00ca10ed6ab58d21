//! JoinGroup, SyncGroup, Heartbeat and LeaveGroup.
//!
//! Owns: what the versions of these requests and responses differ in.
//! Does not own: groups (topics).
//! Invariants: a request that waits for its group keeps only the answers behind it on its own connection waiting; a
//! client that goes away stays a member until its session ends, as in Kafka.

use std::sync::Arc;

use ::topics::groups::{Client, GroupError, Identity, JoinGroup, JoinRefused, Joined, Leaving, SyncGroup};
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
};

use super::{Broker, errors, is_inner, owned, owned_if_any, text};

/// First JoinGroup with a rebalance timeout of its own.
const REBALANCE_TIMEOUT_SINCE: i16 = 1;
/// First JoinGroup that is given a member id before it joins (KIP-394).
const ID_FIRST_SINCE: i16 = 4;
/// First JoinGroup whose answer may leave the protocol out.
const NULL_PROTOCOL_SINCE: i16 = 7;
/// First JoinGroup that may be told to skip the assignment (KIP-814).
const SKIPS_ASSIGNMENT_SINCE: i16 = 9;
/// First SyncGroup that must name the protocol (KIP-559).
const PROTOCOL_NAMED_SINCE: i16 = 5;
/// First LeaveGroup for several members (KIP-345).
const SEVERAL_LEAVE_SINCE: i16 = 3;

pub(in super::super) async fn join(
    broker: Arc<Broker>,
    client: Client,
    version: i16,
    request: JoinGroupRequest,
) -> JoinGroupResponse {
    let member = owned(request.member_id.clone());
    let rebalance_timeout_ms = if version >= REBALANCE_TIMEOUT_SINCE {
        request.rebalance_timeout_ms
    } else {
        request.session_timeout_ms
    };
    if let Some(reason) = request.reason.as_ref().filter(|reason| !reason.is_empty()) {
        tracing::debug!(group = %request.group_id.as_str(), %member, reason = %reason.as_str(), "a member joins");
    }
    let request = JoinGroup {
        group: owned(request.group_id.0),
        member,
        instance: owned_if_any(request.group_instance_id),
        client,
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms,
        protocol_type: owned(request.protocol_type),
        protocols: request.protocols.into_iter().map(|p| (owned(p.name), p.metadata)).collect(),
        id_first: version >= ID_FIRST_SINCE,
        skips_assignment: version >= SKIPS_ASSIGNMENT_SINCE,
    };
    let outcome = if is_inner(&broker, &request.group) {
        Err(JoinRefused { error: GroupError::InconsistentGroupProtocol, member: request.member })
    } else {
        broker.topics.groups().join(request).await
    };
    match outcome {
        Ok(joined) => joined_response(joined, version),
        Err(JoinRefused { error, member }) => JoinGroupResponse::default()
            .with_error_code(errors::group(&error).code())
            .with_protocol_name((version < NULL_PROTOCOL_SINCE).then(Default::default))
            .with_member_id(text(member)),
    }
}

fn joined_response(joined: Joined, version: i16) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|member| {
        JoinGroupResponseMember::default()
            .with_member_id(text(member.member))
            .with_group_instance_id(member.instance.map(text))
            .with_metadata(member.metadata)
    });
    let protocol = joined.protocol.map(text);
    JoinGroupResponse::default()
        .with_generation_id(joined.generation)
        .with_protocol_type(joined.protocol_type.map(text))
        .with_protocol_name(protocol.or_else(|| (version < NULL_PROTOCOL_SINCE).then(Default::default)))
        .with_leader(text(joined.leader))
        .with_skip_assignment(joined.skip_assignment)
        .with_member_id(text(joined.member))
        .with_members(members.collect())
}

pub(in super::super) async fn sync(
    broker: Arc<Broker>,
    version: i16,
    request: SyncGroupRequest,
) -> SyncGroupResponse {
    let named = request.protocol_type.is_some() && request.protocol_name.is_some();
    let outcome = if version >= PROTOCOL_NAMED_SINCE && !named {
        Err(GroupError::InconsistentGroupProtocol)
    } else {
        let assignments = request.assignments.into_iter().map(|a| (owned(a.member_id), a.assignment));
        let request = SyncGroup {
            group: owned(request.group_id.0),
            member: owned(request.member_id),
            instance: owned_if_any(request.group_instance_id),
            generation: request.generation_id,
            protocol_type: owned_if_any(request.protocol_type),
            protocol: owned_if_any(request.protocol_name),
            assignments: assignments.collect(),
        };
        broker.topics.groups().sync(request).await
    };
    match outcome {
        Ok(synced) => SyncGroupResponse::default()
            .with_protocol_type(synced.protocol_type.map(text))
            .with_protocol_name(synced.protocol.map(text))
            .with_assignment(synced.assignment),
        Err(error) => SyncGroupResponse::default().with_error_code(errors::group(&error).code()),
    }
}

pub(in super::super) async fn heartbeat(broker: Arc<Broker>, request: HeartbeatRequest) -> HeartbeatResponse {
    let who = Identity {
        member: owned(request.member_id),
        instance: owned_if_any(request.group_instance_id),
        generation: request.generation_id,
    };
    let outcome = broker.topics.groups().heartbeat(&request.group_id, &who);
    HeartbeatResponse::default().with_error_code(errors::group_code(&outcome))
}

pub(in super::super) async fn leave(
    broker: Arc<Broker>,
    version: i16,
    request: LeaveGroupRequest,
) -> LeaveGroupResponse {
    let leaving: Vec<Leaving> = if version >= SEVERAL_LEAVE_SINCE {
        let members = request.members.into_iter();
        members
            .map(|m| Leaving { member: owned(m.member_id), instance: owned_if_any(m.group_instance_id) })
            .collect()
    } else {
        vec![Leaving { member: owned(request.member_id), instance: None }]
    };
    let outcomes = match broker.topics.groups().leave(&request.group_id, &leaving).await {
        Ok(outcomes) => outcomes,
        Err(error) => return LeaveGroupResponse::default().with_error_code(errors::group(&error).code()),
    };
    if version < SEVERAL_LEAVE_SINCE {
        let code = outcomes.first().map_or(errors::NONE, errors::group_code);
        return LeaveGroupResponse::default().with_error_code(code);
    }
    let members = leaving.into_iter().zip(&outcomes).map(|(one, outcome)| {
        MemberResponse::default()
            .with_member_id(text(one.member))
            .with_group_instance_id(one.instance.map(text))
            .with_error_code(errors::group_code(outcome))
    });
    LeaveGroupResponse::default().with_members(members.collect())
}
