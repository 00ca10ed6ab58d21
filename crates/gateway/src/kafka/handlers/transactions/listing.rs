//! What tools ask about transactions: DescribeProducers, DescribeTransactions, ListTransactions (KIP-664, KIP-994).
//!
//! Owns: filters, the layouts.
//! Does not own: transactions (topics).

use std::collections::BTreeMap;
use std::sync::Arc;

use ::topics::{ProducerInfo, Transaction, TransactionState as State};
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::describe_transactions_response::{
    TopicData, TransactionState as DescribedTransaction,
};
use kafka_protocol::messages::list_transactions_response::TransactionState as ListedTransaction;
use kafka_protocol::messages::{
    DescribeProducersRequest, DescribeProducersResponse, DescribeTransactionsRequest,
    DescribeTransactionsResponse, ListTransactionsRequest, ListTransactionsResponse, TopicName,
};

use super::super::super::Broker;
use super::super::text;

/// An offset or time that there is not.
const NONE: i64 = -1;

pub(in super::super) async fn describe_producers(
    broker: Arc<Broker>,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partition_indexes.iter().map(|index| {
            let response = PartitionResponse::default().with_partition_index(*index);
            match broker.topics.partition(&topic.name, *index) {
                None => response.with_error_code(Code::UnknownTopicOrPartition.code()),
                Some(partition) => {
                    response.with_active_producers(partition.producers().iter().map(producer).collect())
                }
            }
        });
        TopicResponse::default().with_partitions(partitions.collect()).with_name(topic.name)
    });
    DescribeProducersResponse::default().with_topics(topics.collect())
}

fn producer(info: &ProducerInfo) -> ProducerState {
    ProducerState::default()
        .with_producer_id(info.producer_id.into())
        .with_producer_epoch(info.epoch.into())
        .with_last_sequence(info.last_sequence)
        .with_last_timestamp(info.seen_ms)
        .with_coordinator_epoch(info.coordinator_epoch)
        .with_current_txn_start_offset(info.open_since.unwrap_or(NONE))
}

pub(in super::super) async fn describe(
    broker: Arc<Broker>,
    request: DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let states = request.transactional_ids.into_iter().map(|id| {
        let described = match broker.topics.transaction(&id) {
            Some(transaction) => described(&transaction),
            None => DescribedTransaction::default().with_error_code(Code::TransactionalIdNotFound.code()),
        };
        described.with_transactional_id(id)
    });
    DescribeTransactionsResponse::default().with_transaction_states(states.collect())
}

fn described(transaction: &Transaction) -> DescribedTransaction {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for at in &transaction.partitions {
        topics.entry(at.topic.as_str()).or_default().push(at.partition);
    }
    let topics = topics.into_iter().map(|(topic, partitions)| {
        TopicData::default().with_topic(TopicName(text(topic))).with_partitions(partitions)
    });
    DescribedTransaction::default()
        .with_transaction_state(transaction.state.name().into())
        .with_transaction_timeout_ms(transaction.timeout_ms)
        .with_transaction_start_time_ms(transaction.start_ms)
        .with_producer_id(transaction.producer_id.into())
        .with_producer_epoch(transaction.producer_epoch)
        .with_topics(topics.collect())
}

pub(in super::super) async fn list(
    broker: Arc<Broker>,
    version: i16,
    request: ListTransactionsRequest,
) -> ListTransactionsResponse {
    let unknown = request.state_filters.iter().filter(|name| State::named(name).is_none());
    let response = ListTransactionsResponse::default().with_unknown_state_filters(unknown.cloned().collect());
    let now_ms = broker.topics.now_ms();
    let passes = |transaction: &Transaction| {
        let state = request.state_filters.is_empty()
            || request.state_filters.iter().any(|name| name.as_str() == transaction.state.name());
        let producer = request.producer_id_filters.is_empty()
            || request.producer_id_filters.iter().any(|id| id.0 == transaction.producer_id);
        // Transactions that have run for longer (KIP-994).
        let duration = version < 1
            || request.duration_filter < 0
            || (transaction.state == State::Ongoing
                && now_ms.saturating_sub(transaction.start_ms) > request.duration_filter);
        state && producer && duration
    };
    let listed =
        broker.topics.transactions().into_iter().filter(|info| passes(&info.transaction)).map(|info| {
            ListedTransaction::default()
                .with_producer_id(info.transaction.producer_id.into())
                .with_transaction_state(info.transaction.state.name().into())
                .with_transactional_id(text(info.transactional_id).into())
        });
    response.with_transaction_states(listed.collect())
}
