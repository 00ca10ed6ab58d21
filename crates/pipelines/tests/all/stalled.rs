//! A catalog that does not answer: nothing is lost, and nothing grows but the log.

use std::time::Duration;

use pipelines::Settings;
use tables::failpoints::{Mishap, Step};

use crate::node::{Node, TempDir, settings};

/// Data files of the table on disk, committed or not.
async fn data_files(node: &Node) -> usize {
    let table = node.tables.load(&node.tables.ident("t")).await.expect("load");
    let data = format!("{}/data", table.metadata.location());
    node.tables.objects().list(&data).await.map_or(0, |files| files.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_catalog_under_load_stages_one_commit_and_then_catches_up() {
    const RECORDS: i64 = 6_000;
    let dir = TempDir::new();
    let small = Settings {
        commit_bytes: 16 << 10,
        backlog_bytes: 64 << 10,
        chunk_bytes: 16 << 10,
        commit_interval_min: Duration::from_millis(20),
        ..settings()
    };
    let node = Node::start_with(dir.path(), small).await;
    node.schema("t", &[("id", "integer"), ("pad", "string")]).await;
    let config = [("redpanda.iceberg.target.lag.ms", "50"), ("redpanda.iceberg.partition.spec", "()")];
    node.table("t", 2, &config).await;
    node.tables.faults().stall(true);
    let pad = "x".repeat(300);
    for first in (0..RECORDS).step_by(50) {
        let values: Vec<_> =
            (first..first + 50).map(|id| format!(r#"{{"id":{id},"pad":"{pad}"}}"#)).collect();
        node.produce("t", (first / 50 % 2) as i32, &values).await;
        if first % 1_000 == 0 {
            // Queries go on: what the table does not have comes from the log.
            let seen = node.all_rows("SELECT count(*) FROM t").await;
            assert_eq!(seen, [[Some(first + 50)]]);
            assert!(data_files(&node).await <= 1, "one commit waits, and no other one is staged");
        }
    }
    assert_eq!(node.status("t").await.records, 0);
    node.tables.faults().stall(false);
    node.until_caught_up("t").await;
    let ids = node.committed("SELECT count(*), count(DISTINCT id), max(id) FROM t").await;
    assert_eq!(ids, [[Some(RECORDS), Some(RECORDS), Some(RECORDS - 1)]]);
    let report = node.commands.verify_table("t").await.expect("verify");
    assert!(report.ok, "{report:?}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_that_fails_for_long_costs_one_set_of_files() {
    let dir = TempDir::new();
    let node = Node::start(dir.path()).await;
    node.schema("t", &[("id", "integer")]).await;
    node.table("t", 1, &[("redpanda.iceberg.partition.spec", "()")]).await;
    node.produce_ids("t", 0, 0..10).await;
    node.produce("t", 0, &["bad"]).await;
    // The dead letters are committed first; then every attempt fails, three times over.
    let attempts = node.tables.settings().commit_attempts as usize;
    for _ in 0..attempts * 3 {
        node.tables.faults().add_after(1, Step::BeforePointer, Mishap::Unavailable);
    }
    let mut struck = node.tables.faults().struck();
    let refused = node.commands.commit_now("t").await.expect_err("nobody answers");
    assert_eq!(base::Fault::kind(&refused), base::ErrorKind::Unavailable, "{refused}");
    struck.wait_for(|times| *times == attempts * 3).await.expect("all of them");
    node.until_caught_up("t").await;
    assert_eq!(data_files(&node).await, 1, "what was staged first is what is committed");
    assert_eq!((node.rows("t").await.len(), node.dead_letters("t").await.len()), (10, 1));
    let report = node.commands.verify_table("t").await.expect("verify");
    assert!(report.ok, "{report:?}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_many_partitions_are_several_commits() {
    let dir = TempDir::new();
    let few = Settings { commit_files_max: 8, chunk_bytes: 1, ..settings() };
    let node = Node::start_with(dir.path(), few).await;
    node.schema("t", &[("id", "integer")]).await;
    node.table("t", 1, &[("redpanda.iceberg.partition.spec", "(id)")]).await;
    node.produce_ids("t", 0, 0..60).await;
    node.commit("t").await;
    let table = node.tables.load(&node.tables.ident("t")).await.expect("load");
    let added =
        |s: tables::SnapshotInfo| s.summary.get("added-data-files").and_then(|n| n.parse::<u64>().ok());
    let files: Vec<u64> = table.snapshots().into_iter().filter_map(added).collect();
    // A batch is ten records, which is as far as one step goes.
    assert_eq!(files.iter().sum::<u64>(), 60, "{files:?}");
    assert!(files.len() > 1 && files.iter().all(|files| *files <= 17), "{files:?}");
    assert_eq!(node.rows("t").await.len(), 60);
    node.stop().await;
}
