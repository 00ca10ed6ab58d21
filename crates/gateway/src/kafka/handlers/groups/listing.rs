//! ListGroups, DescribeGroups and DeleteGroups.
//!
//! Owns: one view of clients' groups and inner consumers.
//! Does not own: either of them (topics).

use std::net::SocketAddr;
use std::sync::Arc;

use ::topics::groups::{GroupDescription, GroupError, GroupListing};
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, GroupId,
    ListGroupsRequest, ListGroupsResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::{Broker, Code, NOT_ASKED, errors, inner, is_inner, text};

/// First version that says that a group is not there (KIP-1043).
const MISSING_SINCE: i16 = 6;

pub(in super::super) async fn list(broker: Arc<Broker>, request: ListGroupsRequest) -> ListGroupsResponse {
    // An empty filter lets everything through (KIP-518, KIP-848).
    let passes = |filter: &[StrBytes], word: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(word))
    };
    let consumers = broker.topics.consumers().into_iter().map(|consumed| GroupListing {
        group: consumed.group,
        protocol_type: inner::PROTOCOL_TYPE.to_owned(),
        state: inner::STATE,
        kind: inner::GROUP_TYPE,
    });
    let all = consumers.chain(broker.topics.groups().list());
    let shown = all.filter(|group| {
        passes(&request.states_filter, group.state) && passes(&request.types_filter, group.kind)
    });
    let groups = shown.map(|group| {
        ListedGroup::default()
            .with_group_id(GroupId(text(&group.group)))
            .with_protocol_type(text(&group.protocol_type))
            .with_group_state(group.state.into())
            .with_group_type(group.kind.into())
    });
    ListGroupsResponse::default().with_groups(groups.collect())
}

pub(in super::super) async fn describe(
    broker: Arc<Broker>,
    peer: SocketAddr,
    version: i16,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let consumers = broker.topics.consumers();
    let groups = request.groups.into_iter().map(|id| {
        let consumer = consumers.iter().find(|consumed| consumed.group == id.as_str());
        let found = match consumer {
            Some(consumed) => Some(inner::described(consumed, peer)),
            None => broker.topics.groups().describe(&id).map(described),
        };
        let group = found.unwrap_or_else(|| missing(&id, version));
        group.with_group_id(id).with_authorized_operations(NOT_ASKED)
    });
    DescribeGroupsResponse::default().with_groups(groups.collect())
}

fn described(group: GroupDescription) -> DescribedGroup {
    let members = group.members.into_iter().map(|member| {
        DescribedGroupMember::default()
            .with_member_id(text(member.member))
            .with_group_instance_id(member.instance.map(text))
            .with_client_id(text(member.client.id))
            .with_client_host(text(member.client.host))
            .with_member_metadata(member.metadata)
            .with_member_assignment(member.assignment)
    });
    DescribedGroup::default()
        .with_group_state(group.state.into())
        .with_protocol_type(text(group.protocol_type))
        .with_protocol_data(text(group.protocol))
        .with_members(members.collect())
}

/// Until version 5 a group that does not exist is one that is dead (KIP-1043).
fn missing(id: &GroupId, version: i16) -> DescribedGroup {
    let group = DescribedGroup::default().with_group_state("Dead".into());
    if version < MISSING_SINCE {
        return group;
    }
    group
        .with_error_code(Code::GroupIdNotFound.code())
        .with_error_message(Some(text(GroupError::GroupIdNotFound(id.to_string()))))
}

pub(in super::super) async fn delete(
    broker: Arc<Broker>,
    request: DeleteGroupsRequest,
) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    for id in request.groups_names {
        let outcome = if is_inner(&broker, &id) {
            Err(GroupError::NonEmptyGroup)
        } else {
            broker.topics.groups().delete(&id).await
        };
        results.push(
            DeletableGroupResult::default().with_group_id(id).with_error_code(errors::group_code(&outcome)),
        );
    }
    DeleteGroupsResponse::default().with_results(results)
}
