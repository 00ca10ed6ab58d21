//! The log as a Kafka broker beside Apache Kafka: the same loads by the same client, one broker after the other.
//!
//! Owns: the loads and the table of figures.
//! Does not own: the brokers (`peers`), targets (docs/benchmarks.md).

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::Producer;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::peers::{Peer, Running, producer_perf_test};
use super::percentile;
use super::produce::{producer, send};
use crate::random::Random;

const SMALL: (usize, u64) = (100, 2_000_000);
const LARGE: (usize, u64) = (1024, 500_000);
/// Records a second, and seconds, of the loads that measure latency. A peer that does not sustain the rate shows its queue.
const PACED: (u64, u64) = (2_000, 10);
const FLUSH: Duration = Duration::from_secs(300);

/// One row of the table: what, and a figure of each peer.
type Rows = Vec<(String, Vec<String>)>;

/// Measures all peers and prints the table.
pub fn run(program: &Path, jars: &Path) -> Result<()> {
    let peers = [
        Peer::Frazil(program.to_owned()),
        Peer::Kafka { jars: jars.to_owned(), fsync: true },
        Peer::Kafka { jars: jars.to_owned(), fsync: false },
    ];
    let mut rows = Rows::new();
    for peer in &peers {
        eprintln!("-- {}", peer.name());
        let root = std::env::temp_dir().join(format!("frazil-bench-{}", uuid::Uuid::new_v4()));
        let measured = Measured { jars: jars.to_owned(), rows: &mut rows }.all(peer, &root);
        let _ = std::fs::remove_dir_all(&root);
        measured.with_context(|| peer.name())?;
    }
    println!("| what | {} |", peers.iter().map(Peer::name).collect::<Vec<_>>().join(" | "));
    println!("|---|{}", "---|".repeat(peers.len()));
    for (what, figures) in rows {
        println!("| {what} | {} |", figures.join(" | "));
    }
    Ok(())
}

struct Measured<'a> {
    jars: PathBuf,
    rows: &'a mut Rows,
}

impl Measured<'_> {
    fn note(&mut self, what: &str, figure: String) {
        eprintln!("   {what}: {figure}");
        match self.rows.iter_mut().find(|(known, _)| known == what) {
            Some((_, figures)) => figures.push(figure),
            None => self.rows.push((what.to_owned(), vec![figure])),
        }
    }

    fn all(&mut self, peer: &Peer, root: &Path) -> Result<()> {
        let broker = Running::start(peer, root)?;
        self.note("start to first answer", format!("{} ms", broker.ready_after.as_millis()));
        std::thread::sleep(Duration::from_secs(2));
        self.note("memory, idle (RSS)", mebibytes(broker.resident_bytes()?));
        for (name, (bytes, records)) in [("100 B", SMALL), ("1 KiB", LARGE)] {
            let topic = format!("produce-{bytes}");
            create(&broker, &topic)?;
            // The first round warms what compiles while it runs.
            produce(&broker, &topic, bytes, records / 5)?;
            let cpu = broker.cpu()?;
            let seconds = produce(&broker, &topic, bytes, records)?;
            let used = (broker.cpu()? - cpu).as_secs_f64();
            let rate = records as f64 / seconds;
            self.note(
                &format!("produce {name}, acks=all"),
                format!("{:.0} k/s, {:.0} MB/s", rate / 1e3, rate * bytes as f64 / 1e6),
            );
            self.note(
                &format!("broker CPU for a million records of {name}"),
                format!("{:.2} s", used / (records as f64 / 1e6)),
            );
        }
        self.latency(&broker)?;
        let topic = format!("produce-{}", LARGE.0);
        let (bytes, seconds) = read_all(&broker, &topic)?;
        self.note("read from the beginning, 1 KiB", format!("{:.0} MB/s", bytes as f64 / seconds / 1e6));
        create(&broker, "perf-test")?;
        let line = producer_perf_test(&self.jars, &broker.bootstrap(), "perf-test", LARGE.1, LARGE.0)?;
        self.note("kafka-producer-perf-test, 1 KiB, acks=all", shorten(&line));
        self.note("memory after all this (RSS)", mebibytes(broker.resident_bytes()?));
        Ok(())
    }

    /// Paced records: how long the acknowledgement takes, and how long until a waiting consumer has the record.
    fn latency(&mut self, broker: &Running) -> Result<()> {
        create(broker, "paced")?;
        let (rate, seconds) = PACED;
        let total = rate * seconds;
        let bootstrap = broker.bootstrap();
        let reader = std::thread::spawn(move || tail(&bootstrap, total));
        std::thread::sleep(Duration::from_secs(1));
        let (client, acks) = producer(&broker.bootstrap(), "0")?;
        let begun = Instant::now();
        for number in 0..total {
            let due = Duration::from_secs_f64(number as f64 / rate as f64);
            if let Some(ahead) = due.checked_sub(begun.elapsed()) {
                std::thread::sleep(ahead);
            }
            let mut value = vec![7; LARGE.0];
            value[..16].copy_from_slice(&since_epoch().as_nanos().to_be_bytes());
            send(&client, "paced", &value)?;
        }
        client.flush(FLUSH)?;
        let mut acked = acks.0.lock().ok().context("acks")?.0.clone();
        let mut read = reader.join().map_err(|_| anyhow::anyhow!("the consumer panicked"))??;
        let what = format!("at {rate} records/s of 1 KiB");
        self.note(&format!("acknowledgement {what}, p50 / p99 / p99.9"), three(&mut acked));
        self.note(&format!("produced to consumed {what}, p50 / p99 / p99.9"), three(&mut read));
        Ok(())
    }
}

