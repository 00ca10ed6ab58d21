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
    admin.delete_topics([topic])
    assert topic not in admin.list_topics()
    step("kafka-python: delete topic")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    confluent(sys.argv[1])
    kafka_python(sys.argv[1])
