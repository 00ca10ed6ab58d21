"""The tables through DuckDB over the REST catalog, without the network (the extensions are Python packages); prints the
result of a query as JSON lines when asked.

usage: rest_duckdb.py CATALOG_PORT [SQL]       (tables are ice.public.<name>)
"""

import importlib.util
import json
import pathlib
import shutil
import sys
import tempfile

import duckdb

EXTENSIONS = ("avro", "httpfs", "iceberg")


def connect(port: int, directory: str) -> duckdb.DuckDBPyConnection:
    target = pathlib.Path(directory) / f"v{duckdb.__version__}" / "linux_amd64"
    target.mkdir(parents=True)
    for name in EXTENSIONS:
        package = importlib.util.find_spec(f"duckdb_extension_{name}")
        for found in pathlib.Path(package.submodule_search_locations[0]).rglob("*.duckdb_extension"):
            shutil.copy(found, target / f"{name}.duckdb_extension")
    config = {"extension_directory": directory, "autoinstall_known_extensions": "false"}
    connection = duckdb.connect(config=config)
    connection.execute("LOAD avro; LOAD httpfs; LOAD iceberg")
    connection.execute(
        f"ATTACH 'frazil' AS ice (TYPE ICEBERG, ENDPOINT 'http://127.0.0.1:{port}', AUTHORIZATION_TYPE 'none')"
    )
    return connection


def main(port: int, sql: str | None) -> None:
    with tempfile.TemporaryDirectory() as directory:
        connection = connect(port, directory)
        tables = connection.execute(
            "SELECT table_schema, table_name FROM information_schema.tables WHERE table_catalog = 'ice'"
        ).fetchall()
        for schema, name in tables:
            count = connection.execute(f'SELECT count(*) FROM ice."{schema}"."{name}"').fetchone()[0]
            print(f"{schema}.{name}: {count} rows", file=sys.stderr)
        try:
            connection.execute("CREATE SCHEMA ice.mine")
        except duckdb.Error as error:
            print(f"refused as it should be: {str(error)[:200]}", file=sys.stderr)
        else:
            raise AssertionError("a schema was created in a read-only catalog")
        if sql:
            result = connection.execute(sql)
            names = [column[0] for column in result.description]
            for row in result.fetchall():
                print(json.dumps(dict(zip(names, row)), default=str, sort_keys=True))
    print("rest duckdb: ok", file=sys.stderr)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
