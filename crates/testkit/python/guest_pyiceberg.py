"""PyIceberg as a guest of the REST catalog: reads and writes, and checks what it finds.

usage: guest_pyiceberg.py CATALOG_PORT write [CREDENTIAL]            everything a guest does with tables of its own
       guest_pyiceberg.py CATALOG_PORT append TABLE ROWS [CREDENTIAL] rows into a table that is there, all but `trade_id` null
       guest_pyiceberg.py CATALOG_PORT count TABLE [CREDENTIAL]       prints the number of rows
"""

import sys

import pyarrow as pa
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.exceptions import (
    CommitFailedException,
    ForbiddenError,
    NamespaceAlreadyExistsError,
    NamespaceNotEmptyError,
    NoSuchNamespaceError,
    NoSuchTableError,
    TableAlreadyExistsError,
)
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import DoubleType, LongType, NestedField, StringType


def connect(port, credential, base=""):
    more = {"credential": credential} if credential else {}
    return RestCatalog("frazil", uri=f"http://127.0.0.1:{port}{base}", warehouse="frazil", **more)


def raises(kind, work, *args, **named):
    try:
        work(*args, **named)
    except kind as error:
        return str(error)
    raise AssertionError(f"{kind.__name__} was expected")


def people(ids, **more):
    columns = {"id": pa.array(ids, pa.int64()), "name": pa.array([f"n{i}" for i in ids], pa.string())}
    return pa.table({**columns, **{k: pa.array(v) for k, v in more.items()}})


def ids(table):
    return sorted(table.scan().to_arrow()["id"].to_pylist())


def namespaces(catalog):
    catalog.create_namespace("mine", {"owner": "py"})
    raises(NamespaceAlreadyExistsError, catalog.create_namespace, "mine")
    catalog.update_namespace_properties("mine", removals={"owner"}, updates={"team": "ice"})
    assert catalog.load_namespace_properties("mine") == {"team": "ice"}
    catalog.create_namespace(("mine", "inner"))
    assert ("mine", "inner") in catalog.list_namespaces("mine")
    catalog.drop_namespace(("mine", "inner"))
    raises(NoSuchNamespaceError, catalog.list_tables, "none")
    assert not catalog.namespace_exists("none") and catalog.namespace_exists("mine")


def rows(catalog):
    table = catalog.create_table("mine.people", people([]).schema, properties={"k": "v"})
    impatient = catalog.create_table("mine.once", people([]).schema, properties={"commit.retry.num-retries": "0"})
    other = catalog.load_table("mine.once")
    other.append(people([1]))
    message = raises(CommitFailedException, impatient.append, people([2]))
    assert "Requirement failed" in message, message
    assert ids(catalog.load_table("mine.once")) == [1]
    catalog.purge_table("mine.once")
    raises(TableAlreadyExistsError, catalog.create_table, "mine.people", people([]).schema)
    stale = catalog.load_table("mine.people")
    table.append(people([1, 2, 3]))
    # It is told that the table has changed, and tries again by itself.
    stale.append(people([4]))
    table.refresh()
    table.overwrite(people([3, 30]), overwrite_filter="id = 3")
    table.delete("id = 2")
    assert ids(table) == [1, 3, 4, 30], ids(table)
    with table.update_schema() as update:
        update.add_column("score", DoubleType())
        update.rename_column("name", "label")
    table.append(pa.table({"id": pa.array([5]), "label": ["n5"], "score": [0.5]}))
    with table.update_schema() as update:
        update.delete_column("label")
    found = table.scan().to_arrow()
    assert sorted(found.column_names) == ["id", "score"], found.column_names
    assert ids(table) == [1, 3, 4, 5, 30]
    with table.transaction() as both:
        both.set_properties(owner="me")
        both.append(pa.table({"id": pa.array([6]), "score": [0.6]}))
    assert ids(catalog.load_table("mine.people")) == [1, 3, 4, 5, 6, 30]
    snapshot = table.current_snapshot().snapshot_id
    table.manage_snapshots().create_tag(snapshot, "v1").commit()
    assert "v1" in catalog.load_table("mine.people").refs()
    return table


def partitioned(catalog):
    schema = Schema(NestedField(1, "id", LongType(), required=True), NestedField(2, "name", StringType()))
    spec = PartitionSpec(PartitionField(2, 1000, IdentityTransform(), "name"))
    required = pa.schema([pa.field("id", pa.int64(), nullable=False), pa.field("name", pa.string())])
    with catalog.create_table_transaction("mine.staged", schema, partition_spec=spec) as staged:
        assert not catalog.table_exists("mine.staged")
        staged.append(people(list(range(20))).cast(required))
    table = catalog.load_table("mine.staged")
    assert ids(table) == list(range(20)) and table.spec().fields[0].name == "name"
    change = table.upsert(people([19, 20]).cast(required), join_cols=["id"])
    assert change.rows_inserted == 1, change
    assert ids(table) == list(range(21))


def write(catalog):
    namespaces(catalog)
    rows(catalog)
    partitioned(catalog)
    raises(NamespaceNotEmptyError, catalog.drop_namespace, "mine")
    catalog.rename_table("mine.people", "mine.humans")
    raises(NoSuchTableError, catalog.load_table, "mine.people")
    moved = catalog.load_table("mine.humans")
    location = moved.metadata_location
    catalog.drop_table("mine.humans")
    message = raises(ForbiddenError, catalog.register_table, "mine.humans", location)
    assert "outside" in message, message
    catalog.register_table("mine.people", location)
    assert ids(catalog.load_table("mine.people")) == [1, 3, 4, 5, 6, 30]
    assert len(catalog.list_tables("mine")) == 2
    for name in ("people", "staged"):
        catalog.purge_table(f"mine.{name}")
    catalog.drop_namespace("mine")


def append(catalog, name, count):
    table = catalog.load_table(f"public.{name}")
    schema = table.schema().as_arrow()
    values = [f"guest-{at}" for at in range(count)]
    columns = [
        pa.array(values, field.type) if field.name == "trade_id" else pa.nulls(count, field.type)
        for field in schema
    ]
    table.append(pa.table(columns, schema=schema))


def main(port, what, *args):
    if what == "write":
        credential = args[0] if args else None
        for base in ("", "/catalog", "/api/catalog"):
            assert ("public",) in connect(port, credential, base).list_namespaces()
        write(connect(port, credential))
    elif what == "append":
        append(connect(port, args[2] if len(args) > 2 else None), args[0], int(args[1]))
    else:
        catalog = connect(port, args[1] if len(args) > 1 else None)
        print(catalog.load_table(f"public.{args[0]}").scan().to_arrow().num_rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
