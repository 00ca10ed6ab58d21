//! From a topic full of trades, as JSON and as Avro, to a committed Iceberg snapshot, beside DuckDB's COPY and PyIceberg's
//! append of the same rows.

use std::io::{BufWriter, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use frazil::demo::trades::{Trade, Trades};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

use super::{Bench, Place, median, row};
use crate::outside::python;
use crate::process::ProcessNode;

const RUNS: usize = 3;
const JSON_SCHEMA: &str = include_str!("../../../frazil/src/demo/trades.schema.json");
const AVRO_SCHEMA: &str = r#"{"type":"record","name":"trade","fields":[
    {"name":"trade_id","type":"string"},{"name":"symbol","type":"string"},{"name":"price","type":"double"},
    {"name":"qty","type":"long"},{"name":"side","type":"string"},
    {"name":"ts_event","type":{"type":"long","logicalType":"timestamp-micros"}},
    {"name":"notes","type":["null","string"],"default":null}]}"#;

/// What the values of a topic are.
#[derive(Debug, Clone, Copy)]
enum Format {
    Json,
    Avro,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Avro => "AVRO",
        }
    }

    fn schema(self) -> &'static str {
        match self {
            Self::Json => JSON_SCHEMA,
            Self::Avro => AVRO_SCHEMA,
        }
    }

    fn encode(self, trade: &Trade) -> Vec<u8> {
        match self {
            Self::Json => trade.json().into_bytes(),
            Self::Avro => avro(trade),
        }
    }
}

/// The binary encoding of `AVRO_SCHEMA`.
fn avro(trade: &Trade) -> Vec<u8> {
    fn long(out: &mut Vec<u8>, value: i64) {
        let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
        while rest >= 0x80 {
            out.push((rest as u8) | 0x80);
            rest >>= 7;
        }
        out.push(rest as u8);
    }
    fn string(out: &mut Vec<u8>, text: &str) {
        long(out, text.len() as i64);
        out.extend_from_slice(text.as_bytes());
    }
    let mut out = Vec::with_capacity(80);
    string(&mut out, &trade.trade_id.to_string());
    string(&mut out, trade.symbol);
    out.extend_from_slice(&(trade.price_cents as f64 / 100.0).to_le_bytes());
    long(&mut out, trade.qty.cast_signed());
    string(&mut out, trade.side);
    long(&mut out, trade.ts_event_us);
    long(&mut out, i64::from(trade.notes.is_some()));
    if let Some(notes) = trade.notes {
        string(&mut out, notes);
    }
    out
}

/// One figure of a run.
#[derive(Debug, Clone, Copy)]
struct Taken {
    wall: Duration,
    /// Processor time of the node.
    processor: Duration,
}

