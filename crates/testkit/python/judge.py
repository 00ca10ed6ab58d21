"""Reads one topic, or its table, with a client that nobody here wrote, and prints every row in one form.

usage: judge.py READER --kafka-port P --catalog-port P --postgres-port P [--topic T] [--snapshot ID]

One JSON object a line: partition, offset, and the record's fields with timestamps as microseconds since 1970. Two
readers agree when their sorted output is the same text.
"""

import argparse
import datetime
import json
import os
import sys

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
FIELDS = ["trade_id", "symbol", "price", "qty", "side", "ts_event", "notes"]


def micros(value):
    if isinstance(value, str):
        value = datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))
    if value.tzinfo is None:
        value = value.replace(tzinfo=datetime.timezone.utc)
    return (value - EPOCH) // datetime.timedelta(microseconds=1)


# JSON has one kind of number, and no timestamps.
FORMS = {"ts_event": micros, "price": float}


def show(partition, offset, record):
    row = {"partition": partition, "offset": offset}
    for field in FIELDS:
        value = record.get(field)
        if value is not None and field in FORMS:
            value = FORMS[field](value)
        row[field] = value
    print(json.dumps(row, sort_keys=True))


def raw(args):
    """Partition, offset and value of every record, for topics that are no trades."""
    confluent(args, lambda p, o, value: print(json.dumps({"partition": p, "offset": o, "value": value.decode()})))


def confluent(args, found=lambda p, o, value: show(p, o, json.loads(value))):
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({
        "bootstrap.servers": f"127.0.0.1:{args.kafka_port}",
        "group.id": "judge",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
    })
    partitions = consumer.list_topics(args.topic, timeout=20).topics[args.topic].partitions
    consumer.assign([TopicPartition(args.topic, p, 0) for p in partitions])
    ended = set()
    while len(ended) < len(partitions):
        message = consumer.poll(20)
        if message is None:
            sys.exit("the consumer got nothing for 20 s")
        if message.error():
            if message.error().name() == "_PARTITION_EOF":
                ended.add(message.partition())
                continue
            sys.exit(str(message.error()))
        found(message.partition(), message.offset(), message.value())
    consumer.close()


def kafka_python(args):
    from kafka import KafkaConsumer, TopicPartition

    consumer = KafkaConsumer(bootstrap_servers=f"127.0.0.1:{args.kafka_port}", enable_auto_commit=False)
    partitions = [TopicPartition(args.topic, p) for p in consumer.partitions_for_topic(args.topic)]
    consumer.assign(partitions)
    consumer.seek_to_beginning()
    ends = consumer.end_offsets(partitions)
    while any(consumer.position(p) < ends[p] for p in partitions):
        for messages in consumer.poll(timeout_ms=20000).values():
            for message in messages:
                show(message.partition, message.offset, json.loads(message.value))
    consumer.close()


def pyiceberg(args):
    from pyiceberg.catalog import load_catalog

    catalog = load_catalog("rest", type="rest", uri=f"http://127.0.0.1:{args.catalog_port}")
    table = catalog.load_table(("public", args.topic))
    rows = table.scan(snapshot_id=args.snapshot).to_arrow()
    for row in rows.to_pylist():
        show(row["redpanda"]["partition"], row["redpanda"]["offset"], row)


def duckdb(args):
    import duckdb

    connection = duckdb.connect(config={
        "extension_directory": os.environ["FRAZIL_DUCKDB_EXTENSIONS"],
        "autoinstall_known_extensions": "false",
    })
    connection.execute("LOAD iceberg")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(
        f"ATTACH 'frazil' AS lake (TYPE ICEBERG, ENDPOINT 'http://127.0.0.1:{args.catalog_port}', "
        "AUTHORIZATION_TYPE 'none')"
    )
    at = f" AT (VERSION => {args.snapshot})" if args.snapshot else ""
    found = connection.execute(f'SELECT * FROM lake.public."{args.topic}"{at}')
    names = [column[0] for column in found.description]
    for values in found.fetchall():
        row = dict(zip(names, values))
        show(row["redpanda"]["partition"], row["redpanda"]["offset"], row)


def psycopg(args):
    import psycopg

    with psycopg.connect(f"host=127.0.0.1 port={args.postgres_port} user=judge dbname=frazil") as connection:
        columns = ", ".join(FIELDS)
        found = connection.execute(
            f'SELECT (redpanda).partition, (redpanda).offset, {columns} FROM public."{args.topic}"'
        )
        for partition, offset, *values in found:
            show(partition, offset, dict(zip(FIELDS, values)))


def snapshots(args):
    """Per snapshot, oldest first: its id and the sorted [partition, offset] pairs of the table, read by PyIceberg."""
    from pyiceberg.catalog import load_catalog

    catalog = load_catalog("rest", type="rest", uri=f"http://127.0.0.1:{args.catalog_port}")
    table = catalog.load_table(("public", args.topic))
    for snapshot in sorted(table.metadata.snapshots, key=lambda s: s.sequence_number):
        rows = table.scan(snapshot_id=snapshot.snapshot_id, selected_fields=("redpanda",)).to_arrow()
        pairs = sorted((r["redpanda"]["partition"], r["redpanda"]["offset"]) for r in rows.to_pylist())
        summary = dict(snapshot.summary.additional_properties) if snapshot.summary else {}
        print(json.dumps({"snapshot": snapshot.snapshot_id, "pairs": pairs, "summary": summary}))


def times(args):
    """When each snapshot was made, in milliseconds since 1970, oldest first."""
    from pyiceberg.catalog import load_catalog

    catalog = load_catalog("rest", type="rest", uri=f"http://127.0.0.1:{args.catalog_port}")
    for snapshot in sorted(catalog.load_table(("public", args.topic)).metadata.snapshots, key=lambda s: s.sequence_number):
        print(snapshot.timestamp_ms)


READERS = {f.__name__: f for f in (raw, confluent, kafka_python, pyiceberg, duckdb, psycopg, snapshots, times)}

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("reader", choices=READERS)
    for door in ("kafka", "catalog", "postgres"):
        parser.add_argument(f"--{door}-port", type=int)
    parser.add_argument("--topic", default="trades")
    parser.add_argument("--snapshot", type=int)
    arguments = parser.parse_args()
    READERS[arguments.reader](arguments)
