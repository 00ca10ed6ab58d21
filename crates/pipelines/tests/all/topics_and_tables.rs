//! Topics that are created, changed and deleted with their tables.

use crate::node::{Node, TempDir};

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_topic_takes_its_table_along() {
    let dir = TempDir::new();
    let node = Node::start(dir.path()).await;
    node.schema("t", &[("id", "integer")]).await;
    node.table("t", 1, &[]).await;
    node.produce("t", 0, &[r#"{"id":0}"#, "bad"]).await;
    node.commit("t").await;
    node.commands.delete_topic("t").await.expect("delete");
    for table in ["t", "t~dlq"] {
        assert!(node.tables.load(&node.tables.ident(table)).await.is_err(), "{table}");
    }
    assert!(node.topics.topic("t").is_none());
    assert!(node.commands.status().await.tables.is_empty());
    // The same name again is another topic: it begins anew and loses nothing.
    node.table("t", 1, &[]).await;
    node.produce_ids("t", 0, 100..103).await;
    node.commit("t").await;
    assert_eq!(node.rows("t").await, [(0, 0, 100), (0, 1, 101), (0, 2, 102)]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_stays_is_complete_and_takes_the_next_life_of_its_topic() {
    let dir = TempDir::new();
    let node = Node::start(dir.path()).await;
    node.schema("t", &[("id", "integer")]).await;
    node.table("t", 1, &[("redpanda.iceberg.delete", "false")]).await;
    node.produce_ids("t", 0, 0..5).await;
    node.commands.delete_topic("t").await.expect("delete");
    let table = node.tables.load(&node.tables.ident("t")).await.expect("it stays");
    assert_eq!(table.total_records(), 5, "committed before the topic went");
    node.table("t", 1, &[("redpanda.iceberg.delete", "false")]).await;
    node.produce_ids("t", 0, 100..102).await;
    node.commit("t").await;
    let ids: Vec<_> = node.committed("SELECT id FROM t ORDER BY 1").await.concat();
    assert_eq!(ids, [0, 1, 2, 3, 4, 100, 101].map(Some), "both lives, nothing skipped, nothing doubled");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_becomes_a_table_is_materialized_from_its_start() {
    let dir = TempDir::new();
    let node = Node::start(dir.path()).await;
    node.table("t", 1, &[("redpanda.iceberg.mode", "disabled")]).await;
    node.produce_ids("t", 0, 0..7).await;
    assert!(node.commands.commit_now("t").await.is_err());
    node.schema("t", &[("id", "integer")]).await;
    let mode = |value: &str| [("redpanda.iceberg.mode".to_owned(), Some(value.to_owned()))];
    node.commands.alter_topic("t", &mode("value_schema_latest")).await.expect("alter");
    node.commit("t").await;
    assert_eq!(node.rows("t").await.len(), 7);
    node.commands.alter_topic("t", &mode("disabled")).await.expect("alter");
    assert!(node.topics.consumers().is_empty(), "the log waits for no table any more");
    node.produce_ids("t", 0, 7..9).await;
    node.commands.alter_topic("t", &mode("value_schema_latest")).await.expect("alter");
    node.commit("t").await;
    assert_eq!(node.rows("t").await.len(), 9, "it goes on where the table stands");
    let wrong = node.commands.alter_topic("t", &mode("value_schema_id_prefix")).await;
    assert!(wrong.is_err(), "a mode that is not served is refused");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn added_partitions_are_materialized() {
    let dir = TempDir::new();
    let node = Node::start(dir.path()).await;
    node.schema("t", &[("id", "integer")]).await;
    node.table("t", 1, &[]).await;
    node.produce_ids("t", 0, 0..3).await;
    node.commit("t").await;
    node.commands.add_partitions("t", 3).await.expect("add");
    node.produce_ids("t", 2, 10..12).await;
    node.commit("t").await;
    assert_eq!(node.rows("t").await, [(0, 0, 0), (0, 1, 1), (0, 2, 2), (2, 0, 10), (2, 1, 11)]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn key_value_topics_need_no_schema() {
    let dir = TempDir::new();
    let node = Node::start(dir.path()).await;
    node.table("t", 1, &[("redpanda.iceberg.mode", "key_value")]).await;
    assert!(node.tables.load(&node.tables.ident("t")).await.is_ok());
    node.produce("t", 0, &["anything", "goes"]).await;
    node.commit("t").await;
    let offsets = node.committed(r#"SELECT redpanda['offset'] FROM t ORDER BY 1"#).await;
    assert_eq!(offsets, [[Some(0)], [Some(1)]]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_dead_letter_tables_are_taken() {
    let dir = TempDir::new();
    let node = Node::start(dir.path()).await;
    let config = [("redpanda.iceberg.mode".to_owned(), "key_value".to_owned())].into();
    let new = topics::NewTopic { name: "t~dlq".into(), partitions: Some(1), config };
    assert!(node.commands.validate_topic(&new).is_err());
    let refused = node.commands.create_topic(new).await.expect_err("refused").to_string();
    assert!(refused.contains("dead-letter"), "{refused}");
    assert!(node.topics.topic("t~dlq").is_none());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_whose_name_no_table_can_have_is_refused_as_one() {
    let dir = TempDir::new();
    let node = Node::start(dir.path()).await;
    for name in ["a..b", ".a"] {
        let config = [("redpanda.iceberg.mode".to_owned(), "key_value".to_owned())].into();
        let new = topics::NewTopic { name: name.into(), partitions: Some(1), config };
        let refused = node.commands.create_topic(new).await.expect_err("refused").to_string();
        assert!(refused.contains("cannot be a table"), "{refused}");
        assert!(node.topics.topic(name).is_none(), "no half of it stays");
        let plain = topics::NewTopic { name: name.into(), partitions: Some(1), config: Default::default() };
        node.commands.create_topic(plain).await.expect("a topic without a table");
    }
    node.stop().await;
}
