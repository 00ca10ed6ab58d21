"""Transactions with confluent-kafka: what they show to whom, and who is fenced.

usage: transactions.py mix --kafka-port P --postgres-port Q --topic T
       transactions.py copy --kafka-port P --from T --to U
       transactions.py read --kafka-port P --topic T --count N

mix:  commits and aborts transactions over two partitions, some of them at the same time, looks by SQL while one is open,
      and lets a producer be fenced. Prints the numbers that were committed, one a line.
copy: copies records with their offsets in the same transaction, until it is killed. Starts over by itself after errors.
read: prints the values that a reader of committed records finds, until it has N and one second of nothing more.
"""

import argparse
import json
import sys
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

QUICK = {"reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 100, "retry.backoff.ms": 20, "log_level": 0}


def servers(args):
    return {"bootstrap.servers": f"127.0.0.1:{args.kafka_port}", **QUICK}


def transactional(args, name, **more):
    producer = Producer({**servers(args), "transactional.id": name, "linger.ms": 1, **more})
    producer.init_transactions(60)
    return producer


def send(producer, topic, numbers):
    for number in numbers:
        producer.produce(topic, json.dumps({"n": number}), partition=number % 2)
    producer.flush(30)


def rows(args):
    import psycopg

    with psycopg.connect(host="127.0.0.1", port=args.postgres_port, user="judge", dbname="frazil") as connection:
        found = connection.execute(f'SELECT n FROM "{args.topic}" ORDER BY n').fetchall()
    return [n for (n,) in found]


def mix(args):
    one, two = transactional(args, "one"), transactional(args, "two")
    committed = []
    for i in range(0, 60, 6):
        # The second ends while the first is open; every third of both is aborted.
        one.begin_transaction()
        send(one, args.topic, range(i, i + 2))
        two.begin_transaction()
        send(two, args.topic, range(i + 2, i + 4))
        send(one, args.topic, range(i + 4, i + 6))
        for producer, own, commit in [
            (two, [i + 2, i + 3], i % 9 != 0), (one, [i, i + 1, i + 4, i + 5], i % 18 != 6)
        ]:
            if commit:
                producer.commit_transaction(30)
                committed += own
            else:
                producer.abort_transaction(30)
    assert rows(args) == sorted(committed), f"{rows(args)} where {sorted(committed)} were committed"

    one.begin_transaction()
    send(one, args.topic, [1000, 1001])
    assert rows(args) == sorted(committed), "records of an open transaction are rows"
    heir = transactional(args, "one")
    try:
        one.commit_transaction(30)
        raise SystemExit("a fenced producer committed")
    except KafkaException as error:
        assert error.args[0].code() in (KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH), error
    heir.begin_transaction()
    send(heir, args.topic, [2000, 2001])
    heir.commit_transaction(30)
    committed += [2000, 2001]
    assert rows(args) == sorted(committed), "records of a fenced producer are rows"
    print(*sorted(committed), sep="\n")


def copy_until_trouble(args):
    consumer = Consumer({
        **servers(args), "group.id": "copy", "isolation.level": "read_committed", "auto.offset.reset": "earliest",
        "enable.auto.commit": False, "session.timeout.ms": 6000, "heartbeat.interval.ms": 500,
    })
    try:
        producer = transactional(args, "copy", **{"transaction.timeout.ms": 10000})
        consumer.subscribe([args.source])
        while True:
            messages = [m for m in consumer.consume(20, 0.2) if not m.error()]
            if not messages:
                continue
            producer.begin_transaction()
            for message in messages:
                producer.produce(args.to, message.value(), partition=message.partition())
            offsets = {}
            for m in messages:
                offsets[m.partition()] = TopicPartition(args.source, m.partition(), m.offset() + 1)
            producer.send_offsets_to_transaction(list(offsets.values()), consumer.consumer_group_metadata(), 30)
            producer.commit_transaction(30)
    finally:
        consumer.close()


def copy(args):
    while True:
        try:
            copy_until_trouble(args)
        except KafkaException as error:
            # Whatever was not committed is aborted by the next producer of that name, and read again.
            print("starts over:", error, file=sys.stderr, flush=True)
            time.sleep(0.1)


def read(args):
    consumer = Consumer({
        **servers(args), "group.id": "unused", "isolation.level": "read_committed", "enable.auto.commit": False,
    })
    partitions = consumer.list_topics(args.topic, 30).topics[args.topic].partitions
    consumer.assign([TopicPartition(args.topic, p, 0) for p in partitions])
    values, quiet_since, begun = [], time.monotonic(), time.monotonic()
    while len(values) < args.count or time.monotonic() - quiet_since < 1:
        messages = [m for m in consumer.consume(500, 0.2) if not m.error()]
        if messages:
            values += [m.value().decode() for m in messages]
            quiet_since = time.monotonic()
        if time.monotonic() - begun > 120:
            break
    print(*values, sep="\n")


parser = argparse.ArgumentParser()
parser.add_argument("what", choices=["mix", "copy", "read"])
parser.add_argument("--kafka-port", type=int, required=True)
parser.add_argument("--postgres-port", type=int)
parser.add_argument("--topic")
parser.add_argument("--from", dest="source")
parser.add_argument("--to")
parser.add_argument("--count", type=int, default=0)
arguments = parser.parse_args()
{"mix": mix, "copy": copy, "read": read}[arguments.what](arguments)
