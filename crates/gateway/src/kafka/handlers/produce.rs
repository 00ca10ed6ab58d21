//! Produce and InitProducerId.
//!
//! Owns: acks, which batches a version of the request may carry, one result per partition.
//! Does not own: checking batches, offsets, sequences, durability (topics).
//! Invariants: appends are submitted before `start` returns, in request order; a batch is acknowledged only once the
//! log says that it is durable, whatever acks asks beyond that.

use std::sync::Arc;

use ::topics::{AppendError, Appended, PendingAppend};
use bytes::Bytes;
use futures::FutureExt;
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{
    InitProducerIdRequest, InitProducerIdResponse, ProduceRequest, ProduceResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::super::connection::Close;
use super::super::frame::Header;
use super::super::reply::Reply;
use super::super::{Broker, errors};
use super::{Answer, text};

/// First version whose clients may send zstd (KIP-110).
const ZSTD_SINCE: i16 = 7;
const ZSTD: u8 = 4;
/// The bits of the attributes that name the codec.
const CODEC: u8 = 0x07;
const TRANSACTIONAL: u8 = 0x10;
/// Where the low byte of a v2 batch's attributes lies.
const ATTRIBUTES_AT: usize = 22;
const NO_TRANSACTIONS: &str = "transactions are not served: produce without transactional.id";

/// What became of one partition's batch.
enum Outcome {
    Pending(PendingAppend),
    Refused(Refusal),
}

#[derive(Clone)]
struct Refusal {
    code: Code,
    message: String,
}

impl Refusal {
    fn new(code: Code, message: &str) -> Self {
        Self { code, message: message.to_owned() }
    }
}

/// A topic and its batches by partition, as they came.
type Batches = (String, Vec<(i32, Option<Bytes>)>);

/// A topic and what became of its batches.
struct TopicBatches {
    name: String,
    partitions: Vec<(i32, Outcome)>,
}

/// Submits the batches of a request.
pub(super) async fn start(
    broker: &Arc<Broker>,
    header: Header,
    request: ProduceRequest,
) -> Result<Answer, Close> {
    let acks = request.acks;
    let refusal = if !matches!(acks, -1..=1) {
        Some(Refusal::new(Code::InvalidRequiredAcks, &format!("acks={acks}: use 0, 1 or all")))
    } else if request.transactional_id.is_some() {
        Some(Refusal::new(Code::TransactionalIdAuthorizationFailed, NO_TRANSACTIONS))
    } else {
        None
    };
    let batches = take_apart(request);
    let bytes = batches.iter().flat_map(|(_, p)| p).map(|(_, b)| b.as_ref().map_or(0, Bytes::len)).sum();
    let gate = broker.unsynced.enter(bytes).await;
    let version = header.version;
    let topics = if batches.iter().flat_map(|(_, p)| p).any(|(_, b)| is_compressed(b.as_ref())) {
        // The log unpacks compressed batches to check them, which may take longer than other connections should wait.
        let broker = Arc::clone(broker);
        super::off_thread(move || append_all(&broker, batches, refusal.as_ref(), version)).await?
    } else {
        append_all(broker, batches, refusal.as_ref(), version)
    };
    Ok(async move {
        let response = settle(topics).await;
        drop(gate);
        if acks == 0 { unacknowledged(&response) } else { Ok(Some(Reply::encode(&header, &response)?)) }
    }
    .boxed())
}

fn is_compressed(batch: Option<&Bytes>) -> bool {
    batch.and_then(|batch| batch.get(ATTRIBUTES_AT)).is_some_and(|attributes| attributes & CODEC != 0)
}

fn append_all(
    broker: &Broker,
    batches: Vec<Batches>,
    refusal: Option<&Refusal>,
    version: i16,
) -> Vec<TopicBatches> {
    let topics = batches.into_iter().map(|(name, partitions)| {
        let outcomes = partitions.into_iter().map(|(partition, records)| {
            let outcome = match refusal {
                Some(refusal) => Outcome::Refused(refusal.clone()),
                None => append(broker, &name, partition, records, version),
            };
            (partition, outcome)
        });
        TopicBatches { partitions: outcomes.collect(), name: name.clone() }
    });
    topics.collect()
}

/// Takes names and batches out of the decoded request and lets the rest go: a batch that is the last holder of its
/// frame is patched in place by the log instead of being copied.
fn take_apart(request: ProduceRequest) -> Vec<Batches> {
    let topics = request.topic_data.into_iter().map(|topic| {
        let partitions = topic.partition_data.into_iter().map(|p| (p.index, p.records));
        (topic.name.to_string(), partitions.collect())
    });
    topics.collect()
}

fn append(broker: &Broker, topic: &str, partition: i32, records: Option<Bytes>, version: i16) -> Outcome {
    let refused = |code, message| Outcome::Refused(Refusal::new(code, message));
    let Some(batch) = records.filter(|batch| !batch.is_empty()) else {
        return refused(Code::InvalidRecord, "no records were sent for this partition");
    };
    let attributes = batch.get(ATTRIBUTES_AT).copied().unwrap_or(0);
    if attributes & CODEC == ZSTD && version < ZSTD_SINCE {
        return refused(
            Code::UnsupportedCompressionType,
            "zstd needs produce requests of version 7 or later",
        );
    }
    if attributes & TRANSACTIONAL != 0 {
        return refused(Code::TransactionalIdAuthorizationFailed, NO_TRANSACTIONS);
    }
    match broker.topics.append(topic, partition, batch) {
        Ok(pending) => Outcome::Pending(pending),
        Err(error) => Outcome::Refused(failed(topic, partition, &error)),
    }
}

fn failed(topic: &str, partition: i32, error: &AppendError) -> Refusal {
    tracing::debug!(topic, partition, %error, "append refused");
    Refusal { code: errors::append(error), message: base::fault::chain(error) }
}

/// Waits until everything submitted is durable.
async fn settle(topics: Vec<TopicBatches>) -> ProduceResponse {
    let mut responses = Vec::with_capacity(topics.len());
    for topic in topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for (index, outcome) in topic.partitions {
            let outcome = match outcome {
                Outcome::Pending(pending) => pending.await.map_err(|e| failed(&topic.name, index, &e)),
                Outcome::Refused(refusal) => Err(refusal),
            };
            partitions.push(result(index, outcome));
        }
        responses.push(
            TopicProduceResponse::default()
                .with_name(TopicName(StrBytes::from_string(topic.name)))
                .with_partition_responses(partitions),
        );
    }
    ProduceResponse::default().with_responses(responses)
}

