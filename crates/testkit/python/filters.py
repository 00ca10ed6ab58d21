"""Filters tables with an engine that nobody here wrote, which skips files by partition values and bounds.

usage: filters.py pyiceberg|duckdb CATALOG_PORT < {"tables": […], "filters": [{"pyiceberg": …, "duckdb": …}, …]}

One JSON line a table: for each filter the sorted ids of the rows that fit, null where the engine has no such filter.
"""

import json
import os
import sys

engine, port = sys.argv[1:]
asked = json.load(sys.stdin)


def pyiceberg():
    from pyiceberg.catalog import load_catalog

    catalog = load_catalog("rest", type="rest", uri=f"http://127.0.0.1:{port}")

    def ids(name, text):
        table = catalog.load_table(("public", name))
        return table.scan(row_filter=text, selected_fields=("id",)).to_arrow()["id"].to_pylist()

    return ids


def duckdb():
    import duckdb

    connection = duckdb.connect(config={
        "extension_directory": os.environ["FRAZIL_DUCKDB_EXTENSIONS"],
        "autoinstall_known_extensions": "false",
    })
    connection.execute("LOAD iceberg")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(
        f"ATTACH 'frazil' AS lake (TYPE ICEBERG, ENDPOINT 'http://127.0.0.1:{port}', AUTHORIZATION_TYPE 'none')"
    )

    def ids(name, text):
        return [row[0] for row in connection.execute(f'SELECT id FROM lake.public."{name}" WHERE {text}').fetchall()]

    return ids


find = {"pyiceberg": pyiceberg, "duckdb": duckdb}[engine]()
for table in asked["tables"]:
    found = []
    for filters in asked["filters"]:
        text = filters[engine]
        try:
            found.append(None if text is None else sorted(find(table, text)))
        except Exception as error:
            sys.exit(f"{table}: {text}: {error}")
    print(json.dumps(found))