fn since_epoch() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}

fn three(times: &mut [Duration]) -> String {
    let mut at = |share| percentile(times, share).as_secs_f64() * 1e3;
    format!("{:.1} / {:.1} / {:.1} ms", at(0.5), at(0.99), at(0.999))
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

/// Of the line of kafka-producer-perf-test: rate, median, 99th and 99.9th percentile.
fn shorten(line: &str) -> String {
    let keep = |part: &&str| ["MB/sec", "50th", "99th", "99.9th"].iter().any(|word| part.contains(word));
    line.split(", ").filter(keep).collect::<Vec<_>>().join(", ").trim_end_matches('.').to_owned()
}

fn create(broker: &Running, topic: &str) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", broker.bootstrap()).create()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let new = [NewTopic::new(topic, 1, TopicReplication::Fixed(1))];
    let made = runtime.block_on(admin.create_topics(&new, &AdminOptions::new()))?;
    for outcome in made {
        outcome.map_err(|(topic, code)| anyhow::anyhow!("cannot create {topic}: {code}"))?;
    }
    // The peer tells clients of a new topic a little later.
    std::thread::sleep(Duration::from_millis(500));
    Ok(())
}

/// Produces as fast as one client can; seconds until the last acknowledgement.
fn produce(broker: &Running, topic: &str, bytes: usize, records: u64) -> Result<f64> {
    let (client, acks) = producer(&broker.bootstrap(), "5")?;
    let mut random = Random(1);
    let value: Vec<u8> = (0..bytes).map(|_| random.next_u64() as u8).collect();
    let begun = Instant::now();
    for _ in 0..records {
        send(&client, topic, &value)?;
    }
    client.flush(FLUSH)?;
    let seconds = begun.elapsed().as_secs_f64();
    let failed = acks.0.lock().ok().context("acks")?.1;
    if failed > 0 {
        bail!("{failed} of {records} records were not acknowledged");
    }
    Ok(seconds)
}

fn consumer(bootstrap: &str, topic: &str) -> Result<BaseConsumer> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("queued.min.messages", "1000000")
        .create()?;
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(topic, 0, Offset::Beginning)?;
    consumer.assign(&from)?;
    Ok(consumer)
}

/// Reads a whole topic: bytes of values, seconds.
fn read_all(broker: &Running, topic: &str) -> Result<(u64, f64)> {
    let consumer = consumer(&broker.bootstrap(), topic)?;
    let (_, end) = consumer.fetch_watermarks(topic, 0, Duration::from_secs(10))?;
    let begun = Instant::now();
    let mut bytes = 0;
    loop {
        let Some(message) = consumer.poll(Duration::from_secs(30)) else { bail!("nothing more comes") };
        let message = message?;
        bytes += message.payload().map_or(0, <[u8]>::len) as u64;
        if message.offset() + 1 >= end {
            return Ok((bytes, begun.elapsed().as_secs_f64()));
        }
    }
}

/// Reads `total` records as they come; how old each was.
fn tail(bootstrap: &str, total: u64) -> Result<Vec<Duration>> {
    let consumer = consumer(bootstrap, "paced")?;
    let mut ages = Vec::with_capacity(total as usize);
    while (ages.len() as u64) < total {
        let Some(message) = consumer.poll(Duration::from_secs(30)) else { bail!("nothing more comes") };
        let message = message?;
        let stamp = message.payload().and_then(|v| v.first_chunk::<16>()).context("a stamp")?;
        let sent = u128::from_be_bytes(*stamp);
        ages.push(Duration::from_nanos(since_epoch().as_nanos().saturating_sub(sent) as u64));
    }
    Ok(ages)
}