fn result(index: i32, outcome: Result<Appended, Refusal>) -> PartitionProduceResponse {
    let response = PartitionProduceResponse::default().with_index(index);
    match outcome {
        Ok(appended) => response
            .with_base_offset(appended.base_offset)
            .with_log_append_time_ms(appended.log_append_time_ms.unwrap_or(-1))
            .with_log_start_offset(appended.log_start),
        Err(Refusal { code, message }) => {
            // Clients print the message of the first bad record rather than the batch's (KIP-467).
            let records = if code == Code::InvalidRecord {
                let why = Some(text(&message));
                vec![BatchIndexAndErrorMessage::default().with_batch_index_error_message(why)]
            } else {
                Vec::new()
            };
            response
                .with_error_code(code.code())
                .with_base_offset(-1)
                .with_log_append_time_ms(-1)
                .with_log_start_offset(-1)
                .with_record_errors(records)
                .with_error_message(Some(text(message)))
        }
    }
}

/// A producer with acks=0 hears of an error by losing its connection.
fn unacknowledged(response: &ProduceResponse) -> Result<Option<Reply>, Close> {
    let failed = response.responses.iter().find_map(|topic| {
        let partition = topic.partition_responses.iter().find(|p| p.error_code != errors::NONE)?;
        let reason = partition.error_message.as_ref().map_or("", |m| m.as_str());
        Some(format!("{}-{}: {reason}", topic.name.as_str(), partition.index))
    });
    failed.map_or(Ok(None), |reason| Err(Close::Unacknowledged(reason)))
}

/// A new producer id for idempotent producing (KIP-98). A producer that bumps its epoch (KIP-360) gets a new id too.
pub(super) async fn init_producer(
    broker: Arc<Broker>,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let refused = |code: Code| {
        InitProducerIdResponse::default()
            .with_error_code(code.code())
            .with_producer_id((-1).into())
            .with_producer_epoch(-1)
    };
    if request.transactional_id.is_some() {
        // The response has no room for a message; this is the code that every client takes as final.
        tracing::info!("refused a producer with a transactional.id: {NO_TRANSACTIONS}");
        return refused(Code::TransactionalIdAuthorizationFailed);
    }
    match broker.topics.init_producer().await {
        Ok((id, epoch)) => {
            InitProducerIdResponse::default().with_producer_id(id.into()).with_producer_epoch(epoch)
        }
        Err(error) => {
            tracing::warn!(%error, "cannot give out a producer id");
            refused(match errors::append(&error) {
                // Clients retry this one for InitProducerId, the disk's own code they do not know here.
                Code::KafkaStorageError => Code::CoordinatorNotAvailable,
                code => code,
            })
        }
    }
}
