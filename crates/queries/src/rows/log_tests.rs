//! Rows of a real log.

use std::path::PathBuf;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use schemas::{NewSchema, SchemaType};
use topics::batch::BatchBuilder;
use topics::{AtomicAppend, NewTopic, Topics};

use super::*;

/// Key, value, headers.
pub(super) type Record<'a> = (Option<&'a [u8]>, Option<&'a [u8]>, &'a [(&'a [u8], Option<&'a [u8]>)]);

/// A log and a registry in a directory of their own.
pub(super) struct Node {
    pub(super) topics: Topics,
    pub(super) registry: schemas::Registry,
    dir: PathBuf,
}

impl Node {
    pub(super) fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("frazil-rows-{}", uuid::Uuid::new_v4()));
        let disk: storage::SharedDisk = Arc::new(storage::RealDisk);
        let directory = storage::DataDirectory::open(disk.clone(), &dir).expect("directory");
        let control = storage::Control::open(&disk, &storage::layout::control_file(directory.path()));
        let control = control.expect("control store");
        let deps = topics::embedded::Deps {
            directory,
            control: control.clone(),
            clock: Arc::new(base::SystemClock),
        };
        let supervisor = base::Supervisor::new(tokio::runtime::Handle::current());
        let topics = Topics::open(topics::Settings::default(), deps, &supervisor).expect("log");
        Self { topics, registry: schemas::Registry::open(control).expect("registry"), dir }
    }

    pub(super) fn create(&self, mode: &str) -> Arc<topics::TopicInfo> {
        let config = [("redpanda.iceberg.mode".to_owned(), mode.to_owned())].into();
        let topic = NewTopic { name: "trades".into(), partitions: Some(1), config };
        self.topics.create(topic).expect("topic")
    }

    fn register(&self, schema: &str) -> SchemaId {
        self.register_as("trades-value", schema)
    }

    pub(super) fn register_as(&self, subject: &str, schema: &str) -> SchemaId {
        let schema =
            NewSchema { schema_type: SchemaType::Json, schema: schema.into(), references: Vec::new() };
        self.registry.register(subject, schema).expect("schema").schema.id
    }

    /// Appends one batch of whole records.
    pub(super) async fn append(&self, records: &[Record<'_>]) {
        let mut batch = BatchBuilder::new();
        for (key, value, headers) in records {
            batch.push(0, *key, *value, headers);
        }
        let batch = batch.build().expect("batch");
        self.topics.append("trades", 0, batch).expect("append").await.expect("durable");
    }

    pub(super) async fn produce(&self, values: &[&str]) {
        let mut batch = BatchBuilder::new();
        values.iter().for_each(|value| batch.push(0, None, Some(value.as_bytes()), &[]));
        let batch = batch.build().expect("batch");
        self.topics.append("trades", 0, batch).expect("append").await.expect("durable");
    }

    async fn switch(&self, topic: TopicId, switches: Vec<SchemaSwitch>) {
        self.store(topic, SchemaSwitches { switches, ..SchemaSwitches::default() }).await;
    }

    pub(super) async fn store(&self, topic: TopicId, stored: SchemaSwitches) {
        let writer = TopicRows::switches_writer(topic);
        let epoch = self.topics.claim_writer(&writer).await.expect("claim").epoch;
        let progress = Bytes::from(serde_json::to_vec(&stored).expect("JSON"));
        let append = AtomicAppend { writer, epoch, batches: Vec::new(), progress };
        self.topics.append_atomically(append).await.expect("stored");
    }

    pub(super) fn rows(&self, topic: &Arc<topics::TopicInfo>) -> Result<TopicRows, RowsError> {
        TopicRows::new(&self.topics, &self.registry, topic.clone())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn since(schema_id: SchemaId, start: Offset) -> SchemaSwitch {
    SchemaSwitch { schema_id, starts: [(0, start)].into() }
}

#[tokio::test]
async fn a_topic_becomes_rows_once_its_schema_is_known() {
    let node = Node::new();
    let topic = node.create("value_schema_latest");
    let early = node.rows(&topic).expect_err("no schema").to_string();
    assert!(early.contains("register one under subject trades-value"), "{early}");

    let first = node.register(r#"{"type":"object","properties":{"qty":{"type":"integer"}}}"#);
    node.switch(topic.id, vec![since(first, 0)]).await;
    node.produce(&[r#"{"qty":1}"#, "x"]).await;
    node.produce(&[r#"{"qty":3,"side":"BUY"}"#]).await;
    let second = node
        .register(r#"{"type":"object","properties":{"qty":{"type":"integer"},"side":{"type":"string"}}}"#);
    node.switch(topic.id, vec![since(first, 0), since(second, 3)]).await;
    node.produce(&[r#"{"qty":4,"side":"SELL"}"#]).await;

    let rows = node.rows(&topic).expect("ready");
    assert_eq!(rows.columns().fields().len(), 3);
    let mut from = 0;
    let (mut quantities, mut sides, mut rejected) = (Vec::new(), Vec::new(), Vec::new());
    while from < 4 {
        // One byte: a batch at a time.
        let part = rows.decode(0, from, 4, 1).expect("decodes");
        assert!(part.next > from && part.bytes_read > 61);
        let partition = node.topics.partition("trades", 0).expect("partition");
        assert_eq!(partition.batch_hash(part.next - 1).expect("read"), Some(part.last_hash));
        for batch in &part.batches {
            assert_eq!(&batch.schema(), rows.columns());
            quantities.extend(batch.column(1).as_primitive::<Int64Type>().iter().flatten());
            sides.extend(batch.column(2).as_string::<i32>().iter().map(|s| s.map(str::to_owned)));
        }
        rejected.extend(part.rejected.iter().map(|r| r.offset));
        from = part.next;
    }
    assert_eq!(quantities, [1, 3, 4]);
    assert_eq!(sides, [None, None, Some("SELL".into())]);
    assert_eq!(rejected, [1]);
    let end = rows.decode(0, 4, 4, 1 << 20).expect("empty");
    assert_eq!((end.from, end.next, end.last_hash), (4, 4, 0));
    assert!(rows.decode(1, 0, 4, 1 << 20).is_err(), "there is no partition 1");
}

#[tokio::test]
async fn rows_belong_to_one_life_of_a_topic() {
    let node = Node::new();
    let topic = node.create("key_value");
    node.produce(&["a"]).await;
    let rows = node.rows(&topic).expect("ready");
    assert_eq!(rows.decode(0, 0, 1, 1 << 20).expect("decodes").batches[0].num_rows(), 1);
    node.topics.delete("trades").expect("deleted");
    let again = node.create("disabled");
    node.produce(&["b"]).await;
    let old = rows.decode(0, 0, 1, 1 << 20);
    assert!(matches!(old, Err(RowsError::Read(topics::ReadError::UnknownPartition { .. }))), "{old:?}");
    let refused = node.rows(&again).expect_err("no table").to_string();
    assert!(refused.contains("is no table: set redpanda.iceberg.mode"), "{refused}");
}
