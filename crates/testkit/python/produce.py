"""Produces JSON records from standard input with confluent-kafka: one record a line, its key after a tab if any.

usage: produce.py --kafka-port P --topic T [--codec none|gzip|snappy|lz4|zstd] [--client confluent|kafka-python]
Exits 0 only if every record was acknowledged; prints the number.
"""

import argparse
import sys

parser = argparse.ArgumentParser()
parser.add_argument("--kafka-port", type=int, required=True)
parser.add_argument("--topic", required=True)
parser.add_argument("--codec", default="none")
parser.add_argument("--client", default="confluent")
args = parser.parse_args()
address = f"127.0.0.1:{args.kafka_port}"
records = [line.rstrip("\n").split("\t") for line in sys.stdin if line.strip()]
failed = []


def confluent():
    from confluent_kafka import Producer

    producer = Producer({
        "bootstrap.servers": address,
        "compression.type": args.codec,
        "enable.idempotence": True,
        "linger.ms": 5,
    })

    def delivered(error, _message):
        if error:
            failed.append(str(error))

    for value, *key in records:
        producer.produce(args.topic, value=value, key=key[0] if key else None, on_delivery=delivered)
        producer.poll(0)
    return producer.flush(60)


def kafka_python():
    from kafka import KafkaProducer

    codec = None if args.codec == "none" else args.codec
    producer = KafkaProducer(bootstrap_servers=address, compression_type=codec)
    sent = [
        producer.send(args.topic, value=value.encode(), key=key[0].encode() if key else None)
        for value, *key in records
    ]
    for future in sent:
        future.get(timeout=60)
    producer.close()
    return 0


left = {"confluent": confluent, "kafka-python": kafka_python}[args.client]()
if left or failed:
    sys.exit(f"{left} not delivered, {len(failed)} failed: {failed[:3]}")
print(len(records))
