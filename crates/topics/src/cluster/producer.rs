//! Records into a cluster.
//!
//! Owns: acks=all, back-pressure when librdkafka's queue is full, counting of acknowledgements.
//! Does not own: what the records hold.
//! Invariants: `flush` returns only when every record sent before it is acknowledged or failed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base::{Offset, PartitionId};
use bytes::Bytes;
use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode as Code;

use super::{ClusterClient, ClusterError, blocking};

/// How batches are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Compression {
    /// Kafka's name for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// Settings of a producer.
#[derive(Debug, Clone, PartialEq)]
pub struct ProducerSettings {
    pub compression: Compression,
    /// Broker and client drop what a retry would double (`enable.idempotence`).
    pub idempotent: bool,
    /// How long a batch waits to fill.
    pub linger: Duration,
    /// Largest batch, bytes.
    pub batch_bytes: usize,
    /// Most bytes waiting in the client.
    pub queue_bytes: usize,
    /// Most records waiting in the client.
    pub queue_records: usize,
    /// A record that is not acknowledged within this time has failed.
    pub delivery_timeout: Duration,
}

impl Default for ProducerSettings {
    fn default() -> Self {
        Self {
            compression: Compression::None,
            idempotent: true,
            linger: Duration::from_millis(5),
            batch_bytes: 1_000_000,
            queue_bytes: 64 << 20,
            queue_records: 100_000,
            delivery_timeout: Duration::from_secs(60),
        }
    }
}

/// A record to be sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProduceRecord {
    /// None: by the hash of the key (murmur2, as the Java client does it), any when there is no key.
    pub partition: Option<PartitionId>,
    pub key: Option<Bytes>,
    /// None: a tombstone.
    pub value: Option<Bytes>,
    pub headers: Vec<(String, Option<Bytes>)>,
    /// Milliseconds since 1970-01-01 UTC; the client's clock when none.
    pub timestamp_ms: Option<i64>,
}

/// What has become of the records so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delivered {
    pub acknowledged: u64,
    pub failed: u64,
    /// Of the first failure.
    pub first_error: Option<String>,
    /// Last acknowledged offset of each partition.
    pub last_offsets: BTreeMap<PartitionId, Offset>,
}

#[derive(Debug, Default)]
struct Deliveries(Mutex<Delivered>);

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        let mut delivered = self.0.lock();
        match result {
            Ok(message) => {
                delivered.acknowledged += 1;
                delivered.last_offsets.insert(message.partition(), message.offset());
            }
            Err((error, _)) => {
                delivered.failed += 1;
                delivered.first_error.get_or_insert_with(|| error.to_string());
            }
        }
    }
}

/// A producer with its own thread for acknowledgements. Clones share it.
#[derive(Clone)]
pub struct Producer {
    inner: Arc<ThreadedProducer<Deliveries>>,
    bootstrap: Arc<str>,
    delivery_timeout: Duration,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").field("bootstrap", &self.bootstrap).finish_non_exhaustive()
    }
}

impl Producer {
    pub(super) fn open(client: &ClusterClient, settings: ProducerSettings) -> Result<Self, ClusterError> {
        let inner = client
            .config()
            .set("acks", "all")
            .set("partitioner", "murmur2_random")
            .set("enable.idempotence", settings.idempotent.to_string())
            .set("compression.type", settings.compression.as_str())
            .set("linger.ms", settings.linger.as_millis().to_string())
            .set("batch.size", settings.batch_bytes.to_string())
            .set("queue.buffering.max.kbytes", (settings.queue_bytes / 1024).max(1).to_string())
            .set("queue.buffering.max.messages", settings.queue_records.max(1).to_string())
            .set("message.timeout.ms", settings.delivery_timeout.as_millis().to_string())
            .create_with_context(Deliveries::default())
            .map_err(|e| client.failed(e))?;
        Ok(Self {
            inner: Arc::new(inner),
            bootstrap: client.bootstrap().into(),
            delivery_timeout: settings.delivery_timeout,
        })
    }

    /// Queues records, waiting while the queue is full. Acknowledgements come later: see [`Producer::flush`].
    pub async fn send(&self, topic: &str, records: Vec<ProduceRecord>) -> Result<(), ClusterError> {
        let (producer, topic) = (self.clone(), topic.to_owned());
        blocking(move || records.iter().try_for_each(|record| producer.send_blocking(&topic, record))).await
    }

    /// Waits for all acknowledgements and returns the counts; an error when records failed or the time is over.
    pub async fn flush(&self) -> Result<Delivered, ClusterError> {
        let producer = self.clone();
        blocking(move || {
            let limit = producer.delivery_timeout + Duration::from_secs(1);
            producer.inner.flush(limit).map_err(|e| ClusterError::from_kafka(e, &producer.bootstrap))?;
            let mut delivered = producer.delivered();
            // Records that wait when a producer must give up are told only that they were purged.
            if let (Some(first), Some((_, reason))) =
                (&mut delivered.first_error, producer.inner.client().fatal_error())
            {
                *first = reason;
            }
            match &delivered.first_error {
                None => Ok(delivered),
                Some(first) => Err(ClusterError::Undelivered {
                    sent: delivered.acknowledged + delivered.failed,
                    failed: delivered.failed,
                    first: first.clone(),
                }),
            }
        })
        .await
    }

    /// What has become of the records so far.
    pub fn delivered(&self) -> Delivered {
        self.inner.context().0.lock().clone()
    }

    fn send_blocking(&self, topic: &str, record: &ProduceRecord) -> Result<(), ClusterError> {
        let started = Instant::now();
        let mut queued = base_record(topic, record);
        loop {
            match self.inner.send(queued) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(Code::QueueFull), back)) => {
                    if started.elapsed() > self.delivery_timeout {
                        return Err(ClusterError::QueueFull { seconds: self.delivery_timeout.as_secs() });
                    }
                    std::thread::sleep(Duration::from_millis(2));
                    queued = back;
                }
                Err((error, _)) => return Err(ClusterError::from_kafka(error, &self.bootstrap)),
            }
        }
    }
}

fn base_record<'a>(topic: &'a str, record: &'a ProduceRecord) -> BaseRecord<'a, [u8], [u8]> {
    let mut out = BaseRecord::to(topic);
    if let Some(partition) = record.partition {
        out = out.partition(partition);
    }
    if let Some(key) = &record.key {
        out = out.key(&key[..]);
    }
    if let Some(value) = &record.value {
        out = out.payload(&value[..]);
    }
    if let Some(timestamp) = record.timestamp_ms {
        out = out.timestamp(timestamp);
    }
    if !record.headers.is_empty() {
        let headers = record
            .headers
            .iter()
            .fold(OwnedHeaders::new_with_capacity(record.headers.len()), |headers, (key, value)| {
                headers.insert(Header { key, value: value.as_deref() })
            });
        out = out.headers(headers);
    }
    out
}
