"""Values through confluent-kafka's own serializers and deserializers, with references, all three formats.

usage: registry_serializers.py KAFKA_PORT REGISTRY_PORT
"""

import json
import sys

from confluent_kafka import Consumer, Producer
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer, ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.longrunning import operations_pb2
from google.rpc import status_pb2

COUNT = 20


def through(kafka_port: int, topic: str, serialize, deserialize, values: list) -> None:
    address = f"127.0.0.1:{kafka_port}"
    context = SerializationContext(topic, MessageField.VALUE)
    producer = Producer({"bootstrap.servers": address})
    errors = []
    for value in values:
        producer.produce(topic, serialize(value, context), on_delivery=lambda e, _: errors.append(e) if e else None)
    assert producer.flush(30) == 0 and not errors, errors
    consumer = Consumer({"bootstrap.servers": address, "group.id": topic, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    found = []
    while len(found) < len(values):
        message = consumer.poll(30)
        assert message is not None and not message.error(), message
        found.append(deserialize(message.value(), context))
    consumer.close()
    assert sorted(map(str, found)) == sorted(map(str, values)), (found[:2], values[:2])
    print(f"{topic}: {len(found)} values")


def avro(kafka_port: int, client: SchemaRegistryClient) -> None:
    money = {"type": "record", "name": "shop.Money", "fields": [{"name": "cents", "type": "long"}]}
    client.register_schema("money", Schema(json.dumps(money), "AVRO"))
    order = {
        "type": "record",
        "name": "Order",
        "fields": [{"name": "price", "type": "shop.Money"}, {"name": "note", "type": ["null", "string"], "default": None}],
    }
    schema = Schema(json.dumps(order), "AVRO", [SchemaReference("shop.Money", "money", 1)])
    values = [{"price": {"cents": i}, "note": None if i % 2 else f"n{i}"} for i in range(COUNT)]
    serialize = AvroSerializer(client, schema)
    deserialize = AvroDeserializer(client, schema)
    through(kafka_port, "avro", serialize, deserialize, values)


def json_schema(kafka_port: int, client: SchemaRegistryClient) -> None:
    money = {"$id": "money.json", "type": "object", "properties": {"cents": {"type": "integer"}}}
    client.register_schema("money.json", Schema(json.dumps(money), "JSON"))
    order = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Order",
        "type": "object",
        "properties": {"price": {"$ref": "money.json"}, "note": {"type": "string"}},
    }
    schema = Schema(json.dumps(order), "JSON", [SchemaReference("money.json", "money.json", 1)])
    values = [{"price": {"cents": i}, "note": f"n{i}"} for i in range(COUNT)]
    serialize = JSONSerializer(schema, client)
    deserialize = JSONDeserializer(schema, schema_registry_client=client)
    through(kafka_port, "json", serialize, deserialize, values)


def protobuf(kafka_port: int, client: SchemaRegistryClient) -> None:
    statuses = [status_pb2.Status(code=i, message=f"m{i}") for i in range(COUNT)]
    serialize = ProtobufSerializer(status_pb2.Status, client)
    deserialize = ProtobufDeserializer(status_pb2.Status, None, client)
    through(kafka_port, "protobuf", serialize, deserialize, statuses)
    # The serializer registers the files that this one imports, and refers to them.
    values = [operations_pb2.Operation(name=f"o{i}", error=statuses[i]) for i in range(COUNT)]
    serialize = ProtobufSerializer(operations_pb2.Operation, client)
    deserialize = ProtobufDeserializer(operations_pb2.Operation, None, client)
    through(kafka_port, "protobuf-references", serialize, deserialize, values)
    assert client.get_latest_version("protobuf-references-value").schema.references, "it has references"


def main(kafka_port: int, registry_port: int) -> None:
    client = SchemaRegistryClient({"url": f"http://127.0.0.1:{registry_port}"})
    avro(kafka_port, client)
    json_schema(kafka_port, client)
    protobuf(kafka_port, client)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
