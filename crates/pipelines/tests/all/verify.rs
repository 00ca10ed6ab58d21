//! Every offset is accounted for, and what is wrong is told.

use crate::node::{Node, TempDir};

#[tokio::test(flavor = "multi_thread")]
async fn every_offset_has_one_fate() {
    let dir = TempDir::new();
    let mut node = Node::start(dir.path()).await;
    node.schema("t", &[("id", "integer")]).await;
    node.table("t", 2, &[]).await;
    let empty = node.commands.verify_table("t").await.expect("verify");
    assert!(empty.ok && empty.rows == 0, "{empty:?}");
    node.produce_ids("t", 0, 0..100).await;
    node.produce("t", 1, &["no json", r#"{"id":1}"#, r#"{"id":"x"}"#]).await;
    node.commit("t").await;
    node.produce_ids("t", 0, 100..150).await;
    node.commit("t").await;
    let report = node.commands.verify_table("public.t").await.expect("verify");
    assert!(report.ok, "{report:?}");
    assert_eq!((report.rows, report.dead_letter_rows, report.foreign_rows), (151, 2, 0));
    let [first, second] = &report.partitions[..] else { panic!("{report:?}") };
    assert_eq!((first.fates.rows, first.next, first.compared), (150, 150, Some((0, 150))));
    assert_eq!((second.fates.rows, second.fates.dead_letters, second.next), (1, 2, 3));
    // Another life of the topic has an account of its own.
    node.commands
        .alter_topic("t", &[("redpanda.iceberg.delete".into(), Some("false".into()))])
        .await
        .expect("alter");
    node.commands.delete_topic("t").await.expect("delete");
    node.table("t", 1, &[]).await;
    node.produce_ids("t", 0, 0..40).await;
    node.commit("t").await;
    node.kill().await;
    node = Node::start(dir.path()).await;
    let report = node.commands.verify_table("t").await.expect("verify");
    assert!(report.ok, "{report:?}");
    assert_eq!((report.rows, report.partitions.len()), (191, 3));
    assert!(matches!(node.commands.verify_table("u").await, Err(pipelines::CommandError::NotFound(_))));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told() {
    let dir = TempDir::new();
    let node = Node::start(dir.path()).await;
    node.schema("t", &[("id", "integer")]).await;
    node.table("t", 1, &[]).await;
    node.produce_ids("t", 0, 0..20).await;
    node.commit("t").await;
    let ident = node.tables.ident("t");
    let findings = async || node.commands.verify_table("t").await.expect("verify").findings.join("\n");
    assert_eq!(findings().await, "");
    // Another engine appends rows that were there already.
    let table = node.tables.load(&ident).await.expect("load");
    let topic = node.topics.topic("t").expect("topic");
    let rows = queries::TopicRows::new(&node.topics, &node.registry, topic).expect("rows");
    let decoded = rows.decode(0, 5, 8, 1 << 20).expect("decoded");
    let mut writer = node.tables.writer(&table).expect("writer");
    for batch in &decoded.batches {
        writer.write(batch).await.expect("written");
    }
    let staged = writer.finish().await.expect("staged");
    node.tables.append(&ident, staged, Vec::new(), Default::default()).await.expect("appended");
    let text = findings().await;
    assert!(text.contains("23 rows, the account says 20"), "{text}");
    assert!(text.contains("rows that should not be there: [5, 8)"), "{text}");
    // A byte of a value is flipped: no offset tells of it.
    let scan = node.tables.scan(&table, None).await.expect("scan");
    let path = scan.files[0].location.strip_prefix("file://").expect("local").to_owned();
    let whole = std::fs::read(&path).expect("read");
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    std::fs::write(&path, &damaged).expect("damage");
    let text = findings().await;
    assert!(text.contains("is damaged") && text.contains(&path), "{text}");
    std::fs::write(&path, &whole).expect("mend");
    // A file is gone.
    let scan = node.tables.scan(&table, None).await.expect("scan");
    let path = scan.files[0].location.strip_prefix("file://").expect("local").to_owned();
    std::fs::remove_file(&path).expect("removed");
    let text = findings().await;
    assert!(text.contains("does not exist") && text.contains(&path), "{text}");
    node.stop().await;
}
