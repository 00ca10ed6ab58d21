//! Consumer groups: those of clients, which the log coordinates, and the consumers inside this process, shown as groups
//! so that lag tools see how far the tables are.
//!
//! Owns: where groups have their coordinator; its children are the requests: `members` (join, sync, heartbeat, leave), `consumers` (KIP-848),
//! `offsets` (storing and fetching), `listing` (list, describe, delete), `inner` (how an inner consumer looks).
//! Does not own: what a group does (topics), the offsets of inner consumers (topics).
//! Invariants: no client becomes a member of an inner consumer's group or changes its offsets.

mod consumers;
mod inner;
mod listing;
mod members;
mod offsets;

use std::net::SocketAddr;
use std::sync::Arc;

use ::topics::groups::Client;
use bytes::Bytes;
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

use super::super::{Broker, NODE_ID, errors};
use super::{NOT_ASKED, text};

pub(super) use consumers::{consumer_heartbeat, describe_consumers};
pub(super) use listing::{delete, describe, list};
pub(super) use members::{heartbeat, join, leave, sync};
pub(super) use offsets::{commit_in_transaction, commit_offsets, delete_offsets, fetch_offsets};

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

/// Who sent a request, in the words of DescribeGroups.
pub(super) fn client(peer: SocketAddr, client_id: &Bytes) -> Client {
    Client {
        id: String::from_utf8_lossy(client_id).into_owned(),
        // As Java prints an address without a name.
        host: format!("/{}", peer.ip().to_canonical()),
    }
}

/// Whether a consumer inside this process reads as this group.
fn is_inner(broker: &Broker, group: &str) -> bool {
    broker.topics.consumers().iter().any(|consumed| consumed.group == group)
}

fn owned(text: StrBytes) -> String {
    text.to_string()
}

fn owned_if_any(text: Option<StrBytes>) -> Option<String> {
    text.map(owned)
}

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
