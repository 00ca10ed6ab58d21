//! One librdkafka producer, 1 KiB values, acks=all, fsync on.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};

use super::{Bench, Place, percentile, row};
use crate::random::Random;

const VALUE_BYTES: usize = 1024;
const RECORDS: u64 = 400_000;
const PACED_SECONDS: u64 = 8;

/// Collects how long each acknowledgement took.
#[derive(Clone, Default)]
pub(super) struct Acks(pub(super) Arc<Mutex<(Vec<Duration>, u64)>>);

impl ClientContext for Acks {}

impl ProducerContext for Acks {
    type DeliveryOpaque = Box<Instant>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Box<Instant>) {
        let Ok(mut acks) = self.0.lock() else { return };
        match result {
            Ok(_) => acks.0.push(sent.elapsed()),
            Err(_) => acks.1 += 1,
        }
    }
}

pub(super) fn producer(address: &str, linger_ms: &str) -> Result<(ThreadedProducer<Acks>, Acks)> {
    let acks = Acks::default();
    let producer = ClientConfig::new()
        .set("bootstrap.servers", address)
        .set("acks", "all")
        .set("linger.ms", linger_ms)
        .set("batch.size", "1000000")
        .set("queue.buffering.max.kbytes", "262144")
        .set("queue.buffering.max.messages", "1000000")
        .create_with_context(acks.clone())?;
    Ok((producer, acks))
}

/// Sends, waiting while the client's queue is full.
pub(super) fn send(producer: &ThreadedProducer<Acks>, topic: &str, value: &[u8]) -> Result<()> {
    let mut record = BaseRecord::<(), [u8], Box<Instant>>::with_opaque_to(topic, Box::new(Instant::now()))
        .payload(value)
        .partition(0);
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                std::thread::sleep(Duration::from_millis(1));
                record = back;
            }
            Err((error, _)) => bail!(error),
        }
    }
}

/// Measures and prints.
pub fn run(bench: &Bench) -> Result<()> {
    let place = Place::new()?;
    let node = place.start(bench)?;
    let status = std::process::Command::new(&bench.program)
        .args(["topic", "create", "bench", "-p", "1", "--port-offset", &place.ports.offset.to_string()])
        .stdout(std::process::Stdio::null())
        .status()?;
    if !status.success() {
        bail!("cannot create the topic");
    }
    let mut random = Random(1);
    let value: Vec<u8> = (0..VALUE_BYTES).map(|_| random.next_u64() as u8).collect();

    let (client, acks) = producer(&place.kafka(), "5")?;
    let begun = Instant::now();
    for _ in 0..RECORDS {
        send(&client, "bench", &value)?;
    }
    client.flush(Duration::from_secs(120))?;
    let seconds = begun.elapsed().as_secs_f64();
    let failed = acks.0.lock().map(|a| a.1).unwrap_or_default();
    let rate = RECORDS as f64 / seconds;
    let megabytes = rate * VALUE_BYTES as f64 / 1e6;
    row(
        "produce, one librdkafka producer, 1 KiB, acks=all, fsync",
        &format!("{megabytes:.0} MB/s ({rate:.0} records/s, {failed} failed)"),
    );

    let (client, acks) = producer(&place.kafka(), "1")?;
    let half = rate / 2.0;
    let begun = Instant::now();
    let total = (half * PACED_SECONDS as f64) as u64;
    for number in 0..total {
        send(&client, "bench", &value)?;
        let ahead = number as f64 / half - begun.elapsed().as_secs_f64();
        if ahead > 0.001 {
            std::thread::sleep(Duration::from_secs_f64(ahead));
        }
    }
    client.flush(Duration::from_secs(60))?;
    let mut times = acks.0.lock().ok().context("acks")?.0.clone();
    row(
        "acknowledgement at half of that, p50 / p99",
        &format!(
            "{:.1} ms / {:.1} ms",
            percentile(&mut times, 0.5).as_secs_f64() * 1e3,
            percentile(&mut times, 0.99).as_secs_f64() * 1e3
        ),
    );
    node.stop()
}
