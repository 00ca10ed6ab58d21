"""DuckDB's COPY of newline-delimited JSON to Parquet (zstd), as the peer of a benchmark; prints seconds per run.

usage: peer_copy.py FILE.ndjson OUT.parquet RUNS THREADS
"""

import sys
import time

import duckdb

source, target, runs, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
connection = duckdb.connect(config={"threads": threads})
for _ in range(runs):
    begun = time.perf_counter()
    connection.execute(
        f"COPY (FROM read_json('{source}', format='newline_delimited')) TO '{target}' (FORMAT parquet, COMPRESSION zstd)"
    )
    print(time.perf_counter() - begun, flush=True)
