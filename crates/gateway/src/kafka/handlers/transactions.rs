//! Producers and their transactions (KIP-98): InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, EndTxn, and an
//! operator's WriteTxnMarkers; its child `listing` is what tools ask (KIP-664).
//!
//! Owns: the layouts of requests and responses, codes that older versions do not know.
//! Does not own: transactions (topics).
//! Invariants: versions end before the ones of `transaction.version` 2 (KIP-890), which is not served: an epoch is
//! bumped by InitProducerId alone.

mod listing;

use std::collections::BTreeSet;
use std::sync::Arc;

use ::topics::{TopicPartition, TransactionError, TransactionalProducer};
use base::TopicName as ValidName;
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    EndTxnRequest, EndTxnResponse, InitProducerIdRequest, InitProducerIdResponse, WriteTxnMarkersRequest,
    WriteTxnMarkersResponse,
};

use super::super::{Broker, errors};

pub(super) use listing::{describe, describe_producers, list};

/// First versions of the requests whose clients know PRODUCER_FENCED (KIP-588).
const FENCED_SINCE: i16 = 2;
const INIT_FENCED_SINCE: i16 = 4;

/// The code of an error for a client that may be too old to know it.
fn code_for(error: &TransactionError, version: i16, fenced_since: i16) -> Code {
    match errors::transaction(error) {
        Code::ProducerFenced if version < fenced_since => Code::InvalidProducerEpoch,
        code => code,
    }
}

fn code_of(outcome: &Result<(), TransactionError>, version: i16) -> i16 {
    match outcome {
        Ok(()) => errors::NONE,
        Err(error) => {
            tracing::debug!(error = %base::fault::chain(error), "a request about a transaction is refused");
            code_for(error, version, FENCED_SINCE).code()
        }
    }
}

/// A producer id: a new one for idempotent producing, else that of the transactional id, with a new epoch.
pub(super) async fn init_producer(
    broker: Arc<Broker>,
    version: i16,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let refused = |code: Code| {
        InitProducerIdResponse::default()
            .with_error_code(code.code())
            .with_producer_id((-1).into())
            .with_producer_epoch(-1)
    };
    let given = |(id, epoch): (i64, i16)| {
        InitProducerIdResponse::default().with_producer_id(id.into()).with_producer_epoch(epoch)
    };
    // Since version 3 a producer that recovers tells what it has; both or none (KIP-360).
    let known = match (request.producer_id.0, request.producer_epoch) {
        (-1, -1) => None,
        (id, epoch) if version >= 3 && id >= 0 && epoch >= 0 => Some((id, epoch)),
        _ if version < 3 => None,
        _ => return refused(Code::InvalidRequest),
    };
    let Some(id) = &request.transactional_id else {
        // As in Kafka, an idempotent producer that starts over gets a new id, whatever it has.
        return match broker.topics.init_producer().await {
            Ok(producer) => given(producer),
            Err(error) => {
                tracing::warn!(%error, "cannot give out a producer id");
                refused(errors::transaction(&error.into()))
            }
        };
    };
    match broker.topics.init_transactional_producer(id, request.transaction_timeout_ms, known).await {
        Ok(producer) => given(producer),
        Err(error) => {
            tracing::info!(transactional_id = %id.as_str(), error = %base::fault::chain(&error), "refused a transactional producer");
            refused(code_for(&error, version, INIT_FENCED_SINCE))
        }
    }
}

pub(super) async fn add_partitions(
    broker: Arc<Broker>,
    version: i16,
    request: AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    let who = TransactionalProducer {
        transactional_id: &request.v3_and_below_transactional_id,
        producer_id: request.v3_and_below_producer_id.0,
        producer_epoch: request.v3_and_below_producer_epoch,
    };
    let topics = &request.v3_and_below_topics;
    let results = match partitions_of(&broker, topics) {
        Ok(partitions) => {
            let outcome = broker.topics.add_partitions_to_transaction(who, &partitions).await;
            let code = code_of(&outcome, version);
            results(topics, |_, _| code)
        }
        // All or nothing: what could have been added is told that it was not tried.
        Err(()) => results(topics, |topic, partition| match unusable(&broker, topic, partition) {
            Some(code) => code.code(),
            None => Code::OperationNotAttempted.code(),
        }),
    };
    AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results)
}

