"""Produces without pause with confluent-kafka's serializers while schemas change.

usage: evolve.py KAFKA_PORT REGISTRY_PORT TOPIC RATE

Each line of standard input is a step: {"step": k, "side": as in typed_produce.py, "value": what a record is, with "$n"
for its number}. A step is answered with a line `step k` once its schema is registered and its records come. When the
input ends, one line for each acknowledged record: number, step, offset.
"""

import json
import queue
import sys
import threading
import time

from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient

from typed_produce import Side, untag


def filled(value, n):
    if isinstance(value, list):
        return [filled(item, n) for item in value]
    if isinstance(value, dict):
        return {name: filled(member, n) for name, member in value.items()}
    if isinstance(value, str) and "$n" in value:
        return n if value == "$n" else value.replace("$n", str(n))
    return value


def main(kafka_port, registry_port, topic, rate):
    steps = queue.Queue()

    def listen():
        for line in sys.stdin:
            steps.put(json.loads(line))
        steps.put(None)

    threading.Thread(target=listen, daemon=True).start()
    registry = SchemaRegistryClient({"url": f"http://127.0.0.1:{registry_port}"})
    producer = Producer({"bootstrap.servers": f"127.0.0.1:{kafka_port}", "enable.idempotence": True, "linger.ms": 5})
    delivered, failed = [], []
    step, side, number = steps.get(), None, 0

    def acknowledged(n, k):
        def found(error, message):
            if error:
                failed.append(str(error))
            else:
                delivered.append((n, k, message.offset()))

        return found

    while step is not None:
        side = Side(registry, topic, "value", step["side"])
        begun = False
        while steps.empty():
            value = side.encode(untag(filled(step["value"], number)), [])
            producer.produce(topic, value=value, partition=0, on_delivery=acknowledged(number, step["step"]))
            producer.poll(0)
            number += 1
            if not begun:
                begun = True
                print(f"step {step['step']}", flush=True)
            time.sleep(1 / float(rate))
        step = steps.get()
    if producer.flush(60) or failed:
        sys.exit(f"not delivered: {failed[:3]}")
    for line in delivered:
        print(*line)


if __name__ == "__main__":
    main(*sys.argv[1:])