fn frazil(bench: &Bench, place: &Place, args: &[&str]) -> Result<()> {
    let output = Command::new(&bench.program)
        .args(args)
        .args(["--port-offset", &place.ports.offset.to_string()])
        .output()?;
    if !output.status.success() {
        bail!("{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// Measures and prints.
pub fn run(bench: &Bench) -> Result<()> {
    let place = Place::new()?;
    let file = place.root.join("trades.ndjson");
    let mut out = BufWriter::new(std::fs::File::create(&file)?);
    for trade in trades(bench) {
        writeln!(out, "{}", trade.json())?;
    }
    out.flush()?;
    drop(out);
    // The peers first: nothing else runs then.
    let peers = peers(bench, &place, &file.display().to_string())?;

    let node = place.start(bench)?;
    let mut runs = 0;
    for cores in [1, 2] {
        for format in [Format::Json, Format::Avro] {
            let values: Vec<Vec<u8>> = trades(bench).map(|trade| format.encode(&trade)).collect();
            let bytes: usize = values.iter().map(|value| value.len() + 1).sum();
            let mut taken = Vec::new();
            for _ in 0..RUNS {
                runs += 1;
                taken.push(one_run(bench, &place, &node, &format!("trades{runs}"), format, &values, cores)?);
            }
            report(bench, &peers, format, cores, bytes, &mut taken);
        }
    }
    node.stop()
}

fn trades(bench: &Bench) -> impl Iterator<Item = Trade> + use<> {
    Trades::seeded(42).take(usize::try_from(bench.trades).unwrap_or(usize::MAX))
}

/// Medians of the peers.
struct Peers {
    /// By cores: one, two.
    duckdb: [Duration; 2],
    pyiceberg: Duration,
}

fn peers(bench: &Bench, place: &Place, file: &str) -> Result<Peers> {
    let rate = |time: Duration| format!("{:.2} M rows/s", bench.trades as f64 / time.as_secs_f64() / 1e6);
    let times = |text: String| -> Vec<Duration> {
        text.lines().filter_map(|line| line.parse().ok()).map(Duration::from_secs_f64).collect()
    };
    let mut duckdb = [Duration::ZERO; 2];
    for (threads, slot) in ["1", "2"].iter().zip(&mut duckdb) {
        let target = place.root.join("peer.parquet").display().to_string();
        let text = python("peer_copy.py", &[file, &target, "3", threads], "")?;
        *slot = median(&mut times(text));
        let what = "DuckDB COPY (FROM read_json) TO parquet (zstd)";
        row(&format!("{} JSON trades, {what}, {threads} thread(s)", bench.trades), &rate(*slot));
    }
    let warehouse = place.root.join("peer").display().to_string();
    let pyiceberg = median(&mut times(python("peer_append.py", &[file, &warehouse, "10000"], "")?));
    row("the same rows, parsed before: PyIceberg append per 10,000", &rate(pyiceberg));
    Ok(Peers { duckdb, pyiceberg })
}

fn report(bench: &Bench, peers: &Peers, format: Format, cores: usize, bytes: usize, taken: &mut [Taken]) {
    taken.sort_by_key(|taken| taken.wall);
    let Some(middle) = taken.get(taken.len() / 2) else { return };
    let (rows, wall) = (bench.trades as f64 / 1e6, middle.wall.as_secs_f64());
    let what = format!("{} trades, topic to committed snapshot, {cores} core(s)", format.name());
    let figure = format!(
        "{:.2} M rows/s, {:.0} MB/s, {:.2} M rows per processor second",
        rows / wall,
        bytes as f64 / wall / 1e6,
        rows / middle.processor.as_secs_f64()
    );
    row(&format!("{what} (median of {RUNS})"), &figure);
    let duckdb = peers.duckdb.get(cores - 1).copied().unwrap_or_default();
    let ratio = |peer: Duration| peer.as_secs_f64() / wall;
    row(
        "ratio to DuckDB's COPY of JSON, to PyIceberg's append",
        &format!("{:.2}, {:.1}", ratio(duckdb), ratio(peers.pyiceberg)),
    );
}

/// Fills a topic whose table waits for its schema, registers the schema, and waits until everything is committed.
fn one_run(
    bench: &Bench,
    place: &Place,
    node: &ProcessNode,
    topic: &str,
    format: Format,
    values: &[Vec<u8>],
    cores: usize,
) -> Result<Taken> {
    let mode = "redpanda.iceberg.mode=value_schema_latest";
    frazil(bench, place, &["topic", "create", topic, "-p", "3", "-c", mode])?;
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", place.kafka())
        .set("linger.ms", "5")
        .set("queue.buffering.max.messages", "1000000")
        .create()?;
    for (number, value) in values.iter().enumerate() {
        let mut record = BaseRecord::<(), [u8]>::to(topic).payload(value).partition((number % 3) as i32);
        while let Err((error, back)) = producer.send(record) {
            if !matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) {
                bail!(error);
            }
            std::thread::sleep(Duration::from_millis(1));
            record = back;
        }
    }
    producer.flush(Duration::from_secs(120))?;
    node.run_on_cores(cores)?;
    let (begun, processor) = (Instant::now(), node.processor_time()?);
    node.register(&format!("{topic}-value"), format.name(), format.schema())?;
    node.wait_until_committed(topic, Duration::from_secs(300))?;
    let taken = Taken { wall: begun.elapsed(), processor: node.processor_time()?.saturating_sub(processor) };
    node.run_on_cores(2)?;
    let records = node.table_status(topic)?["records"].as_u64().context("records")?;
    if records != values.len() as u64 {
        bail!("{records} of {} rows are in the table", values.len());
    }
    frazil(bench, place, &["topic", "delete", topic])?;
    Ok(taken)
}
