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
    let wrong = node.commands.alter_topic("t", &mode("value:mode=text")).await;
    assert!(wrong.is_err(), "a mode that there is not is refused");
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

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_backfill_begins_where_it_was_switched_on() {
    let dir = TempDir::new();
    let node = Node::start(dir.path()).await;
    node.table("t", 2, &[("redpanda.iceberg.mode", "disabled")]).await;
    node.produce_ids("t", 0, 0..7).await;
    let changes = [("redpanda.iceberg.mode", "value_schema_latest"), ("frazil.table.backfill", "false")];
    let changes = changes.map(|(name, value)| (name.to_owned(), Some(value.to_owned())));
    node.commands.alter_topic("t", &changes).await.expect("alter");
    // The beginning is stored even though there is no schema yet.
    node.produce_ids("t", 0, 7..9).await;
    node.kill().await;
    let node = Node::start(dir.path()).await;
    node.schema("t", &[("id", "integer")]).await;
    let hot = node.all_rows("SELECT id FROM t").await.len();
    assert_eq!(hot, 2, "the log shows what the table will have");
    node.commit("t").await;
    assert_eq!(node.rows("t").await, [(0, 7, 7), (0, 8, 8)]);
    let status = node.status("t").await;
    assert_eq!((status.skipped, status.lag, status.message), (7, 0, None), "left out, and no alarm");
    let table = node.tables.load(&node.tables.ident("t")).await.expect("load");
    let summary = &table.snapshots()[0].summary;
    assert_eq!(summary[pipelines::SKIPPED], r#"{"0":[[0,7]]}"#);
    assert_eq!(summary[pipelines::BACKFILL], "false");
    node.produce_ids("t", 1, 20..21).await;
    node.commit("t").await;
    assert_eq!(node.rows("t").await.len(), 3);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_may_have_another_name_and_namespace() {
    let dir = TempDir::new();
    let node = Node::start(dir.path()).await;
    let own = [("frazil.table.namespace", "lake"), ("frazil.table.name", "orders")];
    node.schema("t", &[("id", "integer")]).await;
    node.table("t", 1, &own).await;
    node.produce("t", 0, &[r#"{"id":1}"#, "bad"]).await;
    let hot = node.all_rows("SELECT id FROM lake.orders").await;
    assert_eq!(hot, [[Some(1)]]);
    node.commit("t").await;
    assert_eq!(node.committed("SELECT id FROM lake.orders").await, [[Some(1)]]);
    let dead = node.committed("SELECT redpanda['offset'] FROM lake.\"orders~dlq\"").await;
    assert_eq!(dead, [[Some(1)]]);
    assert_eq!(node.status("lake.orders").await.topic, "t");
    assert!(node.tables.load(&node.tables.ident("t")).await.is_err());

    let config = own.iter().chain(&[("redpanda.iceberg.mode", "key_value")]);
    let config = config.map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let twice = topics::NewTopic { name: "u".into(), partitions: Some(1), config };
    let refused = node.commands.create_topic(twice).await.expect_err("taken").to_string();
    assert!(refused.contains("table lake.orders belongs to topic t"), "{refused}");
    let renamed = [("frazil.table.name".to_owned(), Some("other".to_owned()))];
    let refused = node.commands.alter_topic("t", &renamed).await.expect_err("it stays").to_string();
    assert!(refused.contains("redpanda.iceberg.mode=disabled"), "{refused}");
    node.commands.delete_topic("t").await.expect("delete");
    let ident = tables::TableIdent { namespace: vec!["lake".into()], name: "orders".into() };
    assert!(node.tables.load(&ident).await.is_err(), "its own table goes with it");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_takes_over_a_table_that_is_there() {
    use arrow::datatypes::{DataType, Field, Schema};
    let dir = TempDir::new();
    let node = Node::start(dir.path()).await;
    let create = |name: &'static str, id: DataType| {
        let columns = vec![Field::new("mine", DataType::Utf8, true), Field::new("id", id, true)];
        let new = tables::NewTable {
            schema: std::sync::Arc::new(Schema::new(columns)),
            partition_by: "(id)".into(),
            properties: Default::default(),
        };
        let (tables, ident) = (node.tables.clone(), node.tables.ident(name));
        async move { tables.create(&ident, new).await.expect("create") }
    };
    create("fits", DataType::Int64).await;
    create("differs", DataType::Utf8).await;
    node.table("fits", 1, &[("redpanda.iceberg.mode", "disabled")]).await;
    node.produce_ids("fits", 0, 0..3).await;
    for topic in ["fits", "differs"] {
        node.schema(topic, &[("id", "integer"), ("more", "integer")]).await;
    }
    let mode = [("redpanda.iceberg.mode".to_owned(), Some("value_schema_latest".to_owned()))];
    node.commands.alter_topic("fits", &mode).await.expect("alter");
    node.commit("fits").await;
    assert_eq!(node.rows("fits").await.len(), 3, "from the start of the log");
    assert_eq!(node.committed("SELECT id FROM fits WHERE mine IS NULL AND more IS NULL").await.len(), 3);

    let new = topics::NewTopic {
        name: "differs".into(),
        partitions: Some(1),
        config: [("redpanda.iceberg.mode".to_owned(), "value_schema_latest".to_owned())].into(),
    };
    let refused = node.commands.create_topic(new).await.expect_err("it does not fit").to_string();
    assert!(refused.contains("column id") && refused.contains("public.differs"), "{refused}");
    // A schema that comes later cannot refuse the topic: the table says what is wrong.
    create("later", DataType::Utf8).await;
    node.table("later", 1, &[]).await;
    node.schema("later", &[("id", "integer")]).await;
    let status = node.until_state("later", "paused").await;
    assert!(status.message.expect("message").contains("column id"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_spec_that_no_table_could_have_is_refused_at_once() {
    const SPEC: &str = "redpanda.iceberg.partition.spec";
    let dir = TempDir::new();
    let node = Node::start(dir.path()).await;
    node.schema("t", &[("id", "integer")]).await;
    let with = |spec: &str| topics::NewTopic {
        name: "t".into(),
        partitions: Some(1),
        config: [("redpanda.iceberg.mode", "value_schema_latest"), (SPEC, spec)]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
    };
    let refused =
        node.commands.create_topic(with("(day(at))")).await.expect_err("no such column").to_string();
    assert!(refused.contains("no column `at`; it has"), "{refused}");
    let mut of_ids = with("(day(at))");
    of_ids.name = "ids".into();
    of_ids.config.insert("redpanda.iceberg.mode".into(), "value_schema_id_prefix".into());
    node.commands.create_topic(of_ids).await.expect("its columns come with its records");
    node.commands.create_topic(with("(id)")).await.expect("create");
    let change = |spec: &str| [(SPEC.to_owned(), Some(spec.to_owned()))];
    let refused =
        node.commands.alter_topic("t", &change("(hour(id))")).await.expect_err("no time").to_string();
    assert!(refused.contains("hour(id)"), "{refused}");
    node.commands.alter_topic("t", &change("(bucket(4, id))")).await.expect("alter");
    node.stop().await;
}
