//! Logs and tables that were moved back, and logs that lost records.

use iceberg::TableUpdate;
use iceberg::spec::{SnapshotReference, SnapshotRetention};
use storage::layout;

use crate::node::{Node, TempDir, copy};

async fn start_with_table(dir: &TempDir) -> Node {
    let node = Node::start(dir.path()).await;
    node.schema("t", &[("id", "integer")]).await;
    node.table("t", 1, &[]).await;
    node.produce_ids("t", 0, 0..10).await;
    node.commit("t").await;
    node
}

/// Puts the log back to an older copy while the tables go on.
async fn restore_log(node: Node, dir: &TempDir, copied: &TempDir) -> Node {
    node.stop().await;
    let log = layout::wal_dir(dir.path()).parent().expect("the log's directory").to_owned();
    std::fs::remove_dir_all(&log).expect("remove the log");
    copy(copied.path(), &log);
    Node::start(dir.path()).await
}

async fn copy_log(node: Node, dir: &TempDir) -> (Node, TempDir) {
    node.stop().await;
    let copied = TempDir::new();
    copy(layout::wal_dir(dir.path()).parent().expect("the log's directory"), copied.path());
    (Node::start(dir.path()).await, copied)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_restored_from_an_older_copy_stops_the_table_until_somebody_decides() {
    for (skip, grown) in [(true, false), (false, false), (true, true), (false, true)] {
        let dir = TempDir::new();
        let (node, copied) = copy_log(start_with_table(&dir).await, &dir).await;
        node.produce_ids("t", 0, 10..30).await;
        node.commit("t").await;
        let node = restore_log(node, &dir, &copied).await;
        if grown {
            // The log grows beyond what the table has: only the hash can tell.
            node.produce_ids("t", 0, 1000..1040).await;
            node.supervisor.stop(std::time::Duration::from_secs(20)).await;
            node.topics.close().await.expect("close");
            drop(node);
            let node = Node::start(dir.path()).await;
            decide(node, skip, grown).await;
        } else {
            decide(node, skip, grown).await;
        }
    }
}

async fn decide(node: Node, skip: bool, grown: bool) {
    let status = node.until_state("t", "diverged").await;
    let message = status.message.expect("a message");
    assert!(message.contains("frazil table resume t --replay"), "{message}");
    assert!(message.contains("--skip"), "{message}");
    assert_eq!(status.records, 30, "what is committed is served");
    let refused = node.commands.commit_now("t").await.expect_err("stopped").to_string();
    assert!(refused.contains("diverged"), "{refused}");
    node.commands.resume_table("t", skip).await.expect("resume");
    node.produce_ids("t", 0, 2000..2003).await;
    node.commit("t").await;
    let after: Vec<_> = node.rows("t").await.into_iter().map(|(_, _, id)| id).collect();
    let mut expected: Vec<i64> = (0..30).collect();
    if grown && !skip {
        // Replay goes on after the last record that both know, number 9.
        expected.extend(1000..1040);
    }
    expected.extend(2000..2003);
    let mut sorted = after.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, expected, "skip: {skip}, grown: {grown}");
    assert_eq!(node.status("t").await.state, "running");
    assert!(node.commands.resume_table("t", skip).await.is_err(), "there is nothing to resume");
    node.stop().await;
}

