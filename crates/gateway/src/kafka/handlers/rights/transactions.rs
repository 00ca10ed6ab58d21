//! Rights of producers and their transactions.

use std::sync::Arc;

use ::access::{Operation, Resource, ResourceKind};
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages as m;

use super::super::super::Broker;
use super::super::super::session::Caller;
use super::super::transactions;
use super::refuse::{self, Refuse};
use super::split;

fn may(caller: &Caller, operation: Operation, id: &str) -> bool {
    caller.may(operation, Resource::transactional_id(id))
}

/// InitProducerId: Write on the transactional id; without one, IdempotentWrite on the cluster or Write on any topic.
pub(in super::super) async fn init_producer(
    caller: Caller,
    broker: Arc<Broker>,
    version: i16,
    request: m::InitProducerIdRequest,
) -> m::InitProducerIdResponse {
    match &request.transactional_id {
        Some(id) if !may(&caller, Operation::Write, id) => {
            return request.refuse(Code::TransactionalIdAuthorizationFailed);
        }
        Some(_) => {}
        None => {
            let allowed = caller.may(Operation::IdempotentWrite, Resource::CLUSTER)
                || caller.may_any(Operation::Write, ResourceKind::Topic);
            if !allowed {
                return request.refuse(Code::ClusterAuthorizationFailed);
            }
        }
    }
    transactions::init_producer(broker, version, request).await
}

/// AddPartitionsToTxn: Write on the transactional id and on every topic; all or nothing.
pub(in super::super) async fn add_partitions(
    caller: Caller,
    broker: Arc<Broker>,
    version: i16,
    request: m::AddPartitionsToTxnRequest,
) -> m::AddPartitionsToTxnResponse {
    if !may(&caller, Operation::Write, &request.v3_and_below_transactional_id) {
        return request.refuse(Code::TransactionalIdAuthorizationFailed);
    }
    let writes = |topic: &str| caller.may(Operation::Write, Resource::topic(topic));
    if request.v3_and_below_topics.iter().all(|topic| writes(&topic.name)) {
        return transactions::add_partitions(broker, version, request).await;
    }
    refuse::added(request, |topic| {
        if writes(topic) { Code::OperationNotAttempted } else { Code::TopicAuthorizationFailed }
    })
}

/// AddOffsetsToTxn: Write on the transactional id, Read on the group.
pub(in super::super) async fn add_offsets(
    caller: Caller,
    broker: Arc<Broker>,
    version: i16,
    request: m::AddOffsetsToTxnRequest,
) -> m::AddOffsetsToTxnResponse {
    if !may(&caller, Operation::Write, &request.transactional_id) {
        return request.refuse(Code::TransactionalIdAuthorizationFailed);
    }
    if !caller.may(Operation::Read, Resource::group(&request.group_id)) {
        return request.refuse(Code::GroupAuthorizationFailed);
    }
    transactions::add_offsets(broker, version, request).await
}

/// EndTxn: Write on the transactional id.
pub(in super::super) async fn end(
    caller: Caller,
    broker: Arc<Broker>,
    version: i16,
    request: m::EndTxnRequest,
) -> m::EndTxnResponse {
    if !may(&caller, Operation::Write, &request.transactional_id) {
        return request.refuse(Code::TransactionalIdAuthorizationFailed);
    }
    transactions::end(broker, version, request).await
}

/// WriteTxnMarkers: Alter or ClusterAction on the cluster.
pub(in super::super) async fn write_markers(
    caller: Caller,
    broker: Arc<Broker>,
    request: m::WriteTxnMarkersRequest,
) -> m::WriteTxnMarkersResponse {
    let operations = [Operation::Alter, Operation::ClusterAction];
    if operations.iter().any(|operation| caller.may(*operation, Resource::CLUSTER)) {
        return transactions::write_markers(broker, request).await;
    }
    request.refuse(Code::ClusterAuthorizationFailed)
}

/// DescribeTransactions: Describe on the transactional id; of its topics, those that may be described.
pub(in super::super) async fn describe(
    caller: Caller,
    broker: Arc<Broker>,
    mut request: m::DescribeTransactionsRequest,
) -> m::DescribeTransactionsResponse {
    use m::describe_transactions_response::TransactionState;
    let refused = split(&mut request.transactional_ids, |id| may(&caller, Operation::Describe, id));
    let mut answer = transactions::describe(broker, request).await;
    for state in &mut answer.transaction_states {
        state.topics.retain(|t| caller.may(Operation::Describe, Resource::topic(&t.topic)));
    }
    let code = Code::TransactionalIdAuthorizationFailed.code();
    let refused = refused.into_iter();
    answer.transaction_states.extend(
        refused.map(|id| TransactionState::default().with_transactional_id(id).with_error_code(code)),
    );
    answer
}

/// ListTransactions: those whose transactional id may be described.
pub(in super::super) async fn list(
    caller: Caller,
    broker: Arc<Broker>,
    version: i16,
    request: m::ListTransactionsRequest,
) -> m::ListTransactionsResponse {
    let mut answer = transactions::list(broker, version, request).await;
    answer.transaction_states.retain(|state| may(&caller, Operation::Describe, &state.transactional_id));
    answer
}
