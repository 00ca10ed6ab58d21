"""PyIceberg's append, one commit per N rows that were parsed before, as the peer of a benchmark; prints seconds.

usage: peer_append.py FILE.ndjson WAREHOUSE ROWS_PER_COMMIT
"""

import os
import sys
import time

import duckdb
from pyiceberg.catalog.sql import SqlCatalog

source, warehouse, step = sys.argv[1], sys.argv[2], int(sys.argv[3])
os.makedirs(warehouse, exist_ok=True)
found = duckdb.sql(f"SELECT * FROM read_json('{source}', format='newline_delimited')").arrow()
rows = found if hasattr(found, "slice") else found.read_all()
catalog = SqlCatalog("peer", uri=f"sqlite:///{warehouse}/catalog.db", warehouse=f"file://{warehouse}")
catalog.create_namespace("peer")
table = catalog.create_table("peer.trades", schema=rows.schema)
begun = time.perf_counter()
for start in range(0, rows.num_rows, step):
    table.append(rows.slice(start, step))
print(time.perf_counter() - begun, flush=True)
