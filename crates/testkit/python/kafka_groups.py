"""Consumer groups of confluent-kafka and kafka-python: members that come and go, restarts, offsets.

usage: kafka_groups.py HOST:PORT SCENARIO [ARGUMENT...]

Scenarios: clients, churn MEMBERS, begin TOPIC GROUP COUNT, resume TOPIC GROUP COUNT. Prints one line per step; exits
with a traceback at the first answer that is not as it should be.
"""

import collections
import random
import sys
import threading
import time
import uuid

import confluent_kafka as ck
import confluent_kafka.admin as cka
import kafka
import kafka.admin

PATIENCE = 90


def step(text):
    print(f"ok  {text}", flush=True)


def until(what, condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"in vain: {what}"


def make_topic(servers, partitions):
    topic = f"groups-{uuid.uuid4()}"
    admin = cka.AdminClient({"bootstrap.servers": servers})
    admin.create_topics([cka.NewTopic(topic, partitions, 1)])[topic].result(20)
    return topic


def produce(servers, topic, first, count, partitions):
    producer = ck.Producer({"bootstrap.servers": servers, "linger.ms": 5})
    failed = []
    for n in range(first, first + count):
        producer.produce(topic, str(n), partition=n % partitions, on_delivery=lambda e, _: failed.append(e) if e else None)
        producer.poll(0)
    assert producer.flush(PATIENCE) == 0 and not failed, failed


class Member:
    """A member in a thread of its own. It stores what it has consumed before it gives a partition away."""

    def __init__(self, servers, topic, group, **config):
        # With the consumer protocol these two are the coordinator's to say.
        classic = {"session.timeout.ms": 10000, "heartbeat.interval.ms": 300}
        if config.get("group.protocol") == "consumer":
            classic = {}
        self.consumer = ck.Consumer(
            {
                "bootstrap.servers": servers,
                "group.id": group,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "client.id": "judge",
                **classic,
                **config,
            }
        )
        self.seen = []
        self.assigned = frozenset()
        self.assignments = 0
        self.errors = []
        self.stopping = threading.Event()
        self.consumer.subscribe([topic], on_assign=self.on_assign, on_revoke=self.on_revoke, on_lost=self.on_lost)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def on_assign(self, _, partitions):
        self.assignments += 1
        self.assigned = self.assigned | {p.partition for p in partitions}

    def on_revoke(self, _, partitions):
        self.store()
        self.assigned = self.assigned - {p.partition for p in partitions}

    def on_lost(self, _, partitions):
        self.errors.append(f"lost {partitions}")
        self.assigned = self.assigned - {p.partition for p in partitions}

    def store(self):
        try:
            self.consumer.commit(asynchronous=False)
        except ck.KafkaException as error:
            if error.args[0].code() != ck.KafkaError._NO_OFFSET:
                self.errors.append(f"commit {error}")

    def run(self):
        try:
            while not self.stopping.is_set():
                message = self.consumer.poll(0.05)
                if message is None:
                    continue
                if message.error():
                    self.errors.append(str(message.error()))
                    continue
                self.seen.append((message.partition(), int(message.value())))
        except Exception as error:
            self.errors.append(repr(error))

    def close(self):
        self.stopping.set()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()
        self.store()
        self.consumer.close()

    def abandon(self):
        """Stops without leaving the group, as a client that is killed."""
        self.stopping.set()
        self.thread.join(PATIENCE)


def spread(members, partitions):
    """Whether the partitions are with the members, each with one."""
    held = [p for m in members for p in m.assigned]
    return sorted(held) == list(range(partitions)) and all(m.assigned for m in members)


def consumed_once(members, count):
    seen = collections.Counter(n for m in members for _, n in m.seen)
    missing = [n for n in range(count) if seen[n] == 0]
    doubled = [n for n, times in seen.items() if times > 1]
    assert not missing and not doubled, f"missing {missing[:9]} doubled {doubled[:9]}"
    errors = [e for m in members for e in m.errors]
    assert not errors, errors


def members_come_and_go(servers, **config):
    topic, group, partitions = make_topic(servers, 6), f"g-{uuid.uuid4()}", 6
    admin = cka.AdminClient({"bootstrap.servers": servers})
    produce(servers, topic, 0, 600, partitions)
    everybody = [Member(servers, topic, group, **config)]
    until("one member has all", lambda: spread(everybody, partitions))
    everybody += [Member(servers, topic, group, **config) for _ in range(2)]
    until("three members share", lambda: spread(everybody, partitions))
    found = admin.describe_consumer_groups([group])[group].result(20)
    consumer_protocol = config.get("group.protocol") == "consumer"
    expected = ck.ConsumerGroupType.CONSUMER if consumer_protocol else ck.ConsumerGroupType.CLASSIC
    assert len(found.members) == 3 and found.type == expected, (found.members, found.type)
    held = sorted(p.partition for m in found.members for p in m.assignment.topic_partitions)
    assert held == list(range(partitions)), held
    produce(servers, topic, 600, 600, partitions)
    everybody[0].close()
    until("two members share", lambda: spread(everybody[1:], partitions))
    produce(servers, topic, 1200, 600, partitions)
    until("everything is consumed", lambda: sum(len(m.seen) for m in everybody) >= 1800)
    for member in everybody[1:]:
        member.close()
    consumed_once(everybody, 1800)
    found = admin.describe_consumer_groups([group])[group].result(20)
    assert found.state == ck.ConsumerGroupState.EMPTY and not found.members, found
    offsets = admin.list_consumer_group_offsets([ck.ConsumerGroupTopicPartitions(group)])[group].result(20)
    assert sum(p.offset for p in offsets.topic_partitions) == 1800, offsets.topic_partitions
    admin.delete_consumer_groups([group])[group].result(20)
    step(f"confluent: {' '.join(config.values())}, three members come and go, each record once")


def transactional_copy(servers):
    """Reads, writes and stores the position in one transaction; every third one is aborted and done again."""
    source, target, group = make_topic(servers, 2), make_topic(servers, 2), f"g-{uuid.uuid4()}"
    produce(servers, source, 0, 200, 2)
    producer = ck.Producer({"bootstrap.servers": servers, "transactional.id": f"copy-{uuid.uuid4()}"})
    producer.init_transactions(20)
    config = {"bootstrap.servers": servers, "auto.offset.reset": "earliest", "enable.auto.commit": False}
    copied, rounds = 0, 0
    while copied < 200:
        consumer = ck.Consumer({"group.id": group, **config})
        consumer.subscribe([source])
        batch = []
        until("records", lambda: batch.extend(consumer.consume(20, 0.2)) or batch)
        producer.begin_transaction()
        for message in batch:
            producer.produce(target, message.value(), partition=message.partition())
        producer.send_offsets_to_transaction(consumer.position(consumer.assignment()), consumer.consumer_group_metadata(), 20)
        rounds += 1
        if rounds % 3 == 0:
            producer.abort_transaction(20)
        else:
            producer.commit_transaction(20)
            copied += len(batch)
        consumer.close()
    reader = ck.Consumer({"group.id": f"{group}-reader", "isolation.level": "read_committed", **config})
    reader.subscribe([target])
    seen = []
    until("copies", lambda: collect(reader, seen) or len(seen) >= 200)
    end = time.monotonic() + 1
    while time.monotonic() < end:
        collect(reader, seen)
    reader.close()
    assert sorted(seen) == list(range(200)), (len(seen), rounds)
    step(f"confluent: a copy in {rounds} transactions, each record once")


def static_members(servers):
    topic, group = make_topic(servers, 2), f"g-{uuid.uuid4()}"
    produce(servers, topic, 0, 100, 2)
    config = {"partition.assignment.strategy": "range", "session.timeout.ms": 30000}
    other = Member(servers, topic, group, **{"group.instance.id": "other", **config})
    first = Member(servers, topic, group, **{"group.instance.id": "fixed", **config})
    until("both have one", lambda: spread([other, first], 2))
    until("all is consumed", lambda: len(other.seen) + len(first.seen) >= 100)
    held, rebalances = set(first.assigned), other.assignments
    first.abandon()
    first.store()
    back = Member(servers, topic, group, **{"group.instance.id": "fixed", **config})
    until("it has its partition again", lambda: back.assigned == held)
    produce(servers, topic, 100, 100, 2)
    until("all is consumed", lambda: len(other.seen) + len(first.seen) + len(back.seen) >= 200)
    assert other.assignments == rebalances, "the other member noticed"
    consumed_once([other, first, back], 200)
    admin = cka.AdminClient({"bootstrap.servers": servers})
    found = admin.describe_consumer_groups([group])[group].result(20)
    assert sorted(m.group_instance_id for m in found.members) == ["fixed", "other"], found.members
    assert all(m.client_id == "judge" and m.host == "/127.0.0.1" for m in found.members)
    # Two with one instance: the older one is fenced.
    twin = Member(servers, topic, group, **{"group.instance.id": "fixed", **config})
    until("the twin takes over", lambda: twin.assigned == held)
    until("the older one is fenced", lambda: any("fenced" in e.lower() for e in back.errors))
    for member in (other, twin):
        member.close()
    step("confluent: static members come back without a rebalance, twins are fenced")


def offsets_of_admins(servers):
    topic, group = make_topic(servers, 2), f"g-{uuid.uuid4()}"
    produce(servers, topic, 0, 20, 2)
    admin = cka.AdminClient({"bootstrap.servers": servers})
    positions = [ck.TopicPartition(topic, 0, 3, metadata="note"), ck.TopicPartition(topic, 1, 4)]
    request = ck.ConsumerGroupTopicPartitions(group, positions)
    admin.alter_consumer_group_offsets([request])[group].result(20)
    request = ck.ConsumerGroupTopicPartitions(group, [ck.TopicPartition(topic, p) for p in (0, 1)])
    found = admin.list_consumer_group_offsets([request])[group].result(20).topic_partitions
    assert [(p.offset, p.metadata) for p in found] == [(3, "note"), (4, None)] or [
        (p.offset, p.metadata or "") for p in found
    ] == [(3, "note"), (4, "")], found
    listed = admin.list_consumer_groups().result(20)
    assert any(g.group_id == group for g in listed.valid) and not listed.errors
    consumer = ck.Consumer({"bootstrap.servers": servers, "group.id": group})
    long = ck.TopicPartition(topic, 0, 5, metadata="x" * 5000)
    try:
        consumer.commit(offsets=[long], asynchronous=False)
        raise AssertionError("metadata of 5000 bytes were taken")
    except ck.KafkaException as error:
        assert error.args[0].code() == ck.KafkaError.OFFSET_METADATA_TOO_LARGE, error
    consumer.close()

    admin = kafka.admin.KafkaAdminClient(bootstrap_servers=servers)
    found = admin.list_group_offsets(group) if hasattr(admin, "list_group_offsets") else admin.list_consumer_group_offsets(group)
    assert found, found
    step("confluent and kafka-python: offsets of a group without members")


def kafka_python(servers):
    topic, group = make_topic(servers, 4), f"g-{uuid.uuid4()}"
    produce(servers, topic, 0, 400, 4)
    seen, errors, stop = collections.Counter(), [], threading.Event()
    lock = threading.Lock()

    def run(end):
        try:
            consumer = kafka.KafkaConsumer(
                bootstrap_servers=servers, group_id=group, auto_offset_reset="earliest", session_timeout_ms=10000,
                heartbeat_interval_ms=300,
            )
            # It stores what it has consumed by itself before it gives partitions away, and at its end.
            consumer.subscribe([topic])
            while not end():
                for records in consumer.poll(timeout_ms=100).values():
                    with lock:
                        seen.update(int(r.value) for r in records)
            consumer.close()
        except Exception as error:
            errors.append(repr(error))

    begun = time.monotonic()
    threads = [
        threading.Thread(target=run, args=(stop.is_set,), daemon=True),
        threading.Thread(target=run, args=(stop.is_set,), daemon=True),
        threading.Thread(target=run, args=(lambda: time.monotonic() > begun + 4,), daemon=True),
    ]
    for thread in threads:
        thread.start()
    until("all is consumed", lambda: len(seen) == 400 or errors)
    threads[2].join(PATIENCE)
    produce(servers, topic, 400, 400, 4)
    until("all is consumed", lambda: len(seen) == 800 or errors)
    stop.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert not errors, errors
    doubled = [n for n, times in seen.items() if times > 1]
    assert not doubled, doubled[:9]
    step("kafka-python: three members come and go, each record once")


def churn(servers, count):
    """Many members, a few at a time, while records come in: each is consumed once in the end."""
    topic, group, partitions, records = make_topic(servers, 12), f"g-{uuid.uuid4()}", 12, 12000
    produce(servers, topic, 0, records // 2, partitions)
    everybody, lock, work = [], threading.Lock(), list(range(count))
    dice = random.Random(7)
    lives = [dice.uniform(0.1, 1.5) for _ in work]

    def serve():
        while True:
            with lock:
                if not work:
                    return
                life = lives[work.pop()]
                strategy = "cooperative-sticky"
                member = Member(servers, topic, group, **{"partition.assignment.strategy": strategy})
                everybody.append(member)
            time.sleep(life)
            member.close()

    threads = [threading.Thread(target=serve, daemon=True) for _ in range(16)]
    for thread in threads:
        thread.start()
    produce(servers, topic, records // 2, records // 2, partitions)
    for thread in threads:
        thread.join(PATIENCE * 4)
        assert not thread.is_alive()
    last = Member(servers, topic, group, **{"partition.assignment.strategy": "cooperative-sticky"})
    everybody.append(last)
    until("everything is consumed", lambda: len({n for m in everybody for _, n in m.seen}) == records)
    last.close()
    consumed_once(everybody, records)
    step(f"confluent: {len(everybody)} members came and went, each record once")


def begin(servers, topic, group, count):
    """Consumes `count` records, stores the position, and is killed with the group's member still in place."""
    member = ck.Consumer({
        "bootstrap.servers": servers, "group.id": group, "group.instance.id": "restarted", "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
    })
    member.subscribe([topic])
    seen = []
    until("records", lambda: collect(member, seen) or len(seen) >= count)
    member.commit(asynchronous=False)
    print(" ".join(map(str, sorted(seen))), flush=True)
    import os

    os._exit(0)


def collect(consumer, seen):
    message = consumer.poll(0.1)
    if message is not None and not message.error():
        seen.append(int(message.value()))


def resume(servers, topic, group, count):
    """Goes on from the stored position until `count` records were seen."""
    begin(servers, topic, group, count)


def main():
    servers, scenario, arguments = sys.argv[1], sys.argv[2], sys.argv[3:]
    if scenario == "clients":
        offsets_of_admins(servers)
        for strategy in ("range", "cooperative-sticky"):
            members_come_and_go(servers, **{"partition.assignment.strategy": strategy})
        for assignor in ("uniform", "range"):
            members_come_and_go(servers, **{"group.protocol": "consumer", "group.remote.assignor": assignor})
        static_members(servers)
        transactional_copy(servers)
        kafka_python(servers)
    elif scenario == "churn":
        churn(servers, int(arguments[0]))
    else:
        {"begin": begin, "resume": resume}[scenario](servers, arguments[0], arguments[1], int(arguments[2]))


if __name__ == "__main__":
    main()
