//! From a topic full of JSON trades to a committed Iceberg snapshot, beside DuckDB's COPY of the same rows.

use std::io::{BufWriter, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

use super::{Bench, Place, median, row};
use crate::outside::python;
use crate::process::ProcessNode;

const RUNS: usize = 3;
const SCHEMA: &str = include_str!("../../../frazil/src/demo/trades.schema.json");

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
    let node = place.start(bench)?;
    let rows: Vec<String> =
        frazil::demo::trades::Trades::seeded(42).take(bench.trades as usize).map(|t| t.json()).collect();
    let bytes: usize = rows.iter().map(|r| r.len() + 1).sum();
    let file = place.root.join("trades.ndjson");
    let mut out = BufWriter::new(std::fs::File::create(&file)?);
    for line in &rows {
        writeln!(out, "{line}")?;
    }
    out.flush()?;
    drop(out);

    let mut ours = Vec::new();
    for run in 0..RUNS {
        ours.push(one_run(bench, &place, &node, &format!("trades{run}"), &rows)?);
    }
    node.stop()?;
    drop(rows);
    let report = |name: &str, time: Duration| {
        let seconds = time.as_secs_f64();
        row(
            name,
            &format!(
                "{:.2} M rows/s, {:.0} MB/s",
                bench.trades as f64 / seconds / 1e6,
                bytes as f64 / seconds / 1e6
            ),
        );
    };
    let ours = median(&mut ours);
    report(&format!("{} JSON trades, topic to committed snapshot (median of {RUNS})", bench.trades), ours);
    for threads in ["1", "2"] {
        let target = place.root.join("peer.parquet").display().to_string();
        let text = python("peer_copy.py", &[&file.display().to_string(), &target, "3", threads], "")?;
        let mut times: Vec<Duration> =
            text.lines().filter_map(|line| line.parse().ok()).map(Duration::from_secs_f64).collect();
        let peer = median(&mut times);
        report(
            &format!("the same rows, DuckDB COPY (FROM read_json) TO parquet (zstd), {threads} thread(s)"),
            peer,
        );
        row(
            &format!("ratio to DuckDB on {threads} thread(s)"),
            &format!("{:.2}", peer.as_secs_f64() / ours.as_secs_f64()),
        );
    }
    Ok(())
}

/// Fills a topic whose table waits for its schema, registers the schema, and waits until everything is committed.
fn one_run(
    bench: &Bench,
    place: &Place,
    node: &ProcessNode,
    topic: &str,
    rows: &[String],
) -> Result<Duration> {
    let mode = "redpanda.iceberg.mode=value_schema_latest";
    frazil(bench, place, &["topic", "create", topic, "-p", "3", "-c", mode])?;
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", place.kafka())
        .set("linger.ms", "5")
        .set("queue.buffering.max.messages", "1000000")
        .create()?;
    for (number, value) in rows.iter().enumerate() {
        let mut record = BaseRecord::<(), str>::to(topic).payload(value).partition((number % 3) as i32);
        while let Err((error, back)) = producer.send(record) {
            if !matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) {
                bail!(error);
            }
            std::thread::sleep(Duration::from_millis(1));
            record = back;
        }
    }
    producer.flush(Duration::from_secs(120))?;
    let begun = Instant::now();
    node.register_schema(&format!("{topic}-value"), SCHEMA)?;
    node.wait_until_committed(topic, Duration::from_secs(300))?;
    let taken = begun.elapsed();
    let records = node.table_status(topic)?["records"].as_u64().context("records")?;
    if records != rows.len() as u64 {
        bail!("{records} of {} rows are in the table", rows.len());
    }
    frazil(bench, place, &["topic", "delete", topic])?;
    Ok(taken)
}
