//! Topic → table: rows, restarts, dead letters, competing tasks.

use std::time::Duration;

use base::Supervisor;
use pipelines::Commands;
use tokio::runtime::Handle;

use crate::node::{Node, TempDir, settings};

/// What `ids` produced round robin over partitions look like in the table.
fn expected(partitions: &[std::ops::Range<i64>]) -> Vec<(i64, i64, i64)> {
    let of = |(p, ids): (usize, &std::ops::Range<i64>)| {
        ids.clone().enumerate().map(move |(at, id)| (p as i64, at as i64, id)).collect::<Vec<_>>()
    };
    partitions.iter().enumerate().flat_map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_becomes_one_row() {
    let dir = TempDir::new();
    let node = Node::start(dir.path()).await;
    node.schema("t", &[("id", "integer")]).await;
    node.table("t", 3, &[]).await;
    for p in 0..3 {
        node.produce_ids("t", p, 0..25 + i64::from(p)).await;
    }
    assert_eq!(node.commands.status().await.tables[0].records, 0, "nothing is due yet");
    let snapshot = node.commands.commit_now("t").await.expect("commit");
    assert!(snapshot.is_some());
    let all = expected(&[0..25, 0..26, 0..27]);
    assert_eq!(node.rows("t").await, all);
    assert_eq!(node.commands.commit_now("t").await.expect("again"), snapshot, "nothing new, no snapshot");
    let status = node.commands.status().await;
    assert_eq!((status.tables[0].lag, status.tables[0].records), (0, all.len() as u64));
    let marks: Vec<_> = status.topics[0].partitions.iter().map(|p| (p.materialized, p.stable)).collect();
    assert_eq!(marks, [(25, 25), (26, 26), (27, 27)]);
    let consumers = node.topics.consumers();
    assert_eq!(consumers.len(), 1);
    assert_eq!(consumers[0].group, "frazil.materialize.t");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn age_and_size_make_commits_by_themselves() {
    let dir = TempDir::new();
    let node = Node::start_with(dir.path(), pipelines::Settings { commit_bytes: 2_000, ..settings() }).await;
    node.schema("aged", &[("id", "integer")]).await;
    node.table("aged", 1, &[("redpanda.iceberg.target.lag.ms", "50")]).await;
    node.produce_ids("aged", 0, 0..5).await;
    assert_eq!(node.until_caught_up("aged").await.records, 5);
    node.schema("sized", &[("id", "integer")]).await;
    node.table("sized", 1, &[]).await;
    node.produce_ids("sized", 0, 0..500).await;
    for _ in 0..600 {
        if node.status("sized").await.records > 0 {
            node.stop().await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("size never made a commit");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_neither_loses_nor_doubles() {
    let dir = TempDir::new();
    for round in 0..4 {
        let node = Node::start(dir.path()).await;
        if round == 0 {
            node.schema("t", &[("id", "integer")]).await;
            node.table("t", 2, &[]).await;
        }
        let ids = round * 20..(round + 1) * 20;
        node.produce_ids("t", 0, ids.clone()).await;
        if round % 2 == 0 {
            node.commit("t").await;
        }
        node.produce_ids("t", 1, ids).await;
        node.kill().await;
    }
    let node = Node::start(dir.path()).await;
    node.commit("t").await;
    assert_eq!(node.rows("t").await, expected(&[0..80, 0..80]));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_larger_than_its_limit_is_split_and_whole() {
    let dir = TempDir::new();
    let small = pipelines::Settings { backlog_bytes: 1, chunk_bytes: 1, decode_lanes: 1, ..settings() };
    let node = Node::start_with(dir.path(), small).await;
    node.schema("t", &[("id", "integer")]).await;
    node.table("t", 2, &[]).await;
    node.produce_ids("t", 0, 0..40).await;
    node.produce_ids("t", 1, 0..40).await;
    node.commit("t").await;
    assert_eq!(node.rows("t").await, expected(&[0..40, 0..40]));
    assert!(node.status("t").await.snapshots > 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tasks_on_one_table_never_double_a_row() {
    let dir = TempDir::new();
    let node = Node::start(dir.path()).await;
    node.schema("t", &[("id", "integer")]).await;
    node.table("t", 2, &[]).await;
    let second_tasks = Supervisor::new(Handle::current());
    let second = Commands::start_with(settings(), node.deps(second_tasks.clone())).await.expect("second");
    for round in 0..6 {
        let ids = round * 20..(round + 1) * 20;
        node.produce_ids("t", 0, ids.clone()).await;
        node.produce_ids("t", 1, ids).await;
        let (a, b) = tokio::join!(node.commands.commit_now("t"), second.commit_now("t"));
        a.expect("first task");
        b.expect("second task");
    }
    assert_eq!(node.rows("t").await, expected(&[0..120, 0..120]));
    second_tasks.stop(Duration::from_secs(20)).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_goes_to_the_dead_letters() {
    let dir = TempDir::new();
    let node = Node::start(dir.path()).await;
    node.schema("t", &[("id", "integer")]).await;
    node.table("t", 1, &[]).await;
    node.produce("t", 0, &[r#"{"id":0}"#, "no json", r#"{"id":"two"}"#, r#"{"id":3}"#]).await;
    node.commit("t").await;
    assert_eq!(node.rows("t").await, [(0, 0, 0), (0, 3, 3)]);
    assert_eq!(node.dead_letters("t").await, [(0, 1), (0, 2)]);
    // Good records alone leave the dead-letter table behind; the next bad one must still find its place.
    node.produce("t", 0, &[r#"{"id":4}"#]).await;
    node.commit("t").await;
    node.produce("t", 0, &["bad", r#"{"id":6}"#]).await;
    node.commit("t").await;
    assert_eq!(node.rows("t").await, [(0, 0, 0), (0, 3, 3), (0, 4, 4), (0, 6, 6)]);
    assert_eq!(node.dead_letters("t").await, [(0, 1), (0, 2), (0, 5)]);
    let status = node.status("t").await;
    assert_eq!((status.records, status.dead_letters, status.dropped, status.lag), (4, 3, 0, 0));
    let table = node.tables.load(&node.tables.ident("t")).await.expect("load");
    let counts: Vec<_> =
        table.snapshots().iter().filter_map(|s| s.summary.get("frazil.dead-letters").cloned()).collect();
    assert_eq!(counts, ["2", "1"]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_dropped_and_counted_when_configured() {
    let dir = TempDir::new();
    let node = Node::start(dir.path()).await;
    node.schema("t", &[("id", "integer")]).await;
    node.table("t", 1, &[("redpanda.iceberg.invalid.record.action", "drop")]).await;
    node.produce("t", 0, &["bad", "bad", r#"{"id":2}"#, "bad"]).await;
    node.commit("t").await;
    assert_eq!(node.rows("t").await, [(0, 2, 2)]);
    let status = node.status("t").await;
    assert_eq!((status.records, status.dead_letters, status.dropped), (1, 0, 3));
    let table = node.tables.load(&node.tables.ident("t")).await.expect("load");
    let snapshots = table.snapshots();
    let summary = &snapshots.last().expect("a snapshot").summary;
    assert_eq!(summary["frazil.dropped"], "3");
    assert_eq!(summary["frazil.dropped-offsets"], r#"{"0":[[0,2],[3,4]]}"#);
    assert!(node.tables.load(&node.tables.ident("t~dlq")).await.is_err(), "no dead-letter table");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_all_bad_still_move_the_table() {
    let dir = TempDir::new();
    let node = Node::start(dir.path()).await;
    node.schema("t", &[("id", "integer")]).await;
    node.table("t", 1, &[]).await;
    node.produce("t", 0, &["bad", "worse"]).await;
    node.commit("t").await;
    assert_eq!(node.status("t").await.lag, 0);
    node.kill().await;
    let node = Node::start(dir.path()).await;
    node.produce("t", 0, &[r#"{"id":2}"#]).await;
    node.commit("t").await;
    assert_eq!(node.rows("t").await, [(0, 2, 2)]);
    assert_eq!(node.dead_letters("t").await, [(0, 0), (0, 1)]);
    node.stop().await;
}
