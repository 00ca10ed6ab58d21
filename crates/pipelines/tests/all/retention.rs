//! Retention and tables: the log waits, up to a limit; what it did not wait for is accounted for.

use std::collections::BTreeSet;
use std::path::PathBuf;

use pipelines::Settings;

use crate::node::{Node, TempDir, settings};

const HOUR: std::time::Duration = std::time::Duration::from_secs(3_600);

const SMALL: [(&str, &str); 2] = [("segment.bytes", "1024"), ("retention.bytes", "0")];

/// Puts a file where the table's data belongs, so that no commit succeeds; gives its path.
async fn stall(node: &Node, table: &str) -> PathBuf {
    let table = node.tables.load(&node.tables.ident(table)).await.expect("load");
    let location = table.metadata.location().strip_prefix("file://").expect("a local table").to_owned();
    let data = std::path::Path::new(&location).join("data");
    std::fs::create_dir_all(&location).expect("the table's directory");
    if data.exists() {
        std::fs::rename(&data, data.with_extension("aside")).expect("aside");
    }
    std::fs::write(&data, b"in the way").expect("a file where the directory belongs");
    data
}

fn go_on(data: &std::path::Path) {
    std::fs::remove_file(data).expect("clear the way");
    if data.with_extension("aside").exists() {
        std::fs::rename(data.with_extension("aside"), data).expect("back");
    }
}

fn log_start(node: &Node) -> i64 {
    node.topics.partition("t", 0).expect("partition").marks().log_start
}

/// All offsets that snapshots say were skipped.
async fn skipped(node: &Node) -> BTreeSet<i64> {
    let table = node.tables.load(&node.tables.ident("t")).await.expect("load");
    let mut offsets = BTreeSet::new();
    for snapshot in table.snapshots() {
        let Some(text) = snapshot.summary.get("frazil.skipped") else { continue };
        let ranges: std::collections::BTreeMap<i32, Vec<(i64, i64)>> =
            serde_json::from_str(text).expect("ranges");
        for (from, to) in ranges.get(&0).expect("partition 0") {
            for offset in *from..*to {
                assert!(offsets.insert(offset), "offset {offset} is skipped twice");
            }
        }
    }
    offsets
}

/// Every offset below `end` is a row or was skipped, and none is both.
async fn accounted(node: &Node, end: i64) {
    let skipped = skipped(node).await;
    let rows: Vec<i64> = node.rows("t").await.into_iter().map(|(_, offset, _)| offset).collect();
    let set: BTreeSet<i64> = rows.iter().copied().collect();
    assert_eq!(set.len(), rows.len(), "no row is doubled");
    for offset in 0..end {
        assert_eq!(set.contains(&offset), !skipped.contains(&offset), "offset {offset}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_waits_for_a_stalled_table() {
    let dir = TempDir::new();
    let node = Node::start(dir.path()).await;
    node.schema("t", &[("id", "integer")]).await;
    node.table("t", 1, &SMALL).await;
    let data = stall(&node, "t").await;
    node.produce_ids("t", 0, 0..200).await;
    assert!(node.commands.commit_now("t").await.is_err());
    node.topics.upkeep();
    assert_eq!(log_start(&node), 0, "nothing goes that the table does not have");
    let status = node.commands.status().await;
    assert!(status.topics[0].partitions[0].held_bytes > 2_000);
    let refused = node.commands.delete_records("t", 0, Some(50)).await.expect_err("the table is behind");
    assert!(refused.to_string().contains("frazil.retention.hold.bytes"), "{refused}");
    assert_eq!(log_start(&node), 0);
    go_on(&data);
    node.commit("t").await;
    node.topics.upkeep();
    assert!(log_start(&node) > 100, "now it goes");
    accounted(&node, 200).await;
    let status = node.status("t").await;
    assert_eq!((status.records, status.skipped, status.message), (200, 0, None));
    // A table that can commit does so before records are deleted on request.
    node.produce_ids("t", 0, 200..260).await;
    assert_eq!(node.commands.delete_records("t", 0, Some(255)).await.expect("delete"), 255);
    assert_eq!(node.commands.delete_records("t", 0, None).await.expect("delete"), 260);
    accounted(&node, 260).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_limit_the_loss_is_recorded() {
    let dir = TempDir::new();
    // Tried again only when asked: an attempt that had read the records before they went would save them.
    let start =
        || Node::start_with(dir.path(), Settings { retry_first: HOUR, retry_max: HOUR, ..settings() });
    let mut node = start().await;
    node.schema("t", &[("id", "integer")]).await;
    let config = [SMALL[0], SMALL[1], ("frazil.retention.hold.bytes", "3000")];
    node.table("t", 1, &config).await;
    node.produce_ids("t", 0, 0..30).await;
    node.commit("t").await;
    for round in 0..3 {
        let data = stall(&node, "t").await;
        let end = 30 + (round + 1) * 200;
        node.produce_ids("t", 0, end - 200..end).await;
        assert!(node.commands.commit_now("t").await.is_err());
        node.topics.upkeep();
        let lost_to = log_start(&node);
        assert!(lost_to > end - 200, "{lost_to}: the limit is passed, the log goes on");
        let status = node.commands.status().await;
        assert!(status.topics[0].partitions[0].held_bytes <= 3_000);
        go_on(&data);
        if round == 1 {
            // What was lost is known from the table's progress alone.
            node.kill().await;
            node = start().await;
        }
        node.commit("t").await;
        let status = node.status("t").await;
        assert_eq!((status.state.as_str(), status.lag), ("running", 0));
        let message = status.message.expect("an alarm");
        assert!(message.contains("alarm") && message.contains(&status.skipped.to_string()), "{message}");
        assert!(skipped(&node).await.contains(&(lost_to - 1)) && !skipped(&node).await.contains(&lost_to));
        accounted(&node, end).await;
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_never_committed_is_owed_everything_since_it_was_declared() {
    let dir = TempDir::new();
    let node = Node::start(dir.path()).await;
    node.schema("t", &[("id", "integer")]).await;
    let config = [SMALL[0], SMALL[1], ("frazil.retention.hold.bytes", "0")];
    node.table("t", 1, &config).await;
    let data = stall(&node, "t").await;
    node.produce_ids("t", 0, 0..200).await;
    assert!(node.commands.commit_now("t").await.is_err());
    node.topics.upkeep();
    let begin = log_start(&node);
    assert!(begin > 100);
    go_on(&data);
    node.commit("t").await;
    assert_eq!(skipped(&node).await, (0..begin).collect());
    accounted(&node, 200).await;
    node.stop().await;
}
