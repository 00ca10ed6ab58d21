"""The registry through confluent-kafka's SchemaRegistryClient.

usage: registry_confluent.py REGISTRY_PORT
"""

import json
import sys
import uuid

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError


def main(port: int) -> None:
    client = SchemaRegistryClient({"url": f"http://127.0.0.1:{port}"})
    subject = f"client/{uuid.uuid4()}-value"
    text = json.dumps({"type": "object", "properties": {"a": {"type": "integer"}}})
    schema = Schema(text, "JSON")

    schema_id = client.register_schema(subject, schema)
    assert client.register_schema(subject, schema) == schema_id
    found = client.get_latest_version(subject)
    assert (found.subject, found.version, found.schema_id) == (subject, 1, schema_id), found
    assert found.schema.schema_type == "JSON" and json.loads(found.schema.schema_str) == json.loads(text)
    assert client.get_schema(schema_id).schema_type == "JSON"
    assert client.lookup_schema(subject, schema).schema_id == schema_id

    wider = Schema(json.dumps({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}}), "JSON")
    second = client.register_schema(subject, wider)
    assert second != schema_id
    assert client.get_versions(subject) == [1, 2]
    assert client.get_version(subject, 2).schema_id == second
    assert subject in client.get_subjects()
    assert client.get_compatibility() == "NONE"

    for call, status, code in [
        (lambda: client.get_latest_version("none"), 404, 40401),
        (lambda: client.get_version(subject, 9), 404, 40402),
        (lambda: client.register_schema(subject, Schema("{", "JSON")), 422, 42201),
    ]:
        try:
            call()
        except SchemaRegistryError as error:
            assert (error.http_status_code, error.error_code) == (status, code), error
        else:
            raise AssertionError(f"{code} expected")

    assert client.delete_version(subject, 1) == 1
    assert client.get_versions(subject) == [2]
    assert client.delete_subject(subject) == [2]
    client.delete_subject(subject, permanent=True)
    assert subject not in client.get_subjects()
    print("registry: ok")


if __name__ == "__main__":
    main(int(sys.argv[1]))
