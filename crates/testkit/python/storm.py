"""Produces numbered records with confluent-kafka until standard input closes; prints each acknowledgement.

usage: storm.py --kafka-port P --topic T --partitions N --rate R [--bad-every K]
A line per acknowledgement: number, partition, offset. Every K-th record does not fit the schema. The node may die and
come back at any time: librdkafka's idempotent producer goes on where it was. Exits 1 if any record failed for good.
"""

import argparse
import json
import sys
import threading
import time

from confluent_kafka import Producer

parser = argparse.ArgumentParser()
parser.add_argument("--kafka-port", type=int, required=True)
parser.add_argument("--topic", required=True)
parser.add_argument("--partitions", type=int, required=True)
parser.add_argument("--rate", type=int, default=2000)
parser.add_argument("--bad-every", type=int, default=0)
args = parser.parse_args()

producer = Producer({
    "bootstrap.servers": f"127.0.0.1:{args.kafka_port}",
    "enable.idempotence": True,
    "acks": "all",
    "linger.ms": 2,
    "message.timeout.ms": 120000,
    "reconnect.backoff.ms": 20,
    "reconnect.backoff.max.ms": 100,
    "retry.backoff.ms": 20,
    "log_level": 0,
})
failed = []
stop = threading.Event()


def wait_for_end():
    sys.stdin.read()
    stop.set()


def delivered(error, message):
    if error:
        failed.append(str(error))
    else:
        number = json.loads(message.value())["n"]
        print(int(number), message.partition(), message.offset(), flush=False)


threading.Thread(target=wait_for_end, daemon=True).start()
number = 0
begun = time.monotonic()
while not stop.is_set():
    number += 1
    bad = args.bad_every and number % args.bad_every == 0
    value = json.dumps({"n": str(number) if bad else number, "pad": "x" * (number % 100)})
    while True:
        try:
            producer.produce(args.topic, value=value, partition=number % args.partitions, on_delivery=delivered)
            break
        except BufferError:
            producer.poll(0.1)
    producer.poll(0)
    ahead = number / args.rate - (time.monotonic() - begun)
    if ahead > 0:
        time.sleep(ahead)
left = producer.flush(120)
sys.stdout.flush()
if left or failed:
    sys.exit(f"{left} of {number} not delivered, {len(failed)} failed: {failed[:3]}")
