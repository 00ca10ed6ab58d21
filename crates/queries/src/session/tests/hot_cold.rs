//! The log and Iceberg as one table.

use crate::engine::Settings;
use crate::fixture::{Node, TRADES};
use crate::rows::SchemaSwitch;
use crate::session::InputRead;

const COUNTS: &str = "select count(*), count(distinct qty), min(qty), max(qty) from trades";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_seen_before_the_first_commit_and_never_twice() {
    let node = Node::new();
    node.topic("trades", 3, TRADES).await;
    let mut s = node.session();
    assert_eq!(s.rows("select count(*) from trades").await, ["0"]);
    for partition in 0..3 {
        node.trades("trades", partition, i64::from(partition) * 100, 100).await;
    }
    assert_eq!(s.rows(COUNTS).await, ["300|300|0|299"], "hot only, and no table yet");
    assert!(s.rows("select 1 from trades where qty = 1000").await.is_empty());
    s.tag("set frazil.freshness = 'committed'").await;
    assert_eq!(s.rows("select count(*) from trades").await, ["0"], "nothing is committed");
    node.commit("trades").await;
    assert_eq!(s.rows(COUNTS).await, ["300|300|0|299"], "cold only");
    s.tag("reset frazil.freshness").await;
    assert_eq!(s.rows(COUNTS).await, ["300|300|0|299"], "nothing is left in the tail");
    node.trades("trades", 1, 300, 50).await;
    assert_eq!(s.rows(COUNTS).await, ["350|350|0|349"], "both");
    assert_eq!(s.rows(COUNTS).await, ["350|350|0|349"], "both, from kept chunks");
    let per_partition =
        "select redpanda.partition p, count(*), max(redpanda.offset) from trades group by 1 order by 1";
    assert_eq!(s.rows(per_partition).await, ["0|100|99", "1|150|149", "2|100|99"]);
    let plan = s.rows("explain select symbol from trades where qty > 10").await.join("\n");
    assert!(plan.contains("TailExec: trades 50 offsets over 1 partitions"), "{plan}");
    assert!(plan.contains("tail: trades 50 offsets over 1 partition; snapshot "), "{plan}");
    assert!(plan.contains("(1 file, 300 rows)"), "{plan}");
    node.commit("trades").await;
    assert_eq!(s.rows(COUNTS).await, ["350|350|0|349"]);
    let plan = s.rows("explain analyze select * from trades").await.join("\n");
    assert!(plan.contains("tail: trades 0 offsets; snapshot ") && plan.contains("rows: 350"), "{plan}");
    assert_eq!(s.rows("select qty from trades where qty between 298 and 301 order by qty").await.len(), 4);
    assert_eq!(
        s.rows("select t.qty from trades t join trades u using (qty) where t.qty > 347").await.len(),
        2
    );
    assert_eq!(s.rows("select * from trades order by qty limit 2").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_sees_one_moment() {
    let node = Node::new();
    node.topic("trades", 1, TRADES).await;
    node.topic("other", 1, TRADES).await;
    node.trades("trades", 0, 0, 10).await;
    let (mut s, mut fresh) = (node.session(), node.session());
    s.tag("begin").await;
    assert_eq!(s.rows("select count(*) from trades").await, ["10"]);
    node.trades("trades", 0, 10, 10).await;
    node.trades("other", 0, 0, 5).await;
    assert_eq!(s.rows("select count(*) from trades").await, ["10"], "repeatable read");
    node.commit("trades").await;
    node.trades("trades", 0, 20, 10).await;
    assert_eq!(s.rows("select count(*), max(qty) from trades").await, ["10|9"], "over a commit too");
    assert_eq!(s.rows("select count(*) from other").await, ["0"], "and of tables first read later");
    assert_eq!(fresh.rows("select count(*) from trades").await, ["30"]);
    s.tag("commit").await;
    assert_eq!(s.rows("select count(*) from trades").await, ["30"]);
    s.rows("select count(*) from trades").await;
    let snapshot_id = node.tables.load(&node.tables.ident("trades")).await.unwrap().current_snapshot_id();
    let read = InputRead { table: "trades".into(), snapshot_id, offsets: vec![(0, 30)] };
    assert_eq!(s.inputs_read(), [read]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_made_again_begins_anew_beside_the_old_rows() {
    let node = Node::new();
    node.topic("trades", 2, TRADES).await;
    node.trades("trades", 0, 0, 20).await;
    node.trades("trades", 1, 20, 20).await;
    node.commit("trades").await;
    let mut s = node.session();
    assert_eq!(s.rows(COUNTS).await, ["40|40|0|39"]);
    node.topics.delete("trades").unwrap();
    assert_eq!(s.rows(COUNTS).await, ["40|40|0|39"], "a table without topic is cold only");
    node.topic("trades", 1, TRADES).await;
    node.trades("trades", 0, 100, 5).await;
    assert_eq!(s.rows(COUNTS).await, ["45|45|0|104"], "offsets of another life are not the same offsets");
    node.commit("trades").await;
    node.trades("trades", 0, 105, 1).await;
    assert_eq!(s.rows(COUNTS).await, ["46|46|0|105"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_are_no_rows_are_dead_letters_only() {
    let node = Node::new();
    node.topic("trades", 1, TRADES).await;
    node.trades("trades", 0, 0, 3).await;
    node.produce("trades", 0, &["not json".into(), r#"{"qty":"many"}"#.into()]).await;
    node.trades("trades", 0, 3, 2).await;
    let mut s = node.session();
    assert_eq!(s.rows("select count(*), max(redpanda.offset) from trades").await, ["5|6"]);
    let dead = s.rows("select redpanda.offset, error.code from \"trades~dlq\" order by 1").await;
    assert_eq!(dead.len(), 2, "{dead:?}");
    assert!(dead[0].starts_with("3|malformed"), "{dead:?}");
    assert!(dead[1].starts_with("4|"), "{dead:?}");
    s.tag("set frazil.freshness = 'committed'").await;
    assert_eq!(s.rows("select count(*) from \"trades~dlq\"").await, ["0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_kept_tail_never_exceeds_its_budget() {
    let node = Node::with(Settings { tail_bytes: 64 << 10, ..Settings::default() });
    node.topic("trades", 4, TRADES).await;
    let mut s = node.session();
    for round in 0..6 {
        for partition in 0..4 {
            node.trades("trades", partition, (round * 4 + i64::from(partition)) * 100, 100).await;
        }
        let rows = (round + 1) * 400;
        assert_eq!(s.rows(COUNTS).await, [format!("{rows}|{rows}|0|{}", rows - 1)]);
        assert!(node.engine.tail_bytes() <= 64 << 10, "{}", node.engine.tail_bytes());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_statements_while_a_writer_commits_see_every_row_once() {
    let node = std::sync::Arc::new(Node::new());
    node.topic("trades", 2, TRADES).await;
    let writer = std::sync::Arc::clone(&node);
    let writing = tokio::spawn(async move {
        for round in 0..12 {
            writer.trades("trades", (round % 2) as i32, round * 20, 20).await;
            if round % 3 == 2 {
                writer.commit("trades").await;
            }
        }
    });
    let mut s = node.session();
    let mut last = 0;
    while last < 240 {
        let row = s.rows("select count(*), count(distinct qty) from trades").await.remove(0);
        let (all, distinct) = row.split_once('|').unwrap();
        assert_eq!(all, distinct, "no row twice");
        let now: i64 = all.parse().unwrap();
        assert!(now >= last && now % 20 == 0, "{last} then {now}: acknowledged rows stay, batches are whole");
        last = now;
        if writing.is_finished() && now < 240 {
            assert_eq!(s.rows("select count(*) from trades").await, ["240"]);
        }
    }
    writing.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_skipped_by_their_bounds_and_counts_need_no_reading() {
    let node = Node::new();
    node.topic("trades", 1, TRADES).await;
    for round in 0..3 {
        node.trades("trades", 0, round * 100, 100).await;
        node.commit("trades").await;
    }
    let mut s = node.session();
    let plan = s.rows("explain analyze select symbol from trades where qty = 250").await.join("\n");
    assert!(plan.contains("files_ranges_pruned_statistics=3 total → 1 matched"), "{plan}");
    let count = s.rows("explain select count(*) from trades").await.join("\n");
    assert!(count.contains("300 as count(*)") && !count.contains("DataSourceExec"), "{count}");
    node.produce("trades", 0, &["not json".into()]).await;
    node.trades("trades", 0, 300, 10).await;
    // Not yet decoded: an offset need not be a row, so the count must be counted.
    let count = s.rows("explain select count(*) from trades").await.join("\n");
    assert!(count.contains("TailExec"), "{count}");
    assert_eq!(s.rows("select count(*) from trades").await, ["310"]);
    let count = s.rows("explain select count(*) from trades").await.join("\n");
    assert!(count.contains("310 as count(*)"), "{count}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kept_rows_are_those_of_the_schemas_that_hold_now() {
    let node = Node::new();
    node.topic("trades", 1, r#"{"type":"object","properties":{"qty":{"type":"integer"}}}"#).await;
    node.produce("trades", 0, &[-1, -2, 3].map(|n| format!(r#"{{"qty":{n}}}"#))).await;
    let mut s = node.session();
    assert_eq!(s.rows("select count(*), sum(qty) from trades").await, ["3|0"]);
    // A switch that was on its way to the disk when the statement began: the same columns, other rows.
    let strict = schemas::NewSchema {
        schema_type: schemas::SchemaType::Json,
        schema: r#"{"type":"object","properties":{"qty":{"type":"integer","minimum":0}}}"#.into(),
        references: Vec::new(),
    };
    let first = node.registry.version("trades-value", schemas::Version::Latest).unwrap().schema.id;
    let second = node.registry.register("trades-value", strict).unwrap().schema.id;
    let switch = |schema_id, start| SchemaSwitch { schema_id, starts: [(0, start)].into() };
    let topic = node.topics.topic("trades").unwrap().id;
    node.store_switches(topic, vec![switch(first, 0), switch(second, 1)]).await;
    assert_eq!(s.rows("select count(*), sum(qty) from trades").await, ["2|2"]);
    assert_eq!(s.rows("select count(*) from \"trades~dlq\"").await, ["1"]);
}
