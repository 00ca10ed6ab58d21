//! Topics that ask for known schemas.

use schemas::{NewSchema, SchemaType};

use super::*;

fn avro(name: &str) -> NewSchema {
    NewSchema {
        schema_type: SchemaType::Avro,
        schema: format!(r#"{{"type":"record","name":"shop.{name}","fields":[]}}"#),
        references: Vec::new(),
    }
}

async fn topic(node: &Node, name: &str, config: &[(&str, &str)]) {
    let config = config.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let new = ::topics::NewTopic { name: name.into(), partitions: Some(1), config };
    node.commands.create_topic(new).await.unwrap();
}

fn framed(id: i32) -> Vec<u8> {
    [&[0][..], &id.to_be_bytes(), b"payload"].concat()
}

fn batch_of(values: &[Option<Vec<u8>>], compression: ::topics::batch::Compression) -> Bytes {
    let mut builder = ::topics::batch::BatchBuilder::new().compression(compression);
    for value in values {
        builder.push(1_700_000_000_000, Some(b"k"), value.as_deref(), &[]);
    }
    builder.build().unwrap()
}

async fn produce(client: &mut Client, topic: &str, batch: Bytes) -> (i16, Vec<(i32, String)>) {
    let response: ProduceResponse = client.call(Api::Produce, 9, &produce_request(topic, 0, batch, -1)).await;
    let partition = &response.responses[0].partition_responses[0];
    let message = |m: &Option<StrBytes>| m.as_ref().map(|m| m.to_string()).unwrap_or_default();
    let errors = partition.record_errors.iter();
    let errors = errors.map(|e| (e.batch_index, message(&e.batch_index_error_message))).collect();
    (partition.error_code, errors)
}

#[tokio::test(flavor = "multi_thread")]
async fn records_must_name_a_schema_of_their_subject() {
    use ::topics::batch::Compression;
    let node = Node::with_topic("free", 1).await;
    topic(&node, "t", &[("confluent.value.schema.validation", "true")]).await;
    let known = node.commands.register_schema("t-value", avro("a")).await.unwrap().schema.id;
    let other = node.commands.register_schema("u-value", avro("b")).await.unwrap().schema.id;
    let mut client = node.client().await;
    for compression in [Compression::None, Compression::Zstd] {
        let good = [Some(framed(known)), None];
        assert_eq!(produce(&mut client, "t", batch_of(&good, compression)).await, (0, vec![]));
        let mixed =
            [Some(framed(known)), Some(framed(other)), Some(framed(999)), Some(b"plain".to_vec()), None];
        let (code, errors) = produce(&mut client, "t", batch_of(&mixed, compression)).await;
        assert_eq!(code, 87, "INVALID_RECORD");
        let indexes: Vec<i32> = errors.iter().map(|(index, _)| *index).collect();
        assert_eq!(indexes, [1, 2, 3]);
        for ((_, message), expected) in errors.iter().zip([
            "is not registered under subject t-value",
            "Schema 999 not found",
            "begins with byte 0x70",
        ]) {
            assert!(message.contains(expected), "{message}");
        }
    }
    let plain = [Some(b"plain".to_vec())];
    assert_eq!(produce(&mut client, "free", batch_of(&plain, Compression::None)).await.0, 0);
    let deleted = schemas::Version::Latest;
    node.registry.delete_version("t-value", deleted, false).unwrap();
    let still = [Some(framed(known))];
    assert_eq!(produce(&mut client, "t", batch_of(&still, Compression::None)).await.0, 0, "softly deleted");
    let end = node.topics.partition("t", 0).map(|p| p.marks().durable);
    assert_eq!(end, Some(5), "nothing of a refused batch was appended");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strategies_name_the_subject() {
    use ::topics::batch::Compression;
    let node = Node::with_topic("free", 1).await;
    let redpanda = |strategy| {
        [("redpanda.value.schema.id.validation", "true"), ("redpanda.value.subject.name.strategy", strategy)]
    };
    topic(&node, "r", &redpanda("RecordNameStrategy")).await;
    topic(&node, "tr", &redpanda("TopicRecordNameStrategy")).await;
    let by_record = node.commands.register_schema("shop.a", avro("a")).await.unwrap().schema.id;
    let by_both = node.commands.register_schema("tr-shop.b", avro("b")).await.unwrap().schema.id;
    let mut client = node.client().await;
    for (topic, id, code) in
        [("r", by_record, 0), ("r", by_both, 87), ("tr", by_both, 0), ("tr", by_record, 87)]
    {
        let found = produce(&mut client, topic, batch_of(&[Some(framed(id))], Compression::None)).await;
        assert_eq!(found.0, code, "{topic} {id}: {found:?}");
    }
    node.stop().await;
}
