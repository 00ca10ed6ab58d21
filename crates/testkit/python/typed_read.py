"""Reads tables with an engine that nobody here wrote; prints columns, types and rows of each in one form.

usage: typed_read.py pyiceberg|duckdb|spark CATALOG_PORT < ["table", …]

One JSON object a line: table, columns ([name, type] in order; types in Iceberg's words, `required` where it is), rows
(by offset, one value per column). Values come from Arrow as integers where they are days and microseconds; floats are
the hexadecimal bits of their double, bytes are hexadecimal, decimals text, maps sorted pairs.
"""

import json
import os
import struct
import sys

import pyarrow as pa


def value_list(array):
    """The values of an Arrow array in the common form."""
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        return value_list(array.storage)
    if pa.types.is_struct(kind):
        fields = [(kind.field(i).name, value_list(array.field(i))) for i in range(kind.num_fields)]
        valid = array.is_valid().to_pylist()
        return [{n: v[i] for n, v in fields} if valid[i] else None for i in range(len(array))]
    if pa.types.is_map(kind):
        keys, items = value_list(array.keys), value_list(array.items)
        return [found and sorted(found) for found in sliced(array, list(map(list, zip(keys, items))))]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return sliced(array, value_list(array.values))
    if pa.types.is_date(kind):
        array = array.cast(pa.int32())
    elif pa.types.is_time(kind) or pa.types.is_timestamp(kind):
        unit = pa.time64("us") if pa.types.is_time(kind) else pa.timestamp("us", kind.tz)
        array = array.cast(unit).cast(pa.int64())
    return [scalar(value) for value in array.to_pylist()]


def sliced(array, members):
    offsets, valid = array.offsets.to_pylist(), array.is_valid().to_pylist()
    return [members[offsets[i]:offsets[i + 1]] if valid[i] else None for i in range(len(array))]


def scalar(value):
    if isinstance(value, float):
        return "NaN" if value != value else struct.pack(">d", value).hex()
    if isinstance(value, bytes):
        return value.hex()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return format(value, "f")


def show(table, columns, found):
    columns = [[name, kind] for name, kind in columns]
    by_name = {name: value_list(found[name]) for name, _ in columns}
    rows = [list(row) for row in zip(*by_name.values())]
    at = list(by_name).index("redpanda")
    rows.sort(key=lambda row: row[at]["offset"])
    print(json.dumps({"table": table, "columns": columns, "rows": rows}))


def pyiceberg(port, tables):
    from pyiceberg import types
    from pyiceberg.catalog import load_catalog

    def word(kind):
        match kind:
            case types.StructType():
                return "struct<" + ", ".join(f"{f.name}: {optional(f.field_type, f.required)}" for f in kind.fields) + ">"
            case types.ListType():
                return f"list<{optional(kind.element_type, kind.element_required)}>"
            case types.MapType():
                return f"map<{word(kind.key_type)}, {optional(kind.value_type, kind.value_required)}>"
        return str(kind)

    def optional(kind, required):
        return ("required " if required else "") + word(kind)

    catalog = load_catalog("rest", type="rest", uri=f"http://127.0.0.1:{port}")
    for name in tables:
        table = catalog.load_table(("public", name))
        columns = [(f.name, optional(f.field_type, f.required)) for f in table.schema().fields]
        show(name, columns, table.scan().to_arrow())


def duckdb(port, tables):
    import duckdb

    words = {
        "boolean": "boolean", "integer": "int", "bigint": "long", "float": "float", "double": "double",
        "varchar": "string", "blob": "binary", "uuid": "uuid", "date": "date", "time": "time",
        "timestamp": "timestamp", "timestamp with time zone": "timestamptz",
    }

    def word(kind):
        match kind.id:
            case "struct":
                return "struct<" + ", ".join(f"{name}: {word(member)}" for name, member in kind.children) + ">"
            case "list":
                return f"list<{word(kind.children[0][1])}>"
            case "map":
                return f"map<{word(kind.children[0][1])}, {word(kind.children[1][1])}>"
            case "decimal":
                precision, scale = (size for _, size in kind.children)
                return f"decimal({precision}, {scale})"
        return words[kind.id]

    connection = duckdb.connect(config={
        "extension_directory": os.environ["FRAZIL_DUCKDB_EXTENSIONS"],
        "autoinstall_known_extensions": "false",
    })
    connection.execute("LOAD iceberg")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(
        f"ATTACH 'frazil' AS lake (TYPE ICEBERG, ENDPOINT 'http://127.0.0.1:{port}', AUTHORIZATION_TYPE 'none')"
    )
    for name in tables:
        found = connection.sql(f'SELECT * FROM lake.public."{name}"')
        show(name, zip(found.columns, map(word, found.types)), found.to_arrow_table())


def spark(port, tables):
    from pyspark.sql import SparkSession, types

    words = {
        "BooleanType": "boolean", "IntegerType": "int", "LongType": "long", "FloatType": "float",
        "DoubleType": "double", "StringType": "string", "BinaryType": "binary", "DateType": "date",
        "TimeType": "time", "TimestampType": "timestamptz", "TimestampNTZType": "timestamp",
    }

    def word(kind):
        match kind:
            case types.StructType():
                members = (f"{f.name}: {optional(f.dataType, f.nullable)}" for f in kind.fields)
                return "struct<" + ", ".join(members) + ">"
            case types.ArrayType():
                return f"list<{optional(kind.elementType, kind.containsNull)}>"
            case types.MapType():
                return f"map<{word(kind.keyType)}, {optional(kind.valueType, kind.valueContainsNull)}>"
            case types.DecimalType():
                return f"decimal({kind.precision}, {kind.scale})"
        return words[type(kind).__name__]

    def optional(kind, nullable):
        return ("" if nullable else "required ") + word(kind)

    options = {
        "spark.jars": os.environ["FRAZIL_SPARK_JAR"],
        "spark.sql.session.timeZone": "UTC",
        "spark.ui.enabled": "false",
        "spark.log.level": "ERROR",
        "spark.sql.shuffle.partitions": "1",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.driver.memory": "1g",
        "spark.sql.catalog.lake": "org.apache.iceberg.spark.SparkCatalog",
        "spark.sql.catalog.lake.type": "rest",
        "spark.sql.catalog.lake.uri": f"http://127.0.0.1:{port}",
        "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
    }
    builder = SparkSession.builder.master("local[2]")
    for name, value in options.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    for name in tables:
        try:
            found = session.table(f"lake.public.`{name}`")
            columns = [(f.name, optional(f.dataType, f.nullable)) for f in found.schema.fields]
            show(name, columns, found.toArrow())
        except Exception as error:
            print(json.dumps({"table": name, "error": str(error).splitlines()[0]}))
    session.stop()


if __name__ == "__main__":
    {f.__name__: f for f in (pyiceberg, duckdb, spark)}[sys.argv[1]](sys.argv[2], json.load(sys.stdin))