async fn move_main(node: &Node, ident: &tables::TableIdent, snapshot_id: i64) {
    let retention = SnapshotRetention::Branch {
        min_snapshots_to_keep: None,
        max_snapshot_age_ms: None,
        max_ref_age_ms: None,
    };
    let back = TableUpdate::SetSnapshotRef {
        ref_name: "main".into(),
        reference: SnapshotReference::new(snapshot_id, retention),
    };
    node.tables.commit(ident, Vec::new(), vec![back]).await.expect("main is moved");
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_alone_are_not_read_again() {
    let dir = TempDir::new();
    let node = start_with_table(&dir).await;
    let ident = node.tables.ident("t~dlq");
    let mut heads = Vec::new();
    for _ in 0..2 {
        node.produce("t", 0, &["bad"]).await;
        node.commit("t").await;
        heads.push(node.tables.load(&ident).await.expect("load").current_snapshot_id().expect("snapshot"));
    }
    move_main(&node, &ident, heads[0]).await;
    node.produce("t", 0, &["bad"]).await;
    assert!(node.commands.commit_now("t").await.is_err());
    node.until_state("t", "rolled_back").await;
    let refused = node.commands.resume_table("t", false).await.expect_err("refused").to_string();
    assert!(refused.contains("only the dead letters") && refused.contains("--skip"), "{refused}");
    move_main(&node, &ident, heads[1]).await;
    node.commands.resume_table("t", false).await.expect("forward again");
    assert_eq!(node.dead_letters("t").await, [(0, 10), (0, 11), (0, 12)]);
    let report = node.commands.verify_table("t").await.expect("verify");
    assert!(report.ok, "{report:?}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_rolled_back_stops_until_somebody_decides() {
    for skip in [true, false] {
        let dir = TempDir::new();
        let node = start_with_table(&dir).await;
        let ident = node.tables.ident("t");
        let before = node.tables.load(&ident).await.expect("load").current_snapshot_id().expect("snapshot");
        node.produce_ids("t", 0, 10..20).await;
        node.commit("t").await;
        move_main(&node, &ident, before).await;
        node.produce_ids("t", 0, 20..25).await;
        assert!(node.commands.commit_now("t").await.is_err());
        let status = node.until_state("t", "rolled_back").await;
        let message = status.message.expect("a message");
        assert!(message.contains("--skip") && message.contains("--replay"), "{message}");
        assert_eq!(status.records, 10);
        node.commands.resume_table("public.t", skip).await.expect("resume");
        node.produce_ids("t", 0, 25..27).await;
        node.commit("t").await;
        let ids: Vec<_> = node.rows("t").await.into_iter().map(|(_, _, id)| id).collect();
        let expected: Vec<i64> = if skip { (0..10).chain(25..27).collect() } else { (0..27).collect() };
        assert_eq!(ids, expected, "skip: {skip}");
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_table_ahead_of_its_table_is_not_doubled() {
    let dir = TempDir::new();
    let node = Node::start(dir.path()).await;
    node.schema("t", &[("id", "integer")]).await;
    node.table("t", 1, &[]).await;
    node.produce("t", 0, &[r#"{"id":0}"#, "bad"]).await;
    node.commit("t").await;
    // A crash between the two commits, made by dropping the table alone: it is read again from the start.
    node.tables.drop(&node.tables.ident("t"), false).await.expect("drop");
    node.produce("t", 0, &["bad", r#"{"id":3}"#]).await;
    node.kill().await;
    let node = Node::start(dir.path()).await;
    node.commit("t").await;
    assert_eq!(node.rows("t").await, [(0, 0, 0), (0, 3, 3)]);
    assert_eq!(node.dead_letters("t").await, [(0, 1), (0, 2)]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_cannot_be_written_is_tried_again() {
    let dir = TempDir::new();
    let node = Node::start(dir.path()).await;
    node.schema("t", &[("id", "integer")]).await;
    node.table("t", 1, &[("redpanda.iceberg.target.lag.ms", "10")]).await;
    let table = node.tables.load(&node.tables.ident("t")).await.expect("load");
    let location = table.metadata.location().strip_prefix("file://").expect("a local table");
    let data = std::path::Path::new(location).join("data");
    std::fs::create_dir_all(location).expect("the table's directory");
    std::fs::write(&data, b"in the way").expect("a file where the directory belongs");
    node.produce_ids("t", 0, 0..10).await;
    let status = node.until_state("t", "failing").await;
    assert!(status.message.is_some());
    assert_eq!(status.records, 0);
    let refused = node.commands.commit_now("t").await.expect_err("still in the way");
    assert_eq!(base::Fault::kind(&refused), base::ErrorKind::Unavailable);
    let marks = node.topics.partition("t", 0).expect("partition").marks();
    assert_eq!((marks.materialized, marks.stable), (0, 10), "the log waits for the table");
    std::fs::remove_file(&data).expect("clear the way");
    assert_eq!(node.until_caught_up("t").await.records, 10);
    assert_eq!(node.rows("t").await.len(), 10);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_of_an_earlier_life_decide_nothing() {
    let dir = TempDir::new();
    let node = Node::start(dir.path()).await;
    node.schema("t", &[("id", "integer")]).await;
    node.table("t", 1, &[("redpanda.iceberg.delete", "false")]).await;
    node.produce("t", 0, &["bad", "bad", "bad"]).await;
    node.commit("t").await;
    node.commands.delete_topic("t").await.expect("delete");
    node.table("t", 1, &[]).await;
    node.produce("t", 0, &[r#"{"id":0}"#, r#"{"id":1}"#, "worse"]).await;
    node.commit("t").await;
    // It is read again from the start, beside dead letters of two lives.
    node.tables.drop(&node.tables.ident("t"), false).await.expect("drop");
    node.kill().await;
    let node = Node::start(dir.path()).await;
    node.commit("t").await;
    assert_eq!(node.rows("t").await, [(0, 0, 0), (0, 1, 1)]);
    assert_eq!(node.dead_letters("t").await, [(0, 0), (0, 1), (0, 2), (0, 2)]);
    node.stop().await;
}
