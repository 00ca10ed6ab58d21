//! From acknowledged to visible in SQL.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};

use super::{Bench, Place, percentile, row};

const ROUNDS: i64 = 300;

/// Measures and prints.
pub fn run(bench: &Bench) -> Result<()> {
    let place = Place::new()?;
    let node = place.start(bench)?;
    let status = std::process::Command::new(&bench.program)
        .args(["topic", "create", "visible", "-p", "1", "-c", "redpanda.iceberg.mode=key_value"])
        .args(["--port-offset", &place.ports.offset.to_string()])
        .stdout(std::process::Stdio::null())
        .status()?;
    if !status.success() {
        bail!("cannot create the topic");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut times = runtime.block_on(rounds(&place))?;
    row(
        "acknowledged to visible in SQL, p50 / p99 (300 records, one at a time)",
        &format!(
            "{:.1} ms / {:.1} ms",
            percentile(&mut times, 0.5).as_secs_f64() * 1e3,
            percentile(&mut times, 0.99).as_secs_f64() * 1e3
        ),
    );
    node.stop()
}

async fn rounds(place: &Place) -> Result<Vec<Duration>> {
    let producer: FutureProducer =
        ClientConfig::new().set("bootstrap.servers", place.kafka()).set("linger.ms", "0").create()?;
    let config = format!("host=127.0.0.1 port={} user=bench dbname=frazil", place.ports.postgres());
    let (client, connection) = tokio_postgres::connect(&config, tokio_postgres::NoTls).await?;
    let connection = tokio::task::spawn(connection);
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let record: FutureRecord<'_, (), str> = FutureRecord::to("visible").payload("x");
        producer.send(record, Duration::from_secs(10)).await.map_err(|(error, _)| error)?;
        let acknowledged = Instant::now();
        loop {
            let rows = client.simple_query("SELECT count(*) FROM visible").await?;
            let count = rows.iter().find_map(|message| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            });
            if count.context("a count")?.parse::<i64>()? > round {
                break;
            }
        }
        times.push(acknowledged.elapsed());
    }
    connection.abort();
    Ok(times)
}
