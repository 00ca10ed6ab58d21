//! Tables that are kept in shape while they are fed and read.

use std::time::Duration;

use pipelines::{RollbackTarget, Settings, TableAction, TableAnswer, UpkeepSettings};

use crate::node::{Node, TempDir, settings};

/// Everything is due all the time.
fn eager() -> Settings {
    let upkeep = UpkeepSettings {
        look_every: Duration::from_millis(5),
        compact_every: Duration::ZERO,
        expire_every: Duration::ZERO,
        orphans_every: Duration::ZERO,
        ..UpkeepSettings::default()
    };
    Settings { upkeep, ..settings() }
}

fn compact_all() -> TableAction {
    TableAction::Compact { dry_run: false, all: true }
}

async fn files(node: &Node, table: &str) -> usize {
    let table = node.tables.load(&node.tables.ident(table)).await.expect("load");
    node.tables.scan(&table, None).await.expect("scan").files.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fed_table_stays_small_and_every_look_sees_every_row() {
    const COMMITS: i64 = 40;
    let dir = TempDir::new();
    let node = Node::start_with(dir.path(), eager()).await;
    node.schema("t", &[("id", "integer")]).await;
    node.table("t", 1, &[]).await;
    for commit in 0..COMMITS {
        node.produce_ids("t", 0, commit * 5..commit * 5 + 5).await;
        node.commit("t").await;
        let seen = node.committed("SELECT count(*), count(DISTINCT id), max(id) FROM t").await.concat();
        let rows = commit * 5 + 5;
        assert_eq!(seen, [Some(rows), Some(rows), Some(rows - 1)]);
    }
    // The last commits may still lie in files of their own, until the duty comes round.
    let mut left = 0;
    for _ in 0..500 {
        left = files(&node, "t").await;
        if left < 20 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(left < 20, "{left} files");
    let status = node.commands.status().await.upkeep;
    let table = status.tables.iter().find(|t| t.table == "public.t").expect("status").clone();
    assert!(status.enabled && table.files_compacted > 8 && table.message.is_none(), "{table:?}");
    assert_eq!(node.status("t").await.state, "running");
    let report = node.commands.verify_table("t").await.expect("verify");
    assert!(serde_json::to_string(&report).expect("json").contains("\"findings\":[]"), "{report:?}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_can_switch_it_off() {
    let dir = TempDir::new();
    let node = Node::start_with(dir.path(), eager()).await;
    node.schema("t", &[("id", "integer")]).await;
    node.table("t", 1, &[]).await;
    let off = |key: &str| (key.to_owned(), "false".to_owned());
    let updates = vec![iceberg::TableUpdate::SetProperties {
        updates: [off("frazil.table.compaction.enabled"), off("frazil.table.expiry.enabled")].into(),
    }];
    node.tables.commit(&node.tables.ident("t"), vec![], updates).await.expect("properties");
    for i in 0..12 {
        node.produce_ids("t", 0, i..i + 1).await;
        node.commit("t").await;
    }
    // Several rounds of the duty.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(files(&node, "t").await, 12);
    // Who asks for it gets it all the same.
    let done = node.commands.table_action("public.t", compact_all()).await.expect("compact");
    assert!(matches!(done, TableAnswer::Compacted { files_before: 12, files_after: 1, .. }), "{done:?}");
    assert!(node.commands.table_action("nope", compact_all()).await.is_err());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_moved_back_is_not_touched_and_goes_on_when_told() {
    for skip in [false, true] {
        let dir = TempDir::new();
        let node = Node::start_with(dir.path(), eager()).await;
        node.schema("t", &[("id", "integer")]).await;
        node.table("t", 1, &[]).await;
        for i in 0..3 {
            node.produce_ids("t", 0, i * 10..i * 10 + 10).await;
            node.commit("t").await;
        }
        // The target is a compaction: it carries progress of its own.
        let done = node.commands.table_action("t", compact_all()).await.expect("compact");
        let TableAnswer::Compacted { snapshot_id: Some(target), .. } = done else { panic!("{done:?}") };
        node.produce_ids("t", 0, 30..40).await;
        node.commit("t").await;
        let to = RollbackTarget::SnapshotId(target);
        let back = TableAction::Rollback { dry_run: false, to };
        node.commands.table_action("t", back).await.expect("rollback");
        // The task is told; nobody has to produce or commit.
        let status = node.until_state("t", "rolled_back").await;
        assert_eq!(status.records, 30);
        node.commands.table_action("t", compact_all()).await.expect_err("its operator decides first");
        node.commands.resume_table("t", skip).await.expect("resume");
        node.produce_ids("t", 0, 40..45).await;
        node.commit("t").await;
        let ids: Vec<_> = node.rows("t").await.into_iter().map(|(_, _, id)| id).collect();
        let expected: Vec<i64> = if skip { (0..30).chain(40..45).collect() } else { (0..45).collect() };
        assert_eq!(ids, expected, "skip: {skip}");
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_can_partition_its_table_anew() {
    const SPEC: &str = "redpanda.iceberg.partition.spec";
    let dir = TempDir::new();
    let node = Node::start(dir.path()).await;
    node.schema("t", &[("id", "integer")]).await;
    node.table("t", 1, &[]).await;
    node.produce_ids("t", 0, 0..10).await;
    node.commit("t").await;
    let set = |text: &str| [(SPEC.to_owned(), Some(text.to_owned()))];
    let refused = node.commands.alter_topic("t", &set("(nope)")).await.expect_err("unknown column");
    assert!(refused.to_string().contains("no column `nope`"), "{refused}");
    for (text, from) in [("(bucket(2, id))", 10), ("(hour(redpanda.timestamp))", 20), ("()", 30)] {
        node.commands.alter_topic("t", &set(text)).await.expect(text);
        let table = node.tables.load(&node.tables.ident("t")).await.expect("load");
        let fields = table.metadata.default_partition_spec().fields().len();
        assert_eq!(fields, usize::from(text != "()"), "{text}");
        node.produce_ids("t", 0, from..from + 10).await;
        node.commit("t").await;
    }
    node.commands.table_action("t", compact_all()).await.expect("compact");
    let ids: Vec<_> = node.rows("t").await.into_iter().map(|(_, _, id)| id).collect();
    assert_eq!(ids, (0..40).collect::<Vec<_>>());
    node.stop().await;
}
