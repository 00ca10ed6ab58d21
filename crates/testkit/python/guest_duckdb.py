"""DuckDB as a guest of the REST catalog, without the network (its extensions are Python packages): reads and writes, and
checks what it finds.

usage: guest_duckdb.py CATALOG_PORT write [CLIENT_ID SECRET]
       guest_duckdb.py CATALOG_PORT count TABLE
       guest_duckdb.py CATALOG_PORT refused TABLE                     a DELETE that would write delete files
"""

import os
import sys

import duckdb


def connect(port, client=None, secret=None):
    config = {
        "extension_directory": os.environ["FRAZIL_DUCKDB_EXTENSIONS"],
        "autoinstall_known_extensions": "false",
    }
    connection = duckdb.connect(config=config)
    connection.execute("LOAD avro; LOAD httpfs; LOAD iceberg")
    who = f"CLIENT_ID '{client}', CLIENT_SECRET '{secret}'" if client else "AUTHORIZATION_TYPE 'none'"
    connection.execute(f"ATTACH 'frazil' AS ice (TYPE ICEBERG, ENDPOINT 'http://127.0.0.1:{port}', {who})")
    return connection


def refused(connection, sql):
    try:
        connection.execute(sql)
    except duckdb.Error as error:
        return str(error)
    raise AssertionError(f"{sql} was expected to fail")


def write(port, *who):
    duck = connect(port, *who)

    def ask(sql):
        return duck.execute(sql).fetchall()

    duck.execute("CREATE SCHEMA ice.ducks")
    duck.execute("CREATE TABLE ice.ducks.a (id BIGINT, name VARCHAR)")
    duck.execute("CREATE TABLE ice.ducks.b (id BIGINT)")
    duck.execute("INSERT INTO ice.ducks.a SELECT i, 'n' || i FROM range(10) t(i)")
    assert ask("SELECT count(*), sum(id) FROM ice.ducks.a") == [(10, 45)]
    duck.execute("DELETE FROM ice.ducks.a WHERE id < 3")
    duck.execute("UPDATE ice.ducks.a SET name = 'new' WHERE id = 5")
    assert ask("SELECT count(*), count(*) FILTER (name = 'new') FROM ice.ducks.a") == [(7, 1)]
    duck.execute("BEGIN")
    duck.execute("INSERT INTO ice.ducks.a VALUES (100, 'both')")
    duck.execute("INSERT INTO ice.ducks.b VALUES (100)")
    duck.execute("COMMIT")
    other = connect(port, *who)
    both = other.execute("SELECT (SELECT count(*) FROM ice.ducks.a), (SELECT count(*) FROM ice.ducks.b)").fetchall()
    assert both == [(8, 1)], both
    # Of two that change the same table at once one is told so.
    duck.execute("BEGIN")
    duck.execute("INSERT INTO ice.ducks.b VALUES (1)")
    other.execute("INSERT INTO ice.ducks.b VALUES (2)")
    refused(duck, "COMMIT")
    assert other.execute("SELECT id FROM ice.ducks.b ORDER BY id").fetchall() == [(2,), (100,)]
    duck = connect(port, *who)
    duck.execute("CREATE TABLE ice.ducks.c AS SELECT i AS id FROM range(5) t(i)")
    assert ask("SELECT count(*) FROM ice.ducks.c") == [(5,)]
    for name in "abc":
        duck.execute(f"DROP TABLE ice.ducks.{name}")
    duck.execute("DROP SCHEMA ice.ducks")


def main(port, what, *args):
    if what == "write":
        write(port, *args)
    elif what == "refused":
        message = refused(connect(port), f"DELETE FROM ice.public.{args[0]} WHERE qty = 1")
        assert "delete files" in message, message
    else:
        print(connect(port).execute(f"SELECT count(*) FROM ice.public.{args[0]}").fetchall()[0][0])


if __name__ == "__main__":
    main(*sys.argv[1:])
