"""Loaded by pytest into the packages' own tests: there our schedulers stand where the stock ones do.

A test that docs/differences.md lists has to fail, any other has to pass.
"""

import os
import re
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.upstream.suites import SUITES

LIST = Path(__file__).resolve().parents[2] / "docs" / "differences.md"
ROW = re.compile(r"^\| `(?P<test>test_\w+::test_\w+)` \| (?P<reason>.+) \|$", re.MULTILINE)
_started: "weakref.WeakSet[Any]" = weakref.WeakSet()


def pytest_configure() -> None:
    """Put our classes in the stock ones' place, before the tests import them."""
    next(suite for suite in SUITES if suite.distribution == os.environ["UPSTREAM"]).substitute()
    from cutover.beats.scheduler import Leased

    enter = Leased._enter

    def noted(self: Leased) -> Any:
        _started.add(self)
        return enter(self)

    Leased._enter = noted  # type: ignore[method-assign]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Expect the listed ones to fail; a listed one that is not there is an error."""
    section = LIST.read_text().partition(f"## Tests of {os.environ['UPSTREAM']}\n")[2].partition("\n## ")[0]
    reasons = {found["test"]: found["reason"] for found in ROW.finditer(section)}
    tests = {item: item.nodeid.partition("::")[2].partition("[")[0] for item in items}
    if unknown := reasons.keys() - tests.values():
        raise pytest.UsageError(f"{LIST.name} lists what is no test: {', '.join(sorted(unknown))}")
    for item, test in tests.items():
        if reason := reasons.get(test):
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """Leave no election behind: celery's tests look for threads."""
    try:
        return (yield)
    finally:
        for scheduler in list(_started):
            scheduler._leave()