/// Why a partition cannot be part of a transaction.
fn unusable(broker: &Broker, topic: &str, partition: i32) -> Option<Code> {
    match broker.topics.partition(topic, partition) {
        None => Some(Code::UnknownTopicOrPartition),
        Some(found) if found.topic().is_internal() => Some(Code::TopicAuthorizationFailed),
        Some(_) => None,
    }
}

fn partitions_of(
    broker: &Broker,
    topics: &[AddPartitionsToTxnTopic],
) -> Result<BTreeSet<TopicPartition>, ()> {
    let mut partitions = BTreeSet::new();
    for topic in topics {
        let name = ValidName::new(&topic.name).map_err(drop)?;
        for partition in &topic.partitions {
            if unusable(broker, &topic.name, *partition).is_some() {
                return Err(());
            }
            partitions.insert(TopicPartition { topic: name.clone(), partition: *partition });
        }
    }
    Ok(partitions)
}

fn results(
    topics: &[AddPartitionsToTxnTopic],
    code: impl Fn(&str, i32) -> i16,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let topics = topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(*partition)
                .with_partition_error_code(code(&topic.name, *partition))
        });
        AddPartitionsToTxnTopicResult::default()
            .with_name(topic.name.clone())
            .with_results_by_partition(partitions.collect())
    });
    topics.collect()
}

pub(super) async fn add_offsets(
    broker: Arc<Broker>,
    version: i16,
    request: AddOffsetsToTxnRequest,
) -> AddOffsetsToTxnResponse {
    let who = TransactionalProducer {
        transactional_id: &request.transactional_id,
        producer_id: request.producer_id.0,
        producer_epoch: request.producer_epoch,
    };
    let outcome = broker.topics.add_offsets_to_transaction(who).await;
    AddOffsetsToTxnResponse::default().with_error_code(code_of(&outcome, version))
}

pub(super) async fn end(broker: Arc<Broker>, version: i16, request: EndTxnRequest) -> EndTxnResponse {
    let who = TransactionalProducer {
        transactional_id: &request.transactional_id,
        producer_id: request.producer_id.0,
        producer_epoch: request.producer_epoch,
    };
    let outcome = broker.topics.end_transaction(who, request.committed).await;
    EndTxnResponse::default().with_error_code(code_of(&outcome, version))
}

/// What `kafka-transactions.sh abort` sends.
pub(super) async fn write_markers(
    broker: Arc<Broker>,
    request: WriteTxnMarkersRequest,
) -> WriteTxnMarkersResponse {
    let mut results = Vec::with_capacity(request.markers.len());
    for marker in request.markers {
        let producer = (marker.producer_id.0, marker.producer_epoch);
        let mut topics = Vec::with_capacity(marker.topics.len());
        for topic in marker.topics {
            let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
            for partition in topic.partition_indexes {
                let code = match ValidName::new(&topic.name) {
                    Err(_) => Code::UnknownTopicOrPartition.code(),
                    Ok(name) => {
                        let at = TopicPartition { topic: name, partition };
                        let outcome =
                            broker.topics.write_marker(&at, producer, marker.transaction_result).await;
                        outcome.map_or_else(|e| errors::marker(&e).code(), |()| errors::NONE)
                    }
                };
                partitions.push(
                    WritableTxnMarkerPartitionResult::default()
                        .with_partition_index(partition)
                        .with_error_code(code),
                );
            }
            topics.push(
                WritableTxnMarkerTopicResult::default().with_name(topic.name).with_partitions(partitions),
            );
        }
        results.push(
            WritableTxnMarkerResult::default().with_producer_id(marker.producer_id).with_topics(topics),
        );
    }
    WriteTxnMarkersResponse::default().with_markers(results)
}
