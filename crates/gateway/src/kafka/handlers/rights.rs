//! What each request needs, and what becomes of one that lacks it: the one place where this door asks for rights.
//!
//! A request passes here on its way to its handler. What its caller may not do is taken out of it before, and put into
//! the answer as refused after, so that a handler sees allowed work alone. The operations are those of Kafka's KafkaApis
//! and ControllerApis.
//!
//! Owns: the operation that each api needs on which resource, answers without what a caller may not know of, the fields
//! with authorized operations (KIP-430). Children by subject: `records`, `topics`, `groups`, `transactions`; `refuse` is
//! how a request is refused whole.
//! Does not own: the decision (access), who the caller is (`session`).
//! Invariants: whether something exists is not told to those who may not describe it. Produce and Fetch, whose answers
//! are built piece by piece, ask in their handlers, once per topic.

pub(super) mod groups;
pub(super) mod records;
mod refuse;
pub(super) mod topics;
pub(super) mod transactions;

use std::future::Future;
use std::sync::Arc;

use ::access::{Operation, Resource};
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse};

use super::super::Broker;
use super::super::errors::NONE;
use super::super::session::Caller;
use super::{NOT_ASKED, replicas};
pub(super) use refuse::Refuse;

/// A request about the node as a whole.
pub(super) async fn cluster<R, F>(
    caller: Caller,
    operation: Operation,
    request: R,
    work: impl FnOnce(R) -> F,
) -> R::Answer
where
    R: Refuse,
    F: Future<Output = R::Answer>,
{
    if caller.may(operation, Resource::CLUSTER) {
        work(request).await
    } else {
        request.refuse(Code::ClusterAuthorizationFailed)
    }
}

/// ElectLeaders: Alter on the cluster. Its own code came with version 1.
pub(super) async fn elect_leaders(
    caller: Caller,
    broker: Arc<Broker>,
    version: i16,
    request: ElectLeadersRequest,
) -> ElectLeadersResponse {
    let mut answer = cluster(caller, Operation::Alter, request, |r| replicas::elect(broker, r)).await;
    if version == 0 {
        answer.error_code = NONE;
    }
    answer
}

/// Takes out what is not allowed.
fn split<T>(items: &mut Vec<T>, may: impl Fn(&T) -> bool) -> Vec<T> {
    items.extract_if(.., |item| !may(item)).collect()
}

/// The field with the operations that are allowed on the cluster: none for those who may not describe it.
fn cluster_operations(caller: &Caller, asked: bool) -> i32 {
    match asked {
        false => NOT_ASKED,
        true if caller.may(Operation::Describe, Resource::CLUSTER) => caller.operations(Resource::CLUSTER),
        true => 0,
    }
}
