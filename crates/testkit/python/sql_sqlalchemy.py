"""SQL through SQLAlchemy Core on psycopg 3 and asyncpg: connect, reflect, select with parameters.

usage: sql_sqlalchemy.py POSTGRES_PORT [TABLE]
"""

import asyncio
import sys

import asyncpg
from sqlalchemy import MetaData, Table, create_engine, func, inspect, select, text


def core(port: int, name: str | None) -> None:
    engine = create_engine(f"postgresql+psycopg://me@127.0.0.1:{port}/frazil")
    with engine.connect() as connection:
        assert connection.execute(text("SELECT 1 + :n"), {"n": 1}).scalar() == 2
    names = inspect(engine).get_table_names()
    if not name:
        return
    assert name in names, names
    table = Table(name, MetaData(), autoload_with=engine)
    assert len(table.columns) > 0
    with engine.connect() as connection:
        count = connection.execute(select(func.count()).select_from(table)).scalar()
        assert count > 0
        rows = connection.execute(select(table).limit(10)).fetchall()
        assert len(rows) == min(count, 10)


async def direct(port: int, name: str | None) -> None:
    connection = await asyncpg.connect(host="127.0.0.1", port=port, user="me", database="frazil")
    assert await connection.fetchval("SELECT 1 + $1::bigint", 41) == 42
    if name:
        quoted = '"' + name.replace('"', '""') + '"'
        rows = await connection.fetch(f"SELECT * FROM {quoted} LIMIT 10")
        assert rows
        async with connection.transaction():
            seen = 0
            async for _ in connection.cursor(f"SELECT * FROM {quoted} LIMIT 100", prefetch=7):
                seen += 1
            assert seen > 0
    await connection.close()


def main(port: int, name: str | None) -> None:
    core(port, name)
    asyncio.run(direct(port, name))
    print("sqlalchemy, asyncpg: ok")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
