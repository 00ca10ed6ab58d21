//! Other engines write through the REST catalog, and the tables of topics go on.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use testkit::outside::python;
use testkit::process::{ProcessNode, http};

use crate::world::{TESTNODE, World};

const SCHEMA: &str =
    r#"{"type":"object","properties":{"trade_id":{"type":"string"},"qty":{"type":"integer"}}}"#;

#[test]
fn pyiceberg_creates_changes_and_drops() -> Result<()> {
    let world = World::new("guest-pyiceberg")?;
    let node = world.start()?;
    python("guest_pyiceberg.py", &[&world.ports.catalog().to_string(), "write"], "")?;
    node.stop()
}

#[test]
fn duckdb_creates_changes_and_drops() -> Result<()> {
    let world = World::new("guest-duckdb")?;
    let node = world.start()?;
    python("guest_duckdb.py", &[&world.ports.catalog().to_string(), "write"], "")?;
    node.stop()
}

#[test]
fn guests_come_in_with_a_secret() -> Result<()> {
    let world = World::new("guest-secret")?;
    let settings = world.path("frazil.yaml");
    std::fs::write(
        &settings,
        "version: 1\nserver:\n  catalog: { authentication: oauth2, root.secret: hunter2 }\n",
    )?;
    let settings = settings.display().to_string();
    let node = ProcessNode::start(Path::new(TESTNODE), &world.data_dir(), world.ports, &["-f", &settings])?;
    let port = world.ports.catalog().to_string();
    python("guest_pyiceberg.py", &[&port, "write", "root:hunter2"], "")?;
    python("guest_duckdb.py", &[&port, "write", "root", "hunter2"], "")?;
    for credential in ["root:wrong", "nobody:hunter2"] {
        let refused = python("guest_pyiceberg.py", &[&port, "write", credential], "");
        ensure!(refused.is_err_and(|e| e.to_string().contains("invalid_client")), "{credential} came in");
    }
    ensure!(python("guest_pyiceberg.py", &[&port, "write"], "").is_err(), "somebody came in without a token");
    let (status, answer) = http(world.ports.catalog(), "GET", "/v1/namespaces", "")?;
    ensure!(status == 401, "{status} {answer}");
    node.stop()
}

#[test]
fn a_topics_table_goes_on_after_a_guests_rows() -> Result<()> {
    let world = World::new("guest-rows")?;
    let node = world.start()?;
    world.frazil(&[
        "topic",
        "create",
        "trades",
        "-p",
        "2",
        "-c",
        "redpanda.iceberg.mode=value_schema_latest",
        "-c",
        "redpanda.iceberg.target.lag.ms=1000",
        // PyIceberg writes by hour with a package more.
        "-c",
        "redpanda.iceberg.partition.spec=()",
    ])?;
    node.register_schema("trades-value", SCHEMA)?;
    let (kafka, catalog) = (world.ports.kafka().to_string(), world.ports.catalog().to_string());
    let produce = |from: usize| {
        let lines: String =
            (from..from + 50).map(|i| format!("{{\"trade_id\":\"t{i}\",\"qty\":{i}}}\n")).collect();
        python("produce.py", &["--kafka-port", &kafka, "--topic", "trades"], &lines)
    };
    produce(0)?;
    node.wait_until_committed("trades", Duration::from_secs(60))?;
    python("guest_pyiceberg.py", &[&catalog, "append", "trades", "5"], "")?;
    produce(50)?;
    node.wait_until_committed("trades", Duration::from_secs(60))?;
    for script in ["guest_pyiceberg.py", "guest_duckdb.py"] {
        let count = python(script, &[&catalog, "count", "trades"], "")?;
        ensure!(count.trim() == "105", "{script} finds {count}");
    }
    let counted = world.frazil(&["sql", "-o", "csv", "-c", "SELECT count(*) AS n FROM trades"])?;
    ensure!(counted.trim() == "n\n105", "{counted}");
    python("guest_duckdb.py", &[&catalog, "refused", "trades"], "")?;
    node.verify("trades")?;
    node.stop()
}
