"""What docs/public-api.md and the pages that it names promise is what the code has, neither more nor less."""

import ast
import re
from argparse import ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from django.apps import apps
from django.utils.module_loading import import_string

from cutover import headers
from cutover.conf import Config
from cutover.events import Event
from cutover.management.commands.cutover import PHASES, Command
from cutover.setup.init import How, Piece
from demo.processes import ROOT

DOCS = ROOT / "docs"
PUBLIC = DOCS / "public-api.md"
LEVELS = {10: "debug", 20: "info", 30: "warning", 40: "error"}
EVENTS = "| event | level | when | keys |"
NAME = re.compile(r"`([^`]+)`")


def rows(page: Path, head: str) -> list[list[str]]:
    """The rows of the one table of ``page`` whose first row is ``head``, each as its cells."""
    [table] = re.findall(rf"^{re.escape(head)}\n\|[-|]+\n((?:\|.*\n?)+)", page.read_text(), re.MULTILINE)
    return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in table.strip().splitlines()]


def names(cells: list[str]) -> list[str]:
    return [name for cell in cells for name in NAME.findall(cell)]


def test_every_event_is_documented_with_its_level_and_no_other() -> None:
    documented = [(NAME.findall(event)[0], level) for event, level, *_ in rows(DOCS / "events.md", EVENTS)]
    assert documented == [(name, LEVELS[level]) for name, level in (event.value for event in Event)]


def logged() -> Iterator[tuple[str, set[str]]]:
    """Each event that a call names, with the keys that the call gives it."""
    for file in (ROOT / "cutover").rglob("*.py"):
        for call in ast.walk(ast.parse(file.read_text())):
            if isinstance(call, ast.Call) and call.args and ast.unparse(call.func) == "log":
                keys = {keyword.arg for keyword in call.keywords if keyword.arg}
                yield from ((event, keys) for event in re.findall(r"Event\.(\w+)", ast.unparse(call.args[0])))


def test_every_key_of_an_event_is_documented() -> None:
    documented = {NAME.findall(row[0])[0]: set(names(row[3:])) for row in rows(DOCS / "events.md", EVENTS)}
    calls = list(logged())
    assert len(calls) > len(Event) / 2
    undocumented = [(event, keys - documented[Event[event].value[0]]) for event, keys in calls]
    assert [(event, keys) for event, keys in undocumented if keys] == []


def test_every_setting_is_documented_and_no_other() -> None:
    documented = names([row[0] for row in rows(DOCS / "settings.md", "| name | default | meaning, and what follows |")])
    assert sorted(documented) == sorted(field.name.upper() for field in fields(Config))


def test_every_dotted_path_can_be_imported() -> None:
    paths = names([row[0] for row in rows(PUBLIC, "| path | named in |")])
    assert "cutover.guard.GuardedTask" in paths
    for path in paths:
        assert import_string(path) if "." in path else apps.get_app_config(path)


def test_every_option_of_the_command_is_documented_and_no_other() -> None:
    documented = {
        NAME.findall(phase)[0]: set(names([options])) for phase, options in rows(PUBLIC, "| phase | options |")
    }
    assert documented == {phase: options(phase) - {"--json", "--help"} for phase in PHASES}
    assert all("--json" in options(phase) for phase in PHASES)


def options(phase: str) -> set[str]:
    parser = Command().create_parser("manage.py", "cutover")
    [subparsers] = [action for action in parser._actions if isinstance(action, _SubParsersAction)]
    chosen: ArgumentParser = subparsers.choices[phase]
    return {option for action in chosen._actions for option in action.option_strings if option.startswith("--")}


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


@pytest.mark.parametrize("page", ["settings.md", "checks.md", "events.md", "redis-acl.md"])
def test_the_page_names_the_others(page: str) -> None:
    assert f"]({page})" in PUBLIC.read_text()
