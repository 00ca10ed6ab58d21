"""Produces records with the serializers of confluent-kafka, from cases on standard input.

usage: typed_produce.py KAFKA_PORT REGISTRY_PORT < cases.json

Each case makes its topic, registers what its schemas refer to and produces its records to partition 0. `framing` of a
side says where the id of the schema goes: `prefix` (confluent's wire format), `header`, or `none`; then the schema is
registered and the bytes are bare. What JSON cannot say is tagged: {"$bytes": hex}, {"$float": "NaN"},
{"$decimal": "1.5"}, {"$branch": [name, value]} for a member of an Avro union.
"""

import decimal
import io
import json
import pathlib
import sys
import tempfile

import fastavro
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient, header_schema_id_serializer
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from grpc_tools import protoc


def untag(value):
    if isinstance(value, list):
        return [untag(item) for item in value]
    if not isinstance(value, dict):
        return value
    match list(value.items()):
        case [("$bytes", digits)]:
            return bytes.fromhex(digits)
        case [("$float", text)]:
            return float(text)
        case [("$decimal", text)]:
            return decimal.Decimal(text)
        case [("$branch", [name, member])]:
            return (name, untag(member))
        case fields:
            return {name: untag(member) for name, member in fields}


def protobuf_class(side):
    """The message class of a `.proto` text, compiled as any user would."""
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        for name, text in [("case.proto", side["schema"]), *side["references"]]:
            (root / name).write_text(text)
        found = protoc.main([
            "protoc", f"-I{root}", f"-I{pathlib.Path(protoc.__file__).parent / '_proto'}", "--include_imports",
            f"--descriptor_set_out={root / 'set'}", "case.proto",
        ])
        assert found == 0, side
        files = descriptor_pb2.FileDescriptorSet.FromString((root / "set").read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(side["message"]))


class Side:
    """Key or value of the records of a case."""

    def __init__(self, registry, topic, field, side):
        self.registry, self.side, self.context = registry, side, (topic, field)
        self.subject = side.get("subject") or f"{topic}-{field}"
        self.encode = getattr(self, side["format"])(side["framing"])

    def context_of(self, headers):
        return SerializationContext(*self.context, headers)

    def schema(self):
        kind = self.side["format"].upper()
        references = []
        for name, text in self.side["references"]:
            self.registry.register_schema(name, Schema(text, kind))
            version = self.registry.get_latest_version(name).version
            references.append(SchemaReference(name, name, version))
        return Schema(self.side["schema"], kind, references)

    def config(self, framing):
        config = {"subject.name.strategy": lambda _context, _record: self.subject}
        if framing == "header":
            config["schema.id.serializer"] = header_schema_id_serializer
        return config

    def none(self, _framing):
        return lambda value, _headers: value if value is None or isinstance(value, bytes) else value.encode()

    def with_schema(self, framing, make, bare):
        if framing == "none":
            self.registry.register_schema(self.subject, self.schema())
            return lambda value, _headers: bare(value)
        serializer = make()
        return lambda value, headers: serializer(value, self.context_of(headers))

    def avro(self, framing):
        schema = self.schema()

        def bare(value):
            out = io.BytesIO()
            fastavro.schemaless_writer(out, fastavro.parse_schema(json.loads(schema.schema_str)), value)
            return out.getvalue()

        return self.with_schema(framing, lambda: AvroSerializer(self.registry, schema, conf=self.config(framing)), bare)

    def json(self, framing):
        def make():
            return JSONSerializer(self.schema(), self.registry, conf=self.config(framing))

        return self.with_schema(framing, make, lambda value: json.dumps(value).encode())

    def protobuf(self, framing):
        made = protobuf_class(self.side)
        serializer = self.with_schema(
            framing,
            lambda: ProtobufSerializer(made, self.registry, self.config(framing)),
            lambda message: message.SerializeToString(),
        )
        return lambda value, headers: serializer(json_format.ParseDict(value, made()), headers)


def create(admin, cases):
    topics = [NewTopic(c["topic"], num_partitions=1, config=c["config"]) for c in cases]
    for topic, made in admin.create_topics(topics).items():
        try:
            made.result(30)
        except Exception as error:
            sys.exit(f"{topic}: {error}")


def main(kafka_port, registry_port):
    cases = json.load(sys.stdin)
    address = {"bootstrap.servers": f"127.0.0.1:{kafka_port}"}
    registry = SchemaRegistryClient({"url": f"http://127.0.0.1:{registry_port}"})
    create(AdminClient(address), cases)
    failed = []
    producer = Producer({**address, "enable.idempotence": True, "linger.ms": 5})
    for case in cases:
        try:
            key, value = (Side(registry, case["topic"], name, case[name]) for name in ("key", "value"))
            for record in case["records"]:
                headers = [(name, untag(text)) for name, text in record["headers"]]
                encoded = [
                    None if record[name] is None else side.encode(untag(record[name]), headers)
                    for name, side in (("key", key), ("value", value))
                ]
                producer.produce(
                    case["topic"], key=encoded[0], value=encoded[1], partition=0, headers=headers,
                    on_delivery=lambda error, _message: error and failed.append(str(error)),
                )
                producer.poll(0)
        except Exception as error:
            raise RuntimeError(case["topic"]) from error
    if producer.flush(60) or failed:
        sys.exit(f"not delivered: {failed[:3]}")


if __name__ == "__main__":
    main(*sys.argv[1:])
