//! Real producers, and the same rows through every door, read by programs that nobody here wrote.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use testkit::outside::{kcat, psql, python};
use testkit::random::Random;

use crate::world::World;

const SCHEMA: &str = include_str!("../../../frazil/src/demo/trades.schema.json");

/// `count` trades, one JSON object a line, from a seed.
fn trades(seed: u64, count: usize) -> String {
    let mut random = Random(seed);
    let mut lines = String::new();
    for _ in 0..count {
        let id = uuid::Builder::from_random_bytes(
            [random.next_u64().to_le_bytes(), random.next_u64().to_le_bytes()]
                .concat()
                .try_into()
                .unwrap_or_default(),
        )
        .into_uuid();
        let symbol = ["AAPL", "BRK.B", "Zürich", "株"][random.below(4) as usize];
        let price = (5000 + random.below(44_996)) as f64 / 100.0;
        let notes = match random.below(3) {
            0 => String::new(),
            1 => r#","notes":null"#.to_owned(),
            _ => format!(r#","notes":"a \"quoted\" \\ line\n{}""#, random.below(1000)),
        };
        lines.push_str(&format!(
            r#"{{"trade_id":"{id}","symbol":"{symbol}","price":{price},"qty":{},"side":"{}","ts_event":"2026-01-{:02}T09:30:{:02}.{:06}Z"{notes}}}"#,
            1 + random.below(1000),
            ["BUY", "SELL"][random.below(2) as usize],
            1 + random.below(28),
            random.below(60),
            random.below(1_000_000),
        ));
        lines.push('\n');
    }
    lines
}

/// The sorted lines of a reader.
fn rows(world: &World, reader: &str) -> Result<Vec<String>> {
    let ports = world.ports;
    let text = python(
        "judge.py",
        &[
            reader,
            "--kafka-port",
            &ports.kafka().to_string(),
            "--catalog-port",
            &ports.catalog().to_string(),
            "--postgres-port",
            &ports.postgres().to_string(),
        ],
        "",
    )?;
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort();
    Ok(lines)
}

#[test]
fn every_client_finds_the_same_rows() -> Result<()> {
    let world = World::new("round-trip")?;
    let node = world.start()?;
    // No commit comes by age during the test: first everything is hot.
    world.create_table_topic("trades", 3, 3_600_000)?;
    node.register_schema("trades-value", SCHEMA)?;
    let address = format!("127.0.0.1:{}", world.ports.kafka());
    let port = world.ports.kafka().to_string();
    let mut total = 0;
    for (seed, codec) in ["none", "gzip", "snappy", "lz4", "zstd"].into_iter().enumerate() {
        for client in ["confluent", "kafka-python"] {
            let args = ["--kafka-port", &port, "--topic", "trades", "--codec", codec, "--client", client];
            python(
                "produce.py",
                &args,
                &trades(seed as u64 + if client == "confluent" { 0 } else { 100 }, 100),
            )?;
            total += 100;
        }
        kcat(
            &["-b", &address, "-t", "trades", "-P", "-z", codec, "-X", "acks=all"],
            &trades(seed as u64 + 200, 100),
        )?;
        total += 100;
    }

    let log = rows(&world, "confluent")?;
    ensure!(log.len() == total, "{} of {total} records in the log", log.len());
    ensure!(log.iter().collect::<BTreeSet<_>>().len() == total, "rows repeat");
    ensure!(node.table_status("trades")?["snapshots"] == 0, "committed too early");
    ensure!(rows(&world, "psycopg")? == log, "psycopg before the first commit differs from the log");

    node.wait_until_committed("trades", Duration::from_secs(60))?;
    for reader in ["kafka_python", "pyiceberg", "duckdb", "psycopg"] {
        let found = rows(&world, reader)?;
        ensure!(found.len() == total, "{reader} finds {} of {total} rows", found.len());
        ensure!(found == log, "{reader} differs from the log");
    }

    // Half hot, half cold.
    let args = ["--kafka-port", &port, "--topic", "trades"];
    python("produce.py", &args, &trades(300, 50))?;
    ensure!(
        rows(&world, "psycopg")? == rows(&world, "confluent")?,
        "hot and cold together differ from the log"
    );

    let listed = psql(world.ports.postgres(), &["-c", "\\dt"])?;
    ensure!(listed.contains("trades"), "\\dt: {listed}");
    let described = psql(world.ports.postgres(), &["-c", "\\d trades"])?;
    ensure!(
        described.contains("ts_event") && described.contains("timestamp with time zone"),
        "\\d: {described}"
    );
    let kcat_count =
        kcat(&["-b", &address, "-t", "trades", "-C", "-o", "beginning", "-e", "-q", "-f", "%o\n"], "")?;
    ensure!(kcat_count.lines().count() == total + 50, "kcat reads {} records", kcat_count.lines().count());
    node.stop()
}

#[test]
fn records_that_do_not_fit_go_to_the_dead_letter_table() -> Result<()> {
    let world = World::new("dead-letters")?;
    let node = world.start()?;
    world.create_table_topic("trades", 1, 3_600_000)?;
    node.register_schema("trades-value", SCHEMA)?;
    let mut lines = trades(1, 5);
    lines.push_str("not json at all\n");
    lines.push_str(&trades(2, 5));
    lines.push_str("{\"trade_id\": 7}\n");
    python("produce.py", &["--kafka-port", &world.ports.kafka().to_string(), "--topic", "trades"], &lines)?;
    node.wait_until_committed("trades", Duration::from_secs(60))?;
    let count = |table: &str| {
        world.frazil(&["sql", "-o", "csv", "-c", &format!("SELECT count(*) AS n FROM \"{table}\"")])
    };
    ensure!(count("trades")?.trim() == "n\n10", "{}", count("trades")?);
    ensure!(count("trades~dlq")?.trim() == "n\n2", "{}", count("trades~dlq")?);
    let table = node.table_status("trades")?;
    ensure!(table["dead_letters"] == 2, "{table}");
    let why = world.frazil(&[
        "sql",
        "-o",
        "csv",
        "-c",
        "SELECT (error).message FROM \"trades~dlq\" ORDER BY (redpanda).offset",
    ])?;
    ensure!(why.contains("trade_id"), "{why}");
    node.stop()
}
