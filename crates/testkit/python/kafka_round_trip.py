"""Produces with one Kafka client and consumes with each of them, in every compression.

usage: kafka_round_trip.py HOST:PORT

Clients: confluent-kafka, kafka-python and, when it is installed, kcat. Consumers are assigned their partitions. Prints one
line per combination; exits with 1 when a record is lost, doubled, reordered within its partition or changed.
"""

import shutil
import subprocess
import sys
import uuid

import confluent_kafka
import confluent_kafka.admin
import kafka

COMPRESSIONS = ["none", "gzip", "snappy", "lz4", "zstd"]
PARTITIONS = 3
RECORDS = 3000


def expected():
    """(partition, key, value) in the order of each partition."""
    return [(i % PARTITIONS, b"key-%d" % i, b"value %06d " % i + b"x" * (i % 300)) for i in range(RECORDS)]


def create(servers, topic):
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": servers})
    future = admin.create_topics([confluent_kafka.admin.NewTopic(topic, PARTITIONS, 1)])[topic]
    future.result(20)


def produce_confluent(servers, topic, compression):
    errors = []
    producer = confluent_kafka.Producer({
        "bootstrap.servers": servers, "compression.type": compression, "enable.idempotence": True, "linger.ms": 5,
        "batch.num.messages": 500, "queue.buffering.max.messages": RECORDS + 1,
    })
    for partition, key, value in expected():
        producer.produce(topic, value, key, partition, on_delivery=lambda e, m: errors.append(e) if e else None)
    assert producer.flush(30) == 0, "not everything was acknowledged"
    assert not errors, errors[0]


def produce_kafka_python(servers, topic, compression):
    codec = None if compression == "none" else compression
    producer = kafka.KafkaProducer(bootstrap_servers=servers, compression_type=codec, linger_ms=5)
    sent = [producer.send(topic, value, key, partition=partition) for partition, key, value in expected()]
    producer.flush(30)
    for future in sent:
        future.get(30)
    producer.close()


def produce_kcat(servers, topic, compression):
    for partition in range(PARTITIONS):
        lines = b"".join(k + b"\t" + v + b"\n" for p, k, v in expected() if p == partition)
        run = ["kcat", "-P", "-b", servers, "-t", topic, "-p", str(partition), "-K", "\t", "-z", compression]
        done = subprocess.run(run, input=lines, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
        assert b"not compressing" not in done.stderr, done.stderr.decode()


def consume_confluent(servers, topic):
    consumer = confluent_kafka.Consumer({
        "bootstrap.servers": servers, "group.id": "round-trip", "enable.auto.commit": False,
        "enable.partition.eof": True,
    })
    beginning = confluent_kafka.OFFSET_BEGINNING
    consumer.assign([confluent_kafka.TopicPartition(topic, p, beginning) for p in range(PARTITIONS)])
    records, ended = [], set()
    while len(ended) < PARTITIONS:
        message = consumer.poll(20)
        assert message is not None, "nothing came for 20 s"
        if message.error():
            assert message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF, message.error()
            ended.add(message.partition())
        else:
            records.append((message.partition(), message.offset(), message.key(), message.value()))
    consumer.close()
    return records


def consume_kafka_python(servers, topic):
    consumer = kafka.KafkaConsumer(bootstrap_servers=servers, group_id=None, consumer_timeout_ms=20000)
    partitions = [kafka.TopicPartition(topic, p) for p in range(PARTITIONS)]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    ends = consumer.end_offsets(partitions)
    records = []
    while any(consumer.position(p) < ends[p] for p in partitions):
        got = consumer.poll(timeout_ms=20000)
        assert got, "nothing came for 20 s"
        records += [(r.partition, r.offset, r.key, r.value) for some in got.values() for r in some]
    consumer.close()
    return records


def consume_kcat(servers, topic):
    run = ["kcat", "-C", "-b", servers, "-t", topic, "-e", "-q", "-o", "beginning", "-f", "%p\t%o\t%k\t%s\n"]
    done = subprocess.run(run, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    rows = [line.split(b"\t") for line in done.stdout.splitlines()]
    return [(int(p), int(o), k, v) for p, o, k, v in rows]


def differences(records):
    for partition in range(PARTITIONS):
        want = [(k, v) for p, k, v in expected() if p == partition]
        mine = [r for r in records if r[0] == partition]
        if [r[1] for r in mine] != list(range(len(want))):
            return f"partition {partition}: {len(mine)} records at other offsets than 0..{len(want)}"
        if [(r[2], r[3]) for r in mine] != want:
            return f"partition {partition}: records differ"
    return None


def main(servers):
    producers = {"confluent-kafka": produce_confluent, "kafka-python": produce_kafka_python}
    consumers = {"confluent-kafka": consume_confluent, "kafka-python": consume_kafka_python}
    if shutil.which("kcat"):
        producers["kcat"] = produce_kcat
        consumers["kcat"] = consume_kcat
    failed = 0
    for producer, produce in producers.items():
        for compression in COMPRESSIONS:
            topic = f"round-trip-{uuid.uuid4()}"
            create(servers, topic)
            produce(servers, topic, compression)
            for consumer, consume in consumers.items():
                problem = differences(consume(servers, topic))
                failed += problem is not None
                print(f"{producer:16} {compression:7} {consumer:16} {problem or 'ok'}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
