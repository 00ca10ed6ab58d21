"""SQL through psycopg 3: text and binary, parameters of many types, prepared statements, errors, transactions, cancel.

usage: sql_psycopg.py POSTGRES_PORT [TABLE]      (TABLE must have rows; without it only literals are queried)
"""

import datetime as dt
import decimal
import sys
import threading
import time

import psycopg


def literals(connection: psycopg.Connection) -> None:
    for binary in (False, True):
        row = connection.execute(
            "SELECT true, 1::smallint, -2::int, 3::bigint, 1.5::real, 2.5::double precision, 12.50::numeric(10,2), "
            "'text', NULL, date '2026-01-02', timestamp '2026-01-02 03:04:05.123456'",
            binary=binary,
        ).fetchone()
        assert row == (
            True, 1, -2, 3, 1.5, 2.5, decimal.Decimal("12.50"), "text", None,
            dt.date(2026, 1, 2), dt.datetime(2026, 1, 2, 3, 4, 5, 123456),
        ), row
        assert connection.execute("SELECT ARRAY[1,2,NULL]", binary=binary).fetchone() == ([1, 2, None],)


def parameters(connection: psycopg.Connection) -> None:
    stamp = dt.datetime(2026, 1, 2, 3, 4, 5, 600000, tzinfo=dt.timezone.utc)
    for placeholder in ("%s", "%t", "%b"):
        for value, cast in [
            (42, "bigint"), (2**40, "bigint"), (-1, "int"), (1.25, "double precision"), ("tëxt", "text"),
            (True, "boolean"), (None, "text"), (dt.date(2026, 1, 2), "date"), (stamp, "timestamptz"),
            (decimal.Decimal("-12.50"), "numeric(10,2)"), (b"\x00\xff", "bytea"),
        ]:
            found = connection.execute(f"SELECT {placeholder}::{cast}", [value]).fetchone()[0]
            assert found == value, (placeholder, value, found)
    many = ", ".join(f"%s::bigint AS c{n}" for n in range(12))
    assert connection.execute(f"SELECT {many}", list(range(12))).fetchone() == tuple(range(12))


def errors(connection: psycopg.Connection) -> None:
    for statement, expected in [
        ("SELECT * FROM nowhere", psycopg.errors.UndefinedTable),
        ("SELECT nothing", psycopg.errors.UndefinedColumn),
        ("SELEC 1", psycopg.errors.SyntaxError),
        ("SELECT 1/0", psycopg.errors.DivisionByZero),
    ]:
        try:
            connection.execute(statement)
        except expected:
            pass
        else:
            raise AssertionError(f"{statement} must fail")
    try:
        with connection.cursor() as cursor, cursor.copy("COPY x TO STDOUT") as copy:
            list(copy)
    except psycopg.errors.FeatureNotSupported:
        pass
    assert connection.execute("SELECT 1").fetchone() == (1,)


def transactions(port: int) -> None:
    with psycopg.connect(host="127.0.0.1", port=port, user="me", dbname="frazil") as connection:
        with connection.transaction():
            connection.execute("SELECT 1")
        try:
            with connection.transaction():
                connection.execute("SELECT * FROM nowhere")
        except psycopg.errors.UndefinedTable:
            pass
        assert connection.execute("SELECT 2").fetchone() == (2,)


def table(connection: psycopg.Connection, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    count = connection.execute(f"SELECT count(*) FROM {quoted}").fetchone()[0]
    assert count > 0
    for binary in (False, True):
        assert len(connection.execute(f"SELECT * FROM {quoted}", binary=binary).fetchall()) == count
    with connection.cursor() as cursor:
        assert sum(1 for _ in cursor.stream(f"SELECT * FROM {quoted}")) == count
    for _ in range(8):  # psycopg prepares from the fifth time on
        assert connection.execute(f"SELECT count(*) FROM {quoted} WHERE 1 = %s", [1]).fetchone() == (count,)
    endless = f"SELECT count(*) FROM {quoted} a, {quoted} b, {quoted} c WHERE a.qty + b.qty = c.qty * 7 + 1"
    canceller = threading.Timer(0.3, connection.cancel)
    canceller.start()
    began = time.monotonic()
    try:
        connection.execute(endless)
    except psycopg.errors.QueryCanceled:
        assert time.monotonic() - began < 20
    canceller.join()
    assert connection.execute("SELECT 1").fetchone() == (1,)


def main(port: int, name: str | None) -> None:
    with psycopg.connect(host="127.0.0.1", port=port, user="me", dbname="frazil", autocommit=True) as connection:
        assert connection.info.server_version == 150000, connection.info.server_version
        literals(connection)
        parameters(connection)
        errors(connection)
        if name:
            table(connection, name)
    transactions(port)
    print("psycopg: ok")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
