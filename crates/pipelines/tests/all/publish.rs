//! Query → topic: modes, triggers, restarts, refusals.

use std::time::Duration;

use base::Supervisor;
use pipelines::Commands;
use tokio::runtime::Handle;

use pipelines::{OnError, PipelineSpec, PipelineStatus, PublishMode, Target, Trigger};

use crate::node::{Node, TempDir, settings};

fn spec(sql: &str, trigger: Trigger, topic: &str, key: &[&str], mode: PublishMode) -> PipelineSpec {
    PipelineSpec {
        description: None,
        sql: sql.into(),
        trigger,
        into: Target {
            topic: topic.into(),
            key: key.iter().map(|k| (*k).to_owned()).collect(),
            format: Default::default(),
            mode,
            partitions: Some(1),
            config: Default::default(),
        },
        on_error: OnError { retry: 1 },
    }
}

fn on_commit(table: &str) -> Trigger {
    Trigger::OnCommit(vec![table.into()])
}

async fn pipeline(node: &Node, name: &str) -> PipelineStatus {
    let status = node.commands.status().await;
    status.pipelines.into_iter().find(|p| p.name == name).expect("the pipeline has a status")
}

async fn until_runs(node: &Node, name: &str, runs: u64) -> PipelineStatus {
    for _ in 0..1500 {
        let status = pipeline(node, name).await;
        if status.runs >= runs {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{name} never ran {runs} times: {:?}", pipeline(node, name).await);
}

async fn until_message(node: &Node, name: &str, part: &str) -> PipelineStatus {
    for _ in 0..1500 {
        let status = pipeline(node, name).await;
        if status.message.as_deref().is_some_and(|m| m.contains(part)) {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{name} never said {part}: {:?}", pipeline(node, name).await);
}

/// Long enough for a run that must not happen to happen.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}

async fn with_orders(dir: &TempDir) -> Node {
    let node = Node::start(dir.path()).await;
    node.schema("orders", &[("k", "string"), ("n", "integer")]).await;
    node.table("orders", 1, &[]).await;
    node
}

const SUMS: &str = "SELECT k, sum(n) AS total FROM orders GROUP BY k ORDER BY k";

fn values(records: &[(Option<String>, Option<String>)]) -> Vec<&str> {
    records.iter().map(|(_, value)| value.as_deref().unwrap_or("tombstone")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn on_commit_publishes_the_result_of_each_data_commit() {
    let dir = TempDir::new();
    let node = with_orders(&dir).await;
    node.produce("orders", 0, &[r#"{"k":"a","n":1}"#, r#"{"k":"b","n":2}"#]).await;
    node.commit("orders").await;
    let sums = spec(SUMS, on_commit("orders"), "sums", &[], PublishMode::Append);
    node.commands.put_pipeline("sums", sums.clone()).await.expect("put");
    until_runs(&node, "sums", 1).await;
    let first = [r#"{"k":"a","total":1}"#, r#"{"k":"b","total":2}"#];
    assert_eq!(values(&node.records("sums")), first);
    assert!(node.registry.versions("sums-value", false).is_ok(), "the result's schema is registered");
    node.produce("orders", 0, &[r#"{"k":"a","n":10}"#]).await;
    settle().await;
    assert_eq!(pipeline(&node, "sums").await.runs, 1, "nothing is committed yet");
    node.commit("orders").await;
    until_runs(&node, "sums", 2).await;
    let second = [r#"{"k":"a","total":11}"#, r#"{"k":"b","total":2}"#];
    assert_eq!(values(&node.records("sums")), [first, second].concat());
    // The same definition again, and a restart: nothing has changed, nothing is published.
    node.commands.put_pipeline("sums", sums).await.expect("put");
    settle().await;
    node.kill().await;
    let node = Node::start(dir.path()).await;
    settle().await;
    assert_eq!(pipeline(&node, "sums").await.runs, 2);
    assert_eq!(node.records("sums").len(), 4);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn upsert_publishes_changes_and_tombstones() {
    let dir = TempDir::new();
    let node = with_orders(&dir).await;
    node.produce("orders", 0, &[r#"{"k":"a","n":1}"#, r#"{"k":"b","n":2}"#]).await;
    node.commit("orders").await;
    let live = |sql: &str| spec(sql, on_commit("orders"), "totals", &["k"], PublishMode::Upsert);
    let positive = "SELECT k, sum(n) AS total FROM orders GROUP BY k HAVING sum(n) > 0 ORDER BY k";
    node.commands.put_pipeline("totals", live(positive)).await.expect("put");
    until_runs(&node, "totals", 1).await;
    node.kill().await;
    // The next run compares with what was stored, not with what this process remembers.
    let node = Node::start(dir.path()).await;
    node.produce("orders", 0, &[r#"{"k":"a","n":-1}"#, r#"{"k":"c","n":5}"#]).await;
    node.commit("orders").await;
    until_runs(&node, "totals", 2).await;
    let text = |k: &str, v: Option<&str>| (Some(format!(r#"{{"k":"{k}"}}"#)), v.map(str::to_owned));
    let expected = [
        text("a", Some(r#"{"k":"a","total":1}"#)),
        text("b", Some(r#"{"k":"b","total":2}"#)),
        text("c", Some(r#"{"k":"c","total":5}"#)),
        text("a", None),
    ];
    assert_eq!(node.records("totals"), expected);
    // A changed query recomputes; rows that stay the same are not published again.
    let doubled = "SELECT k, CASE WHEN k = 'c' THEN 50 ELSE sum(n) END AS total FROM orders GROUP BY k HAVING sum(n) > 0 ORDER BY k";
    node.commands.put_pipeline("totals", live(doubled)).await.expect("put");
    until_runs(&node, "totals", 3).await;
    let mut expected = expected.to_vec();
    expected.push(text("c", Some(r#"{"k":"c","total":50}"#)));
    assert_eq!(node.records("totals"), expected);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reads_what_is_not_committed_and_skips_unchanged_inputs() {
    let dir = TempDir::new();
    let node = with_orders(&dir).await;
    node.produce("orders", 0, &[r#"{"k":"a","n":1}"#]).await;
    let every = spec(SUMS, Trigger::Every("20ms".into()), "sums", &[], PublishMode::Append);
    node.commands.put_pipeline("sums", every).await.expect("put");
    until_runs(&node, "sums", 1).await;
    settle().await;
    assert_eq!(pipeline(&node, "sums").await.runs, 1, "the inputs are the same");
    node.produce("orders", 0, &[r#"{"k":"a","n":1}"#]).await;
    until_runs(&node, "sums", 2).await;
    assert_eq!(values(&node.records("sums")), [r#"{"k":"a","total":1}"#, r#"{"k":"a","total":2}"#]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_topic_can_be_a_table() {
    let dir = TempDir::new();
    let node = with_orders(&dir).await;
    node.produce("orders", 0, &[r#"{"k":"a","n":1}"#, r#"{"k":"b","n":2}"#]).await;
    node.commit("orders").await;
    let mut sums = spec(SUMS, on_commit("orders"), "sums", &["k"], PublishMode::Append);
    sums.into.config = [("redpanda.iceberg.mode".to_owned(), "value_schema_latest".to_owned())].into();
    node.commands.put_pipeline("sums", sums).await.expect("put");
    until_runs(&node, "sums", 1).await;
    node.commit("sums").await;
    assert_eq!(node.committed("SELECT total FROM sums ORDER BY k").await, [[Some(1)], [Some(2)]]);
    settle().await;
    assert_eq!(pipeline(&node, "sums").await.runs, 1, "its own commit is none of its inputs");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_commit_runs_for_data_commits_alone_even_when_the_clock_is_asked() {
    let dir = TempDir::new();
    let node = with_orders(&dir).await;
    node.produce("orders", 0, &[r#"{"k":"a","n":1}"#]).await;
    node.commit("orders").await;
    let sql = "SELECT k, now() AS at FROM orders";
    let mut stamped = spec(sql, on_commit("orders"), "stamped", &[], PublishMode::Append);
    stamped.into.config = [("redpanda.iceberg.mode".to_owned(), "value_schema_latest".to_owned())].into();
    node.commands.put_pipeline("stamped", stamped).await.expect("put");
    until_runs(&node, "stamped", 1).await;
    node.commit("stamped").await;
    settle().await;
    assert_eq!(pipeline(&node, "stamped").await.runs, 1, "its own commit is none of its inputs");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cycles_are_refused_with_the_way() {
    let dir = TempDir::new();
    let node = with_orders(&dir).await;
    let put = async |name: &str, from: &str, to: &str| {
        let sql = format!("SELECT * FROM {from}");
        node.commands.put_pipeline(name, spec(&sql, on_commit("orders"), to, &[], PublishMode::Append)).await
    };
    let direct = put("p", "x", "x").await.expect_err("direct").to_string();
    assert!(direct.contains("public.x → p → public.x"), "{direct}");
    put("p", "x", "y").await.expect("p");
    put("q", "public.y", "z").await.expect("q");
    let far = put("r", "z", "x").await.expect_err("far").to_string();
    assert!(far.contains("p") && far.contains("q") && far.contains("r"), "{far}");
    let names: Vec<_> = node.commands.pipelines().expect("list").into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["p", "q"]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_waits_for_its_table_and_pauses_on_errors() {
    let dir = TempDir::new();
    let node = Node::start_with(dir.path(), pipelines::Settings { result_rows_max: 2, ..settings() }).await;
    let late = spec("SELECT k FROM late", on_commit("late"), "out", &[], PublishMode::Append);
    node.commands.put_pipeline("late", late).await.expect("put");
    until_message(&node, "late", "waits").await;
    node.schema("late", &[("k", "string")]).await;
    node.table("late", 1, &[]).await;
    node.produce("late", 0, &[r#"{"k":"a"}"#]).await;
    node.commit("late").await;
    until_runs(&node, "late", 1).await;
    let many = spec(
        "SELECT * FROM (VALUES (1), (2), (3)) AS t(a)",
        on_commit("late"),
        "out",
        &[],
        PublishMode::Append,
    );
    node.commands.put_pipeline("many", many).await.expect("put");
    let paused = until_message(&node, "many", "paused").await;
    assert_eq!(paused.state, "paused");
    assert!(paused.message.expect("message").contains("2 rows"));
    let double = "SELECT * FROM (VALUES (1), (1)) AS t(a)";
    let double = spec(double, on_commit("late"), "out", &["a"], PublishMode::Upsert);
    node.commands.put_pipeline("many", double).await.expect("put");
    until_message(&node, "many", "one row per key").await;
    let missing = spec("SELECT 1 AS a", on_commit("late"), "out", &["b"], PublishMode::Upsert);
    node.commands.put_pipeline("many", missing).await.expect("put");
    until_message(&node, "many", "no key column `b`").await;
    node.commands.delete_pipeline("many").await.expect("delete");
    assert!(node.commands.delete_pipeline("many").await.is_err());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_pipeline_begins_anew() {
    let dir = TempDir::new();
    let node = with_orders(&dir).await;
    node.produce("orders", 0, &[r#"{"k":"a","n":1}"#]).await;
    node.commit("orders").await;
    let sums = spec(SUMS, on_commit("orders"), "sums", &["k"], PublishMode::Upsert);
    node.commands.put_pipeline("sums", sums.clone()).await.expect("put");
    until_runs(&node, "sums", 1).await;
    node.commands.delete_pipeline("sums").await.expect("delete");
    node.commands.put_pipeline("sums", sums).await.expect("put");
    until_runs(&node, "sums", 1).await;
    assert_eq!(node.records("sums").len(), 2);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_owner_of_a_pipeline_fences_the_others() {
    let dir = TempDir::new();
    let node = with_orders(&dir).await;
    node.produce("orders", 0, &[r#"{"k":"a","n":1}"#]).await;
    node.commit("orders").await;
    let sums = spec(SUMS, on_commit("orders"), "sums", &[], PublishMode::Append);
    node.commands.put_pipeline("sums", sums).await.expect("put");
    until_runs(&node, "sums", 1).await;
    let second_tasks = Supervisor::new(Handle::current());
    let _second = Commands::start_with(settings(), node.deps(second_tasks.clone())).await.expect("second");
    settle().await;
    for run in 2..5 {
        node.produce("orders", 0, &[r#"{"k":"a","n":1}"#]).await;
        node.commit("orders").await;
        for _ in 0..1500 {
            if node.records("sums").len() >= run {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    settle().await;
    let published: Vec<_> = (1..5).map(|total| format!(r#"{{"k":"a","total":{total}}}"#)).collect();
    assert_eq!(values(&node.records("sums")), published, "each result once");
    assert_eq!(pipeline(&node, "sums").await.state, "paused", "the first owner has stopped");
    second_tasks.stop(Duration::from_secs(20)).await;
    node.stop().await;
}
