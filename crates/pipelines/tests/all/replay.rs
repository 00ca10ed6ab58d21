//! Dead letters become rows after a fix: each record is in one of the two tables, whatever happens in between.

use std::time::Duration;

use pipelines::{Commands, ReplayReport, Settings, TableAction, TableAnswer};
use tables::failpoints::{Mishap, Step};

use crate::node::{Node, TempDir, copy, settings};

async fn replay(
    commands: &Commands,
    dry_run: bool,
    limit: Option<u64>,
) -> Result<ReplayReport, pipelines::CommandError> {
    match commands.table_action("t", TableAction::ReplayDlq { dry_run, limit }).await? {
        TableAnswer::Replayed(report) => Ok(report),
        other => panic!("{other:?}"),
    }
}

/// Ten rows and ten dead letters, by turns, and one that no schema helps.
async fn start(dir: &TempDir, settings: Settings) -> Node {
    let node = Node::start_with(dir.path(), settings).await;
    node.schema("t", &[("id", "integer"), ("note", "integer")]).await;
    node.table("t", 1, &[]).await;
    let pair = |n: i64| [format!(r#"{{"id":{n}}}"#), format!(r#"{{"id":{},"note":"late"}}"#, n + 1)];
    let values: Vec<String> = (0..20).step_by(2).flat_map(pair).chain(["no json".to_owned()]).collect();
    node.produce("t", 0, &values).await;
    node.commit("t").await;
    assert_eq!((node.rows("t").await.len(), node.dead_letters("t").await.len()), (10, 11));
    node
}

/// A schema without the field that did not fit.
async fn fix(node: &Node) {
    node.schema("t", &[("id", "integer")]).await;
}

/// Every offset once over both tables, and the account says so.
async fn whole(node: &Node, records: i64, case: &str) {
    let mut offsets: Vec<i64> = node
        .committed(r#"SELECT redpanda['offset'] FROM "t""#)
        .await
        .into_iter()
        .chain(node.committed(r#"SELECT redpanda['offset'] FROM "t~dlq""#).await)
        .map(|row| row[0].expect("an offset"))
        .collect();
    offsets.sort_unstable();
    assert_eq!(offsets, (0..records).collect::<Vec<_>>(), "{case}");
    clean(node, case).await;
}

async fn clean(node: &Node, case: &str) {
    let report = node.commands.verify_table("t").await.expect("verify");
    assert!(report.ok, "{case}: {report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fits_by_now_becomes_rows_and_the_rest_stays() {
    let dir = TempDir::new();
    let node = start(&dir, settings()).await;
    let before = replay(&node.commands, false, None).await.expect("nothing has changed");
    assert_eq!((before.replayed, before.still_bad, before.snapshot_id), (0, 11, None));
    fix(&node).await;
    let dry = replay(&node.commands, true, None).await.expect("dry run");
    assert_eq!((dry.replayed, dry.still_bad, dry.snapshot_id), (10, 1, None));
    assert_eq!((dry.reasons[0].code.as_str(), dry.reasons[0].records), ("malformed", 1));
    assert_eq!(node.dead_letters("t").await.len(), 11, "a dry run changes nothing");
    let some = replay(&node.commands, false, Some(4)).await.expect("some");
    assert!((some.replayed, some.limit_reached) == (4, true) && some.snapshot_id.is_some(), "{some:?}");
    whole(&node, 21, "after some").await;
    let rest = replay(&node.commands, false, None).await.expect("the rest");
    assert_eq!((rest.replayed, rest.still_bad, rest.limit_reached), (6, 1, false), "{rest:?}");
    whole(&node, 21, "after all").await;
    // Each has what it had: the offset is that of its record.
    let expected: Vec<(i64, i64, i64)> = (0..20).map(|n| (0, n, n)).collect();
    assert_eq!(node.rows("t").await, expected);
    assert_eq!(node.dead_letters("t").await, [(0, 20)]);
    let again = replay(&node.commands, false, None).await.expect("again");
    assert_eq!((again.replayed, again.still_bad, again.snapshot_id), (0, 1, None), "twice is once");
    // The table goes on as before.
    node.produce_ids("t", 0, 21..31).await;
    node.commit("t").await;
    whole(&node, 31, "after more").await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_replay_is_several_commits() {
    let dir = TempDir::new();
    let node = start(&dir, Settings { replay_runs: 3, ..settings() }).await;
    // A batch of dead letters is looked at as a whole: they have to come in several files.
    for n in 0..4 {
        let bad: Vec<String> = (0..5).map(|i| format!(r#"{{"id":{},"note":"x"}}"#, n * 5 + i)).collect();
        node.produce("t", 0, &bad).await;
        node.commit("t").await;
    }
    fix(&node).await;
    let report = replay(&node.commands, false, None).await.expect("replay");
    assert_eq!((report.replayed, report.still_bad), (30, 1), "{report:?}");
    whole(&node, 41, "several commits").await;
    let table = node.tables.load(&node.tables.ident("t")).await.expect("load");
    let replays = table.replays().expect("the marker");
    assert!(replays.generation > 1 && replays.open.is_none(), "{replays:?}");
    node.stop().await;
}

/// Something goes wrong at a step of the commit number `commit` of a replay: 0 brings the rows, 1 takes them out of the
/// dead letters, 2 closes the marker. Files of rows are written for the first two.
async fn strike(commit: usize, step: Step, mishap: Mishap, by_restart: bool) {
    let case = format!("commit {commit}, {step:?} {mishap:?}, restart {by_restart}");
    let dir = TempDir::new();
    let mut node = start(&dir, settings()).await;
    fix(&node).await;
    node.commit("t").await;
    node.tables.faults().add_after(commit, step, mishap);
    let mut struck = node.tables.faults().struck();
    let commands = node.commands.clone();
    let first = tokio::spawn(async move { replay(&commands, false, None).await.is_ok() });
    struck.wait_for(|times| *times == 1).await.unwrap_or_else(|_| panic!("{case}: never passed"));
    if mishap == Mishap::Hang {
        clean(&node, &case).await;
        // As after kill -9: nothing that was on its way goes on.
        first.abort();
        node.supervisor.stop(Duration::from_millis(50)).await;
        drop(node);
        // The command hangs for ever and has the files open: the next node gets copies at their place.
        let away = TempDir::new();
        std::fs::remove_dir(away.path()).expect("make way");
        std::fs::rename(dir.path(), away.path()).expect("move");
        copy(away.path(), dir.path());
        node = Node::start(dir.path()).await;
        if by_restart {
            // The task of the topic looks before it goes on.
            node.produce_ids("t", 0, 21..22).await;
            node.commit("t").await;
            let table = node.tables.load(&node.tables.ident("t")).await.expect("load");
            assert!(table.replays().expect("marker").open.is_none(), "{case}");
            whole(&node, 22, &case).await;
        }
    } else {
        first.await.unwrap_or_else(|error| panic!("{case}: {error}"));
        clean(&node, &case).await;
    }
    let done = replay(&node.commands, false, None).await;
    assert!(done.is_ok(), "{case}: {done:?}");
    whole(&node, if by_restart { 22 } else { 21 }, &case).await;
    assert_eq!(node.dead_letters("t").await, [(0, 20)], "{case}");
    let table = node.tables.load(&node.tables.ident("t")).await.expect("load");
    assert_eq!(table.replays().expect("marker").generation, 1, "{case}: one move");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_each_record_is_in_one_table() {
    let mut strikes = tokio::task::JoinSet::new();
    for step in Step::ALL {
        for commit in 0..3 {
            // The last commit writes metadata only.
            let pointer = matches!(step, Step::BeforePointer | Step::AfterPointer);
            if commit == 2 && !pointer {
                continue;
            }
            strikes.spawn(strike(commit, step, Mishap::Hang, commit > 0));
            if pointer || step == Step::AfterManifest {
                strikes.spawn(strike(commit, step, Mishap::Unavailable, false));
            }
        }
    }
    for commit in 0..3 {
        strikes.spawn(strike(commit, Step::BeforePointer, Mishap::Conflict, false));
        strikes.spawn(strike(commit, Step::AfterPointer, Mishap::Hang, false));
    }
    while let Some(done) = strikes.join_next().await {
        done.expect("a strike");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_goes_on_beside_producers_and_compaction() {
    let dir = TempDir::new();
    let node = start(&dir, settings()).await;
    for _ in 0..5 {
        node.produce("t", 0, &[r#"{"id":1,"note":"x"}"#, r#"{"id":2}"#]).await;
        node.commit("t").await;
    }
    fix(&node).await;
    let commands = node.commands.clone();
    let replays = tokio::spawn(async move {
        let mut replayed = 0;
        for _ in 0..5 {
            replayed += replay(&commands, false, Some(4)).await.expect("replay").replayed;
        }
        replayed
    });
    let compacting = node.commands.clone();
    let compactions = tokio::spawn(async move {
        for table in ["t", "t~dlq", "t", "t~dlq", "t"] {
            let all = TableAction::Compact { dry_run: false, all: true };
            compacting.table_action(table, all).await.expect("compact");
        }
    });
    for n in 0..10 {
        node.produce("t", 0, &[format!(r#"{{"id":{n}}}"#), "bad".to_owned()]).await;
        node.commit("t").await;
        clean(&node, "meanwhile").await;
    }
    assert_eq!(replays.await.expect("replays"), 15);
    compactions.await.expect("compactions");
    node.commit("t").await;
    whole(&node, 51, "at the end").await;
    assert_eq!(node.dead_letters("t").await.len(), 11);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_told_is_refused() {
    let dir = TempDir::new();
    let node = Node::start(dir.path()).await;
    node.schema("t", &[("id", "integer"), ("note", "integer")]).await;
    node.table("t", 1, &[("redpanda.iceberg.delete", "false")]).await;
    let refused = async || replay(&node.commands, false, None).await.expect_err("refused").to_string();
    let text = refused().await;
    assert!(text.contains("there is no table public.t~dlq"), "{text}");
    node.produce("t", 0, &[r#"{"id":0,"note":"x"}"#, r#"{"id":1,"note":"x"}"#]).await;
    node.commit("t").await;
    fix(&node).await;
    // Another engine puts a dead letter there once more.
    let ident = node.tables.ident("t~dlq");
    let dead = node.tables.load(&ident).await.expect("load");
    let scan = node.tables.scan(&dead, None).await.expect("scan");
    let mut writer = node.tables.writer(&dead).expect("writer");
    for batch in node.tables.rows_of(&dead, &scan.files[0].location).await.expect("rows") {
        writer.write(&batch.expect("batch").slice(1, 1)).await.expect("write");
    }
    let staged = writer.finish().await.expect("staged");
    node.tables.append(&ident, staged, Vec::new(), Default::default()).await.expect("append");
    let text = refused().await;
    assert!(text.contains("holds 3 of partition 0 (1 should not be there), the account says 2"), "{text}");
    node.tables.drop(&ident, false).await.expect("drop");
    // Another life of the topic.
    node.commands.delete_topic("t").await.expect("delete");
    node.table("t", 1, &[]).await;
    node.produce("t", 0, &["bad"]).await;
    node.commit("t").await;
    let text = refused().await;
    assert!(text.contains("several lives"), "{text}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_not_rolled_back_beyond_a_replay() {
    let dir = TempDir::new();
    let node = start(&dir, settings()).await;
    let ident = node.tables.ident("t");
    let before = node.tables.load(&ident).await.expect("load").current_snapshot_id().expect("snapshot");
    fix(&node).await;
    let replayed = replay(&node.commands, false, None).await.expect("replay").snapshot_id.expect("snapshot");
    node.produce_ids("t", 0, 21..22).await;
    node.commit("t").await;
    let back = |id| TableAction::Rollback { dry_run: true, to: pipelines::RollbackTarget::SnapshotId(id) };
    let refused = node.commands.table_action("t", back(before)).await.expect_err("beyond").to_string();
    assert!(refused.contains("dead letters became its rows"), "{refused}");
    node.commands.table_action("t", back(replayed)).await.expect("to the replay itself");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_made_anew_after_a_replay_loses_nothing() {
    let dir = TempDir::new();
    let node = start(&dir, settings()).await;
    fix(&node).await;
    assert_eq!(replay(&node.commands, false, None).await.expect("replay").replayed, 10);
    node.tables.drop(&node.tables.ident("t"), false).await.expect("drop");
    node.kill().await;
    let node = Node::start(dir.path()).await;
    node.commit("t").await;
    // From the log they are read with the schema of their time.
    assert_eq!((node.rows("t").await.len(), node.dead_letters("t").await.len()), (10, 11));
    whole(&node, 21, "made anew").await;
    assert_eq!(replay(&node.commands, false, None).await.expect("replay").replayed, 10);
    whole(&node, 21, "replayed again").await;
    node.stop().await;
}
