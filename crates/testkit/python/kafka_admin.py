"""Admin requests of confluent-kafka and kafka-python: topics, partitions, properties, groups, positions.

usage: kafka_admin.py HOST:PORT

Prints one line per step; exits with a traceback at the first answer that is not as it should be.
"""

import sys
import time
import uuid

import confluent_kafka
import confluent_kafka.admin as ck
import kafka
import kafka.admin


def step(text):
    print(f"ok  {text}", flush=True)


def confluent(servers):
    admin = ck.AdminClient({"bootstrap.servers": servers})
    topic = f"admin-{uuid.uuid4()}"
    admin.create_topics([ck.NewTopic(topic, 2, 1, config={"retention.ms": "12345"})])[topic].result(20)
    metadata = admin.list_topics(topic, timeout=20)
    assert len(metadata.topics[topic].partitions) == 2 and len(metadata.brokers) == 1
    step("confluent: create topic, metadata")

    try:
        admin.create_topics([ck.NewTopic(topic, 2, 1)])[topic].result(20)
        raise AssertionError("a topic was created twice")
    except confluent_kafka.KafkaException as error:
        assert error.args[0].code() == confluent_kafka.KafkaError.TOPIC_ALREADY_EXISTS, error
    try:
        admin.create_topics([ck.NewTopic(topic + "-x", 1, 1, config={"retention.mss": "1"})])[topic + "-x"].result(20)
        raise AssertionError("an unknown property was taken")
    except confluent_kafka.KafkaException as error:
        assert error.args[0].code() == confluent_kafka.KafkaError.INVALID_CONFIG, error
        assert "retention.ms" in error.args[0].str(), error
    step("confluent: refusals have codes and messages")

    resource = ck.ConfigResource(ck.ResourceType.TOPIC, topic)
    config = admin.describe_configs([resource])[resource].result(20)
    assert config["retention.ms"].value == "12345" and config["cleanup.policy"].value == "delete"
    resource.add_incremental_config(ck.ConfigEntry("cleanup.policy", "compact", incremental_operation=ck.AlterConfigOpType.APPEND))
    resource.add_incremental_config(ck.ConfigEntry("retention.ms", None, incremental_operation=ck.AlterConfigOpType.DELETE))
    admin.incremental_alter_configs([resource])[resource].result(20)
    config = admin.describe_configs([resource])[resource].result(20)
    assert config["cleanup.policy"].value == "delete,compact", config["cleanup.policy"].value
    assert config["retention.ms"].is_default
    broker = ck.ConfigResource(ck.ResourceType.BROKER, "1")
    assert "num.partitions" in admin.describe_configs([broker])[broker].result(20)
    step("confluent: describe and alter properties, topic and broker")

    admin.create_partitions([ck.NewPartitions(topic, 5)])[topic].result(20)
    assert len(admin.list_topics(topic, timeout=20).topics[topic].partitions) == 5
    cluster = admin.describe_cluster().result(20)
    assert cluster.cluster_id and len(cluster.nodes) == 1
    described = admin.describe_topics(confluent_kafka.TopicCollection([topic]))[topic].result(20)
    assert len(described.partitions) == 5
    groups = admin.list_consumer_groups().result(20)
    assert not groups.errors
    latest = confluent_kafka.TopicPartition(topic, 0)
    found = admin.list_offsets({latest: ck.OffsetSpec.latest()})[latest].result(20)
    assert found.offset == 0
    step("confluent: partitions, cluster, topics, groups, offsets")

    producer = confluent_kafka.Producer({"bootstrap.servers": servers, "acks": "all"})
    for i in range(20):
        producer.produce(topic, b"%d" % i, key=b"%d" % i, partition=1)
    assert producer.flush(20) == 0
    at = confluent_kafka.TopicPartition(topic, 1, 12)
    deleted = admin.delete_records([at])
    assert [f.result(20).low_watermark for f in deleted.values()] == [12]
    earliest = confluent_kafka.TopicPartition(topic, 1)
    found = admin.list_offsets({earliest: ck.OffsetSpec.earliest()})[earliest].result(20)
    assert found.offset == 12, found
    consumer = confluent_kafka.Consumer({"bootstrap.servers": servers, "group.id": topic, "auto.offset.reset": "earliest"})
    consumer.assign([confluent_kafka.TopicPartition(topic, 1, 3)])
    message = consumer.poll(20)
    assert message is not None and message.error() is None and message.offset() == 12, message and message.error()
    consumer.close()
    step("confluent: delete records; who reads from before goes on where the log begins")

    try:
        elected = admin.elect_leaders(confluent_kafka.ElectionType.PREFERRED, [confluent_kafka.TopicPartition(topic, 0)]).result(20)
        codes = [error.code() for error in elected.values() if error is not None]
        assert codes == [confluent_kafka.KafkaError.ELECTION_NOT_NEEDED], codes
    except confluent_kafka.KafkaException as error:
        raise AssertionError(f"elect leaders: {error}")
    step("confluent: elect leaders")

    admin.delete_topics([topic])[topic].result(20)
    assert topic not in admin.list_topics(timeout=20).topics
    step("confluent: delete topic")


def kafka_python(servers):
    admin = kafka.admin.KafkaAdminClient(bootstrap_servers=servers)
    topic = f"admin-{uuid.uuid4()}"
    admin.create_topics([kafka.admin.NewTopic(name=topic, num_partitions=2, replication_factor=1)])
    assert topic in admin.list_topics()
    step("kafka-python: create and list topics")
    resource = kafka.admin.ConfigResource(kafka.admin.ConfigResourceType.TOPIC, topic)
    assert admin.describe_configs([resource])
    assert admin.describe_cluster()
    step("kafka-python: describe properties and cluster")
    admin.list_groups() if hasattr(admin, "list_groups") else admin.list_consumer_groups()
    step("kafka-python: list groups")

    producer = kafka.KafkaProducer(bootstrap_servers=servers)
    before = int(time.time() * 1000)
    for i in range(10):
        producer.send(topic, b"%d" % i, partition=0, timestamp_ms=before + i).get(20)
    consumer = kafka.KafkaConsumer(bootstrap_servers=servers)
    at = kafka.TopicPartition(topic, 0)
    assert consumer.beginning_offsets([at])[at] == 0 and consumer.end_offsets([at])[at] == 10
    found = consumer.offsets_for_times({at: before + 4})[at]
    assert found.offset == 4 and found.timestamp == before + 4, found
    assert consumer.offsets_for_times({at: before + 1_000_000})[at] is None
    step("kafka-python: positions by time")
    deleted = admin.delete_records({at: 4})
    assert consumer.beginning_offsets([at])[at] == 4, deleted
    dirs = admin.describe_log_dirs()
    assert topic in str(dirs), dirs
    step("kafka-python: delete records, log directories")
    admin.delete_topics([topic])
    assert topic not in admin.list_topics()
    step("kafka-python: delete topic")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    confluent(sys.argv[1])
    kafka_python(sys.argv[1])
