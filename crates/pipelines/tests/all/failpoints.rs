//! Something goes wrong at each named step between staging and acknowledgement: every batch is committed by exactly one
//! snapshot, and every offset is accounted for.

use std::time::Duration;

use tables::failpoints::{Mishap, Step};

use crate::node::{Node, TempDir};

async fn start(dir: &TempDir) -> Node {
    Node::start(dir.path()).await
}

/// Lets the mishap strike the first commit of ten records; `dead_letters` lets it strike the dead-letter table.
async fn strike(step: Step, mishap: Mishap, dead_letters: bool) {
    let case = format!("{step:?} {mishap:?} {dead_letters}");
    let dir = TempDir::new();
    let mut node = start(&dir).await;
    node.schema("t", &[("id", "integer")]).await;
    // Only asked for, or the mishap would strike before the test looks.
    node.table("t", 1, &[("redpanda.iceberg.target.lag.ms", "3600000")]).await;
    node.produce_ids("t", 0, 0..10).await;
    if dead_letters {
        node.produce("t", 0, &["bad"]).await;
    }
    node.tables.faults().add(step, mishap);
    let mut struck = node.tables.faults().struck();
    let commands = node.commands.clone();
    let first = tokio::spawn(async move { commands.commit_now("t").await.is_ok() });
    struck.wait_for(|times| *times == 1).await.unwrap_or_else(|_| panic!("{case}: never passed"));
    if mishap == Mishap::Hang {
        // As after kill -9: nothing that was on its way goes on.
        node.supervisor.stop(Duration::from_millis(50)).await;
        first.abort();
        let _ = first.await;
        drop(node);
        node = start(&dir).await;
    } else {
        first.await.unwrap_or_else(|error| panic!("{case}: {error}"));
    }
    let committed = node.commands.commit_now("t").await;
    assert!(committed.is_ok(), "{case}: {committed:?}");
    node.produce_ids("t", 0, 10..20).await;
    node.commit("t").await;
    let ids: Vec<i64> = node.rows("t").await.into_iter().map(|(_, _, id)| id).collect();
    assert_eq!(ids, (0..20).collect::<Vec<_>>(), "{case}");
    let table = node.tables.load(&node.tables.ident("t")).await.expect("load");
    let batches: Vec<_> =
        table.snapshots().into_iter().filter_map(|s| s.summary.get("added-records").cloned()).collect();
    assert_eq!(batches, ["10", "10"], "{case}: one snapshot for each batch");
    let report = node.commands.verify_table("t").await.expect("verify");
    assert!(report.ok, "{case}: {report:?}");
    assert_eq!(report.dead_letter_rows, u64::from(dead_letters), "{case}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_each_batch_is_committed_once() {
    for dead_letters in [false, true] {
        for step in Step::ALL {
            strike(step, Mishap::Unavailable, dead_letters).await;
            strike(step, Mishap::Refused, dead_letters).await;
            strike(step, Mishap::Hang, dead_letters).await;
        }
        strike(Step::BeforePointer, Mishap::Conflict, dead_letters).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_owner_is_fenced() {
    let dir = TempDir::new();
    let node = start(&dir).await;
    node.schema("t", &[("id", "integer")]).await;
    node.table("t", 1, &[("redpanda.iceberg.target.lag.ms", "3600000")]).await;
    node.produce_ids("t", 0, 0..10).await;
    // The first owner hangs before its commit; a second one of the same table takes over.
    node.tables.faults().add(Step::AfterDataFile, Mishap::Hang);
    let mut struck = node.tables.faults().struck();
    let commands = node.commands.clone();
    let stale = tokio::spawn(async move { commands.commit_now("t").await });
    struck.wait_for(|times| *times == 1).await.expect("struck");
    let supervisor = base::Supervisor::new(tokio::runtime::Handle::current());
    let second = pipelines::Commands::start_with(crate::node::settings(), node.deps(supervisor.clone()))
        .await
        .expect("the second owner");
    second.commit_now("t").await.expect("the second owner commits");
    let report = second.verify_table("t").await.expect("verify");
    assert!(report.ok && report.rows == 10, "{report:?}");
    stale.abort();
    supervisor.stop(Duration::from_millis(50)).await;
    node.supervisor.stop(Duration::from_millis(50)).await;
}

/// A value with its schema's id in front.
fn framed(id: i32, json: &str) -> Vec<u8> {
    [&[0][..], &id.to_be_bytes(), json.as_bytes()].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_dead_letters_have_decided_holds_though_it_would_fit_by_now() {
    for drop_invalid in [false, true] {
        let dir = TempDir::new();
        let node = start(&dir).await;
        node.schema("t", &[("id", "integer")]).await;
        node.table("t", 1, &[("redpanda.iceberg.mode", "value_schema_id_prefix")]).await;
        let values =
            [framed(1, r#"{"id":0}"#), framed(2, r#"{"id":1}"#), framed(1, r#"{"id":2}"#), b"bad".to_vec()];
        let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        node.produce_bytes("t", 0, &values).await;
        // The dead letters are committed, the table is not.
        node.tables.faults().add_after(1, Step::AfterManifest, Mishap::Hang);
        let mut struck = node.tables.faults().struck();
        let commands = node.commands.clone();
        let first = tokio::spawn(async move { commands.commit_now("t").await.is_ok() });
        struck.wait_for(|times| *times == 1).await.expect("passed");
        node.supervisor.stop(Duration::from_millis(50)).await;
        first.abort();
        let _ = first.await;
        drop(node);
        let node = start(&dir).await;
        assert_eq!(node.dead_letters("t").await, [(0, 1), (0, 3)]);
        // Now the second record names a schema that there is.
        node.schema("other", &[("id", "integer"), ("more", "integer")]).await;
        if drop_invalid {
            let change = ("redpanda.iceberg.invalid.record.action".to_owned(), Some("drop".to_owned()));
            node.commands.alter_topic("t", &[change]).await.expect("alter");
        }
        node.produce_bytes("t", 0, &[&framed(2, r#"{"id":4}"#), b"bad"]).await;
        node.commit("t").await;
        assert_eq!(node.rows("t").await, [(0, 0, 0), (0, 2, 2), (0, 4, 4)]);
        let dead: &[(i64, i64)] = if drop_invalid { &[(0, 1), (0, 3)] } else { &[(0, 1), (0, 3), (0, 5)] };
        assert_eq!(node.dead_letters("t").await, dead);
        let report = node.commands.verify_table("t").await.expect("verify");
        assert!(report.ok, "{report:?}");
        node.stop().await;
    }
}

/// Three rows as another engine appends them: without a word about topic or offsets.
async fn foreign_append(node: &Node) {
    let ident = node.tables.ident("t");
    let table = node.tables.load(&ident).await.expect("load");
    let topic = node.topics.topic("t").expect("topic");
    let rows = queries::TopicRows::new(&node.topics, &node.registry, topic).expect("rows");
    let decoded = rows.decode(0, 0, 3, 1 << 20).expect("decoded");
    let mut writer = node.tables.writer(&table).expect("writer");
    for batch in &decoded.batches {
        let mut columns = batch.columns().to_vec();
        columns[0] = arrow::array::new_null_array(columns[0].data_type(), batch.num_rows());
        let batch = arrow::array::RecordBatch::try_new(batch.schema(), columns).expect("batch");
        writer.write(&batch).await.expect("written");
    }
    let staged = writer.finish().await.expect("staged");
    node.tables.append(&ident, staged, Vec::new(), Default::default()).await.expect("appended");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_engine_writes_to_the_same_table_all_the_time() {
    let dir = TempDir::new();
    let node = std::sync::Arc::new(start(&dir).await);
    node.schema("t", &[("id", "integer")]).await;
    node.table("t", 1, &[]).await;
    node.produce_ids("t", 0, 0..10).await;
    node.commit("t").await;
    let other = std::sync::Arc::clone(&node);
    let guest = tokio::spawn(async move {
        for _ in 0..20 {
            foreign_append(&other).await;
        }
    });
    // Some commits also lose their replies, so that they are looked up below foreign snapshots.
    for round in 1..21 {
        node.produce_ids("t", 0, round * 10..round * 10 + 10).await;
        if round % 3 == 0 {
            node.tables.faults().add(Step::AfterPointer, Mishap::Unavailable);
        }
        while node.commands.commit_now("t").await.is_err() {}
    }
    guest.await.expect("the guest");
    let report = node.commands.verify_table("t").await.expect("verify");
    assert!(report.ok, "{report:?}");
    assert_eq!((report.rows, report.foreign_rows), (270, 60), "{report:?}");
    let ours = node.rows("t").await.into_iter().filter(|(_, offset, _)| *offset >= 0);
    assert_eq!(ours.map(|(_, _, id)| id).collect::<Vec<_>>(), (0..210).collect::<Vec<_>>());
    std::sync::Arc::into_inner(node).expect("alone").stop().await;
}
