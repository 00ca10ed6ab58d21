"""Looks at a table that storm.py feeds, again and again, until standard input closes.

usage: watch.py CATALOG_PORT TABLE PARTITIONS

Every look, with PyIceberg and DuckDB in turn, takes the current snapshot and an older one and demands of each: per
partition the records from offset 0 on, none missing, none twice, with the numbers that storm.py gave them; and of an older
snapshot what was found in it the first time. Prints what it saw: looks, snapshots, most data files of one.
"""

import os
import random
import sys
import threading

import duckdb
from pyiceberg.catalog import load_catalog

port, topic, partitions = sys.argv[1], sys.argv[2], int(sys.argv[3])
stop = threading.Event()


def wait_for_end():
    sys.stdin.read()
    stop.set()


threading.Thread(target=wait_for_end, daemon=True).start()
catalog = load_catalog("rest", type="rest", uri=f"http://127.0.0.1:{port}")
connection = duckdb.connect(config={
    "extension_directory": os.environ["FRAZIL_DUCKDB_EXTENSIONS"],
    "autoinstall_known_extensions": "false",
})
connection.execute("LOAD iceberg")
connection.execute(
    f"ATTACH 'frazil' AS lake (TYPE ICEBERG, ENDPOINT 'http://127.0.0.1:{port}', AUTHORIZATION_TYPE 'none')"
)
SUMS = """SELECT redpanda.partition, count(*), count(DISTINCT redpanda."offset"), min(redpanda."offset"),
    max(redpanda."offset"), sum(n), min(n), max(n) FROM {} GROUP BY 1 ORDER BY 1"""


def by_duckdb(_table, snapshot):
    return connection.execute(SUMS.format(f'lake.public."{topic}" AT (VERSION => {snapshot})')).fetchall()


def by_pyiceberg(table, snapshot):
    rows = table.scan(snapshot_id=snapshot, selected_fields=("redpanda", "n")).to_arrow()
    return duckdb.sql(SUMS.format("rows")).fetchall()


def check(snapshot, sums):
    """Records number partition, partition + partitions, … of storm.py, which begins with 1, and nothing else."""
    for partition, count, distinct, first, last, total, least, most in sums:
        begin = partition or partitions
        ends = (begin, begin + (count - 1) * partitions)
        expected = (count, 0, count - 1, sum(range(begin, ends[1] + 1, partitions)), *ends)
        found = (distinct, first, last, int(total), least, most)
        assert found == expected, f"snapshot {snapshot}, partition {partition}: {found}, not {expected}"


seen, looks, most_files, newest = {}, 0, 0, 0
engines = [by_pyiceberg, by_duckdb]
while not stop.is_set():
    table = catalog.load_table(("public", topic))
    current = table.current_snapshot()
    if current is None:
        continue
    files, rows = (int(current.summary[key]) for key in ("total-data-files", "total-records"))
    most_files = max(most_files, files)
    assert rows >= newest, f"{rows} rows after {newest}"
    newest = rows
    for snapshot in {current.snapshot_id, random.choice(list(seen) or [current.snapshot_id])}:
        sums = engines[looks % 2](table, snapshot)
        looks += 1
        check(snapshot, sums)
        assert seen.setdefault(snapshot, sums) == sums, f"snapshot {snapshot} was {seen[snapshot]}, is {sums}"
snapshots = table.metadata.snapshots
compactions = sum(s.summary.operation.value == "replace" for s in snapshots)
print(looks, len(snapshots), compactions, most_files, files)
