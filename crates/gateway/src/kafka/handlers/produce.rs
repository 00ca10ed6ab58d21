//! Produce.
//!
//! Owns: acks, which batches a version of the request may carry, one result per partition.
//! Does not own: checking batches, offsets, sequences, transactions, durability (topics); which schemas records may name
//! (`validation`).
//! Invariants: appends are submitted before `start` returns, in request order. acks=all is answered once the log says
//! that the batches are durable, acks=1 once the kernel has them, acks=0 not at all: whoever asks for it waits for
//! nothing, hears of refusals by losing the connection, and is still held back by the limit on unsynced bytes.

mod validation;

use std::sync::Arc;

use ::access::{Operation, Resource};
use ::topics::{AppendError, Appended, PendingAppend, Terms, Until};
use bytes::Bytes;
use futures::FutureExt;
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::super::connection::Close;
use super::super::frame::Header;
use super::super::reply::Reply;
use super::super::session::Caller;
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
/// First version whose clients know TRANSACTION_ABORTABLE (KIP-890).
const ABORTABLE_SINCE: i16 = 11;

/// What became of one partition's batch.
enum Outcome {
    Pending(PendingAppend),
    Refused(Refusal),
}

#[derive(Clone)]
struct Refusal {
    code: Code,
    message: String,
    /// The bad records of the batch, counted from 0, with what is wrong with each.
    records: Vec<(i32, String)>,
}

impl Refusal {
    fn new(code: Code, message: &str) -> Self {
        Self { code, message: message.to_owned(), records: Vec::new() }
    }
}

/// What all batches of a request have in common.
struct Sent {
    version: i16,
    terms: Terms,
    refusal: Option<Refusal>,
}

/// A topic and its batches by partition, as they came.
struct Batches {
    name: String,
    allowed: bool,
    /// What the topic asks of schemas.
    rules: Option<validation::Rules>,
    partitions: Vec<(i32, Option<Bytes>)>,
}

/// A topic and what became of its batches.
struct TopicBatches {
    name: String,
    partitions: Vec<(i32, Outcome)>,
}

/// Submits the batches of a request.
pub(super) async fn start(
    caller: &Caller,
    broker: &Arc<Broker>,
    header: Header,
    request: ProduceRequest,
) -> Result<Answer, Close> {
    let acks = request.acks;
    let refusal = if !matches!(acks, -1..=1) {
        Some(Refusal::new(Code::InvalidRequiredAcks, &format!("acks={acks}: use 0, 1 or all")))
    } else {
        request.transactional_id.as_ref().and_then(|id| {
            let allowed = caller.may(Operation::Write, Resource::transactional_id(id));
            (!allowed).then(|| denied(Code::TransactionalIdAuthorizationFailed))
        })
    };
    let transactional_id = request.transactional_id.as_ref().map(|id| id.as_str().into());
    let batches = take_apart(caller, broker, request);
    let bytes =
        batches.iter().flat_map(|b| &b.partitions).map(|(_, b)| b.as_ref().map_or(0, Bytes::len)).sum();
    // The log keeps it until the batches are durable, so that no answer in line before this one keeps it longer.
    let hold = broker.unsynced.enter(bytes).await;
    let until = if acks == -1 { Until::Durable } else { Until::Written };
    let terms = Terms { until, transactional_id, hold: Some(Arc::new(hold)) };
    let sent = Sent { version: header.version, terms, refusal };
    let is_slow = |topic: &Batches| {
        topic.rules.is_some() || topic.partitions.iter().any(|(_, b)| is_compressed(b.as_ref()))
    };
    let topics = if batches.iter().any(is_slow) {
        // The log unpacks compressed batches to check them, and schemas are looked up for each record, which may take
        // longer than other connections should wait.
        let broker = Arc::clone(broker);
        super::off_thread(move || append_all(&broker, batches, &sent)).await?
    } else {
        append_all(broker, batches, &sent)
    };
    if acks == 0 {
        return unacknowledged(topics).map(|()| std::future::ready(Ok(None)).boxed());
    }
    Ok(async move { Ok(Some(Reply::encode(&header, &settle(topics).await)?)) }.boxed())
}

fn is_compressed(batch: Option<&Bytes>) -> bool {
    batch.and_then(|batch| batch.get(ATTRIBUTES_AT)).is_some_and(|attributes| attributes & CODEC != 0)
}

