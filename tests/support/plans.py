"""How the database goes about queries on the table of slots: its own plan of each, with the values that were bound."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connections

TABLE = "cutover_slot"
PARTIAL = tuple(f"cutover_slot_{kind}" for kind in ("unpublished", "unstarted", "missed", "deduplicated", "unmanaged"))


@dataclass(frozen=True)
class Plan:
    """One query; ``scans``: it reads all slots, or sorts what it should find in order. ``rows``: read, if known."""

    sql: str
    lines: str
    scans: bool
    rows: int | None


@contextmanager
def plans(alias: str) -> Iterator[list[Plan]]:
    """The plan of every query on slots meanwhile."""
    connection = connections[alias]
    found: list[Plan] = []
    explain = {"sqlite": _of_sqlite, "postgresql": _of_postgres, "mysql": _of_mysql}[connection.vendor]

    def watch(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("SELECT") and re.search(rf"\b{TABLE}\b", sql) and "FOR UPDATE" not in sql:
            with connection.connection.cursor() if connection.vendor != "sqlite" else _closing(connection) as cursor:
                found.append(explain(cursor, sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(watch):
        yield found


def assert_by_index(found: list[Plan], rows: int) -> None:
    """There were queries, and none of them reads more than ``rows`` slots."""
    assert found
    bad = [plan for plan in found if plan.scans or (plan.rows or 0) > rows]
    assert not bad, "\n\n".join(f"{plan.sql}\n{plan.lines}" for plan in bad)


@contextmanager
def _closing(connection: Any) -> Iterator[Any]:
    cursor = connection.create_cursor()
    try:
        yield cursor
    finally:
        cursor.close()


def _of_sqlite(cursor: Any, sql: str, params: Any) -> Plan:
    cursor.execute(f"EXPLAIN QUERY PLAN {sql}", params or ())
    lines = [row[3] for row in cursor.fetchall()]
    sorts = any(line.startswith("USE TEMP B-TREE FOR ORDER BY") for line in lines)
    scanned = [line for line in lines if re.match(rf"SCAN ({TABLE}|[A-Z]\d)", line)]
    # Each entry's part of an index of all slots, which is what SQLite may choose once it was analyzed.
    skips = any("ANY(entry)" in line for line in lines)
    # In the order of an index, as far as the limit; or all of an index that holds few slots.
    walks = [line for line in scanned if "LIMIT" in sql and "USING" in line and "INDEX" in line and not sorts]
    few = [line for line in scanned if line.split()[-1] in PARTIAL]
    return Plan(sql, "\n".join(lines), skips or bool(set(scanned) - set(walks) - set(few)), None)


def _of_postgres(cursor: Any, sql: str, params: Any) -> Plan:
    cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", params)
    (document,) = cursor.fetchone()
    plan = (document if isinstance(document, list) else json.loads(document))[0]["Plan"]
    nodes = [node for node in _nodes(plan) if node.get("Relation Name") == TABLE]
    read = sum(
        int((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]) for node in nodes
    )
    return Plan(sql, json.dumps(plan, indent=1), any("Seq Scan" in node["Node Type"] for node in nodes), read)


def _of_mysql(cursor: Any, sql: str, params: Any) -> Plan:
    cursor.execute("SELECT VERSION()")
    (version,) = cursor.fetchone()
    return (_of_mariadb if "MariaDB" in version else _of_mysql_itself)(cursor, sql, params)


def _of_mysql_itself(cursor: Any, sql: str, params: Any) -> Plan:
    cursor.execute(f"EXPLAIN ANALYZE {sql}", params)
    (tree,) = cursor.fetchone()
    ours = [line for line in tree.splitlines() if re.search(rf" on ({TABLE}|[A-Z]\d)\b", line)]
    counts = [re.search(r"actual .*rows=(\S+) loops=(\d+)", line) for line in ours]
    read = sum(int(float(count[1]) * int(count[2])) for count in counts if count)
    return Plan(sql, tree, any("Table scan" in line for line in ours), read)


def _of_mariadb(cursor: Any, sql: str, params: Any) -> Plan:
    cursor.execute(f"ANALYZE FORMAT=JSON {sql}", params)
    (document,) = cursor.fetchone()
    nodes = [node for node in _objects(json.loads(document)) if "access_type" in node]
    ours = [node for node in nodes if re.fullmatch(rf"{TABLE}|[A-Z]\d", node["table_name"])]
    read = sum(int((node.get("r_rows") or 0) * (node.get("r_loops") or 0)) for node in ours)
    return Plan(sql, document, any(node["access_type"] == "ALL" for node in ours), read)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects(child)


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)
