"""docs/versions.md says what the nox sessions passed on, and that is what noxfile.py asks for."""

import ast
import fcntl
import tomllib
from typing import Any

import pytest
from packaging.requirements import Requirement

from demo.processes import ROOT
from tests.versions import table

DECLARED = [
    Requirement(line) for line in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
]


def in_noxfile(name: str) -> Any:
    """The value of a constant there; nox itself is not installed where its sessions run this."""
    for statement in ast.parse((ROOT / "noxfile.py").read_text()).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == name:
            return ast.literal_eval(statement.value)
    raise KeyError(name)


def test_the_table_in_the_document_is_made_of_what_passed():
    assert table.written() == table.render(), "write it again with `make versions`"


def test_the_oldest_and_the_newest_set_have_passed_and_stand_first():
    assert list(table.noted())[:2] == ["oldest", "newest"]


def test_one_session_at_a_time_notes_what_it_has_passed_on():
    with table.RECORD.open() as record:
        with table.alone(), pytest.raises(BlockingIOError):
            fcntl.flock(record, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(record, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("pin", in_noxfile("OLDEST"))
def test_the_oldest_set_passed_on_what_it_asks_for_today(pin: str):
    asked = Requirement(pin)
    assert asked.specifier.contains(table.noted()["oldest"][asked.name])


@pytest.mark.parametrize("session", table.noted())
@pytest.mark.parametrize("package", DECLARED, ids=lambda package: package.name)
def test_what_passed_lies_in_the_range_that_the_package_declares(session: str, package: Requirement):
    assert package.specifier.contains(table.noted()[session][package.name])


@pytest.mark.parametrize("package", DECLARED, ids=lambda package: package.name)
def test_the_range_that_the_package_declares_begins_where_the_oldest_set_is(package: Requirement):
    [lowest] = [clause.version for clause in package.specifier if clause.operator == ">="]
    assert table.noted()["oldest"][package.name].startswith(f"{lowest}.")


@pytest.mark.parametrize("python", in_noxfile("PYTHONS"))
def test_every_python_has_passed(python: str):
    assert any(came_to["Python"].startswith(f"{python}.") for came_to in table.noted().values())
