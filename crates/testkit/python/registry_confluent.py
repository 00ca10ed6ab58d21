"""Every call of confluent-kafka's SchemaRegistryClient but those on associations.

usage: registry_confluent.py REGISTRY_PORT
"""

import json
import sys
import uuid

from confluent_kafka.schema_registry import (
    ConfigCompatibilityLevel,
    Metadata,
    MetadataProperties,
    Schema,
    SchemaReference,
    SchemaRegistryClient,
    ServerConfig,
)
from confluent_kafka.schema_registry.error import SchemaRegistryError


def record(*fields: dict) -> str:
    return json.dumps({"type": "record", "name": "r", "namespace": "shop", "fields": list(fields)})


A = {"name": "a", "type": "int"}
B = {"name": "b", "type": "int"}
B_DEFAULT = {**B, "default": 0}


def refused(call, status: int, code: int) -> SchemaRegistryError:
    try:
        call()
    except SchemaRegistryError as error:
        assert (error.http_status_code, error.error_code) == (status, code), error
        return error
    raise AssertionError(f"{code} expected")


def subjects_and_versions(client: SchemaRegistryClient) -> None:
    subject = f"client/{uuid.uuid4()}-value"
    text = json.dumps({"type": "object", "properties": {"a": {"type": "integer"}}})
    schema = Schema(text, "JSON")
    schema_id = client.register_schema(subject, schema)
    assert client.register_schema(subject, schema) == schema_id
    full = client.register_schema_full_response(f"full/{subject}", schema)
    assert (full.schema_id, full.version) == (schema_id, 1), full
    client.delete_subject(f"full/{subject}")
    found = client.get_latest_version(subject)
    assert (found.subject, found.version, found.schema_id) == (subject, 1, schema_id), found
    assert found.schema.schema_type == "JSON" and json.loads(found.schema.schema_str) == json.loads(text)
    assert client.get_schema(schema_id).schema_type == "JSON"
    assert json.loads(client.get_schema_by_guid(found.guid).schema_str) == json.loads(text)
    assert sorted(client.get_schema_types()) == ["AVRO", "JSON", "PROTOBUF"]
    assert client.lookup_schema(subject, schema).schema_id == schema_id
    assert client.get_subjects_by_schema_id(schema_id) == [subject]
    usages = client.get_schema_versions(schema_id)
    assert [(u.subject, u.version) for u in usages] == [(subject, 1)], usages

    narrower = Schema(json.dumps({"type": "object"}), "JSON")
    second = client.register_schema(subject, narrower)
    assert client.get_versions(subject) == [1, 2]
    assert client.get_version(subject, 2).schema_id == second
    assert subject in client.get_subjects() and client.get_subjects(subject_prefix="nobody") == []
    refused(lambda: client.get_latest_version("none"), 404, 40401)
    refused(lambda: client.get_version(subject, 9), 404, 40402)
    refused(lambda: client.register_schema(subject, Schema("{", "JSON")), 422, 42201)

    assert client.delete_version(subject, 1) == 1
    assert client.get_versions(subject) == [2]
    assert client.delete_subject(subject) == [2]
    assert subject in client.get_subjects(deleted=True)
    client.delete_subject(subject, permanent=True)
    assert subject not in client.get_subjects(deleted=True)


def compatibility(client: SchemaRegistryClient) -> None:
    subject = f"{uuid.uuid4()}-value"
    assert client.get_compatibility() == "BACKWARD"
    client.register_schema(subject, Schema(record(A), "AVRO"))
    error = refused(lambda: client.register_schema(subject, Schema(record(A, B), "AVRO")), 409, 409)
    assert "READER_FIELD_MISSING_DEFAULT_VALUE" in str(error), error
    assert not client.test_compatibility(subject, Schema(record(A, B), "AVRO"))
    assert client.test_compatibility(subject, Schema(record(A, B_DEFAULT), "AVRO"))
    assert not client.test_compatibility_all_versions(subject, Schema(record(A, B), "AVRO"))
    assert client.set_compatibility(subject, "FORWARD") == {"compatibility": "FORWARD"}
    assert client.get_compatibility(subject) == "FORWARD"
    client.register_schema(subject, Schema(record(A, B), "AVRO"))
    client.set_config(subject, ServerConfig(ConfigCompatibilityLevel.FULL, compatibility_group="major"))
    config = client.get_config(subject)
    assert (config.compatibility_level, config.compatibility_group) == ("FULL", "major"), config
    client.delete_config(subject)
    refused(lambda: client.get_config(subject), 404, 40408)


def modes_and_contexts(client: SchemaRegistryClient) -> None:
    subject = f"{uuid.uuid4()}-value"
    assert client.get_global_mode() == "READWRITE"
    client.register_schema(subject, Schema(record(A), "AVRO"))
    assert client.update_mode(subject, "READONLY") == "READONLY"
    assert client.get_mode(subject) == "READONLY"
    refused(lambda: client.register_schema(subject, Schema(record(), "AVRO")), 422, 42205)
    assert client.delete_mode(subject) == "READONLY"
    assert client.update_global_mode("READWRITE") == "READWRITE"
    name = f":.other:{subject}"
    client.register_schema(name, Schema('"string"', "AVRO"))
    assert client.get_latest_version(name).subject == name
    assert client.get_contexts() == [".", ".other"]


def references_and_metadata(client: SchemaRegistryClient) -> None:
    base, user = f"{uuid.uuid4()}", f"{uuid.uuid4()}-value"
    base_id = client.register_schema(base, Schema(record(A), "AVRO"))
    text = json.dumps({"type": "record", "name": "u", "fields": [{"name": "r", "type": "shop.r"}]})
    metadata = Metadata(tags=None, properties=MetadataProperties({"owner": "me"}), sensitive=None)
    schema = Schema(text, "AVRO", [SchemaReference("shop.r", base, 1)], metadata)
    user_id = client.register_schema(user, schema)
    assert user_id != base_id
    assert client.get_referenced_by(base, 1) == [user_id]
    found = client.get_latest_with_metadata(user, {"owner": "me"})
    assert found.schema_id == user_id and found.schema.metadata.properties.properties == {"owner": "me"}, found
    refused(lambda: client.get_latest_with_metadata(user, {"owner": "you"}), 404, 40403)
    refused(lambda: client.delete_subject(base), 422, 42206)
    resolved = client.get_schema(user_id, fmt="resolved").schema_str
    assert json.loads(resolved)["fields"][0]["type"]["fields"] == [A], resolved


def main(port: int) -> None:
    client = SchemaRegistryClient({"url": f"http://127.0.0.1:{port}"})
    subjects_and_versions(client)
    compatibility(client)
    modes_and_contexts(client)
    references_and_metadata(client)
    print("registry: ok")


if __name__ == "__main__":
    main(int(sys.argv[1]))
