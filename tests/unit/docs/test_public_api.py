"""What docs/public-api.md and the pages that it names promise is what the code has, neither more nor less.

What ``docs/site/reference.py`` writes into them is not asked again: see ``test_reference.py``.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest
from django.apps import apps
from django.utils.module_loading import import_string

from cutover import headers, logs, signals
from cutover.events import Event
from cutover.setup.init import How, Piece
from demo.processes import ROOT

DOCS = ROOT / "docs"
PUBLIC = DOCS / "public-api.md"
EVENTS = "| event | level | when | keys |"
SIGNALS = "| signal | is sent | by | values |"
NAME = re.compile(r"`([^`]+)`")


def rows(page: Path, head: str) -> list[list[str]]:
    """The rows of the one table of ``page`` whose first row is ``head``, each as its cells."""
    [table] = re.findall(rf"^{re.escape(head)}\n\|[-|]+\n((?:\|.*\n?)+)", page.read_text(), re.MULTILINE)
    return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in table.strip().splitlines()]


def names(cells: list[str]) -> list[str]:
    return [name for cell in cells for name in NAME.findall(cell)]


HELPERS: dict[str, set[str]] = {"log": set(), "log_slot": {"entry", "due_at", "epoch"}, "log_seldom": {"unsaid"}}
"""What logs, and the keys that each gives by itself."""
OF_A_SLOT = {"entry", "due_at"}
SPREAD = {"admission.details": OF_A_SLOT, "self.details": OF_A_SLOT, "_log_failed": OF_A_SLOT}
"""The keys of what a call spreads (``**``): an object's, or a function's own keywords."""


def logged() -> Iterator[tuple[str, set[str]]]:
    """Each event that the code logs, with the keys that this call of it gives."""
    for file in (ROOT / "cutover").rglob("*.py"):
        text = file.read_text()
        if "Event" not in text and "_background" not in text:
            continue
        tree = ast.parse(text)
        assigned = [node for node in ast.walk(tree) if isinstance(node, ast.Assign | ast.AnnAssign) and node.value]
        tables = {ast.unparse(target): events_in(node.value) for node in assigned for target in targets(node)}
        for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
            for call in [node for node in ast.walk(function) if isinstance(node, ast.Call) and node.args]:
                name, first = ast.unparse(call.func), ast.unparse(call.args[0])
                if name in HELPERS and function.name not in HELPERS and not first.startswith("self."):
                    found = events_in(call.args[0]) or tables[first.partition("[")[0]]
                    yield from ((event, HELPERS[name] | keys(call, function.name)) for event in found)
                elif name == "_background.put":  # who tells, and what goes wrong with it is logged in the background
                    spread = OF_A_SLOT if any(keyword.arg is None for keyword in call.keywords) else set()
                    given = {keyword.arg for keyword in call.keywords if keyword.arg} | spread
                    yield from ((event, given | {"reason", "unsaid"}) for event in tables["_background"])


def targets(node: ast.Assign | ast.AnnAssign) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]


def events_in(node: ast.AST) -> list[str]:
    return re.findall(r"Event\.([A-Z_]+)", ast.unparse(node))


def keys(call: ast.Call, function: str) -> set[str]:
    """The keys of a call; those that it spreads are looked up, and one that nobody knows is an error."""
    spread = [ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg is None]
    named = {keyword.arg for keyword in call.keywords if keyword.arg}
    return named.union(*(SPREAD[function if text == "details" else text] for text in spread))


def test_every_event_is_logged_with_the_keys_that_are_documented_and_no_others() -> None:
    documented = {NAME.findall(row[0])[0]: set(names(row[3:])) for row in rows(DOCS / "events.md", EVENTS)}
    found: dict[str, set[str]] = {event.value[0]: set() for event in Event}
    for event, given in logged():
        found[Event[event].value[0]] |= given
    assert [name for name, given in found.items() if not given] == [], "nobody logs them, or without a key"
    assert found == documented


def test_every_event_says_when() -> None:
    assert [row[0] for row in rows(DOCS / "events.md", EVENTS) if len(row) != 4 or len(row[2]) < 10] == []


def test_every_dotted_path_can_be_imported() -> None:
    paths = names([row[0] for row in rows(PUBLIC, "| path | is | named in |")])
    assert "cutover.guard.GuardedTask" in paths
    import_module("cutover.observe.metrics.urls")  # a module is an attribute of its package once it was imported
    for path in paths:
        assert import_string(path) if "." in path else apps.get_app_config(path)


def test_every_signal_is_documented_and_no_other() -> None:
    assert names([row[0] for row in rows(DOCS / "alerts.md", SIGNALS)]) == list(signals.NAMES.values())
    paths = names([row[0] for row in rows(PUBLIC, "| path | is | named in |") if "signals" in row[0]])
    assert paths == [f"cutover.signals.{name}" for name in signals.NAMES.values()]


def test_every_key_in_the_log_is_documented_and_no_other() -> None:
    assert names([row[0] for row in rows(DOCS / "alerts.md", "| key | is |")]) == list(logs.OUTSIDE)


def test_what_init_says_of_a_file_is_documented() -> None:
    [keys] = [row[1] for row in rows(PUBLIC, "| command | keys |") if row[0] == "`init`"]
    documented = set(names([keys]))
    assert {f"files[].{field.name}" for field in fields(Piece)} | {how.value for how in How} == documented


def test_every_header_is_documented_and_no_other() -> None:
    ours = {value for value in vars(headers).values() if isinstance(value, str) and value.startswith("cutover_")}
    assert set(names([row[0] for row in rows(PUBLIC, "| header | is |")])) == ours


def test_every_table_is_documented_and_no_other() -> None:
    models = {model.__name__ for model in apps.get_app_config("cutover").get_models()}
    assert set(names([row[0] for row in rows(PUBLIC, "| model | holds |")])) == models


@pytest.mark.parametrize("page", ["settings.md", "checks.md", "events.md", "alerts.md", "redis-acl.md"])
def test_the_page_names_the_others(page: str) -> None:
    assert f"]({page})" in PUBLIC.read_text()