fn append_all(broker: &Broker, batches: Vec<Batches>, sent: &Sent) -> Vec<TopicBatches> {
    let topics = batches.into_iter().map(|Batches { name, allowed, rules, partitions }| {
        let outcomes = partitions.into_iter().map(|(partition, records)| {
            let outcome = match &sent.refusal {
                Some(refusal) => Outcome::Refused(refusal.clone()),
                None if !allowed => Outcome::Refused(denied(Code::TopicAuthorizationFailed)),
                None => append(broker, (&name, partition), rules, records, sent),
            };
            (partition, outcome)
        });
        TopicBatches { partitions: outcomes.collect(), name: name.clone() }
    });
    topics.collect()
}

/// Takes names and batches out of the decoded request and lets the rest go: a batch that is the last holder of its
/// frame is patched in place by the log instead of being copied.
fn take_apart(caller: &Caller, broker: &Broker, request: ProduceRequest) -> Vec<Batches> {
    let topics = request.topic_data.into_iter().map(|topic| {
        let partitions = topic.partition_data.into_iter().map(|p| (p.index, p.records));
        Batches {
            allowed: caller.may(Operation::Write, Resource::topic(&topic.name)),
            rules: broker.topics.topic(&topic.name).and_then(|info| validation::Rules::of(&info.config)),
            name: topic.name.to_string(),
            partitions: partitions.collect(),
        }
    });
    topics.collect()
}

fn denied(code: Code) -> Refusal {
    Refusal::new(code, &code.to_string())
}

fn append(
    broker: &Broker,
    (topic, partition): (&str, i32),
    rules: Option<validation::Rules>,
    records: Option<Bytes>,
    sent: &Sent,
) -> Outcome {
    let refused = |code, message| Outcome::Refused(Refusal::new(code, message));
    let Some(batch) = records.filter(|batch| !batch.is_empty()) else {
        return refused(Code::InvalidRecord, "no records were sent for this partition");
    };
    let attributes = batch.get(ATTRIBUTES_AT).copied().unwrap_or(0);
    if attributes & CODEC == ZSTD && sent.version < ZSTD_SINCE {
        return refused(
            Code::UnsupportedCompressionType,
            "zstd needs produce requests of version 7 or later",
        );
    }
    if attributes & TRANSACTIONAL != 0 && sent.terms.transactional_id.is_none() {
        return refused(
            Code::TransactionalIdAuthorizationFailed,
            "a transactional batch needs the transactional.id in its request",
        );
    }
    if let Some(refusal) = rules.and_then(|rules| validation::check(broker, rules, topic, &batch)) {
        return Outcome::Refused(refusal);
    }
    match broker.topics.append_on(sent.terms.clone(), topic, partition, batch) {
        Ok(pending) => Outcome::Pending(pending),
        Err(error) => {
            let mut refusal = failed(topic, partition, &error);
            if refusal.code == Code::InvalidTxnState && sent.version >= ABORTABLE_SINCE {
                refusal.code = Code::TransactionAbortable;
            }
            Outcome::Refused(refusal)
        }
    }
}

fn failed(topic: &str, partition: i32, error: &AppendError) -> Refusal {
    tracing::debug!(topic, partition, %error, "append refused");
    let message = base::fault::chain(error);
    let records = match error {
        AppendError::KeysMissing(records) => records.clone(),
        AppendError::InvalidRecord(_) => vec![0],
        _ => Vec::new(),
    };
    let records = records.into_iter().map(|record| (record, message.clone())).collect();
    Refusal { code: errors::append(error), message, records }
}

/// Waits for everything submitted.
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
        Err(Refusal { code, message, records }) => {
            // Clients fail these and send the others again, and print these messages rather than the batch's (KIP-467).
            let records = records.into_iter().map(|(record, wrong)| {
                BatchIndexAndErrorMessage::default()
                    .with_batch_index(record)
                    .with_batch_index_error_message(Some(text(wrong)))
            });
            let records = records.collect();
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

/// A producer with acks=0 hears of a refusal by losing its connection; nobody waits for the rest.
fn unacknowledged(topics: Vec<TopicBatches>) -> Result<(), Close> {
    let refused = topics.into_iter().find_map(|topic| {
        topic.partitions.into_iter().find_map(|(index, outcome)| match outcome {
            Outcome::Refused(refusal) => Some(format!("{}-{index}: {}", topic.name, refusal.message)),
            Outcome::Pending(_) => None,
        })
    });
    refused.map_or(Ok(()), |reason| Err(Close::Unacknowledged(reason)))
}
