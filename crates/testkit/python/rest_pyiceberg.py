"""The tables through PyIceberg over the REST catalog; prints the rows of one as JSON lines when asked.

usage: rest_pyiceberg.py CATALOG_PORT [TABLE]
"""

import json
import sys

from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError


def main(port: int, table: str | None) -> None:
    for base in ("", "/catalog", "/api/catalog"):
        catalog = RestCatalog("frazil", uri=f"http://127.0.0.1:{port}{base}", warehouse="frazil")
        assert ("public",) in catalog.list_namespaces(), catalog.list_namespaces()
        assert catalog.namespace_exists("public") and not catalog.namespace_exists("none")
        catalog.load_namespace_properties("public")
        assert catalog.list_namespaces("public") == []
        try:
            catalog.list_tables("none")
        except NoSuchNamespaceError:
            pass
        else:
            raise AssertionError("a namespace that does not exist was listed")
        try:
            catalog.load_table("public.none")
        except NoSuchTableError:
            pass
        else:
            raise AssertionError("a table that does not exist was loaded")
        assert not catalog.table_exists("public.none")
        try:
            catalog.create_namespace("mine")
        except NotImplementedError:
            pass  # the configuration does not list the endpoint
        else:
            raise AssertionError("a namespace was created in a read-only catalog")
    for name in catalog.list_tables("public"):
        loaded = catalog.load_table(name)
        assert catalog.table_exists(name)
        rows = loaded.scan().to_arrow()
        recorded = loaded.current_snapshot()
        expected = int(recorded.summary["total-records"]) if recorded else 0
        assert rows.num_rows == expected, (name, rows.num_rows, expected)
        print(f"{'.'.join(name)}: {rows.num_rows} rows", file=sys.stderr)
    if table:
        for row in catalog.load_table(f"public.{table}").scan().to_arrow().to_pylist():
            print(json.dumps(row, default=str, sort_keys=True))
    print("rest pyiceberg: ok", file=sys.stderr)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
