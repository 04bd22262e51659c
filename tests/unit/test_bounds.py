"""No test outside ``figures`` fails because the machine was busy for less than a second."""

import ast
import textwrap
from collections.abc import Iterator

import pytest

from demo.processes import ROOT

MODULES = sorted((ROOT / "tests").rglob("test_*.py"))
CLOCKS = {"timed", "monotonic", "monotonic_s", "perf_counter", "total_seconds"}
"""Calls that give seconds."""


def short_bounds(source: str) -> Iterator[int]:
    """The lines that assert that something took less than a constant below one second."""
    module = ast.parse(source)
    if any(_is_figures(statement) for statement in module.body):
        return
    for function in ast.walk(module):
        if isinstance(function, ast.FunctionDef) and not any(map(_is_figures, function.decorator_list)):
            times = _times(function)
            for statement in ast.walk(function):
                if isinstance(statement, ast.Assert):
                    yield from (node.lineno for node in ast.walk(statement.test) if _is_short_bound(node, times))


def _is_figures(node: ast.AST) -> bool:
    """Whether it is the mark, on a module or on a test."""
    if isinstance(node, ast.stmt) and not isinstance(node, ast.Assign):
        return False
    return any(isinstance(part, ast.Attribute) and part.attr == "figures" for part in ast.walk(node))


def _times(function: ast.FunctionDef) -> set[str]:
    """Names that were given what a clock says, or that were appended to with it."""
    names: set[str] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and _tells_time(node.value, names):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="append"), args=[value]):
                names |= {name} if _tells_time(value, names) else set()
    return names


def _tells_time(node: ast.AST, names: set[str]) -> bool:
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and part.id in names:
            return True
        if isinstance(part, ast.Call):
            called = part.func.attr if isinstance(part.func, ast.Attribute) else getattr(part.func, "id", "")
            if called in CLOCKS:
                return True
    return False


def _is_short_bound(node: ast.AST, times: set[str]) -> bool:
    if not isinstance(node, ast.Compare):
        return False
    sides = [node.left, *node.comparators]
    for lower, operator, upper in zip(sides, node.ops, sides[1:], strict=False):
        if isinstance(operator, ast.Gt | ast.GtE):
            lower, upper = upper, lower
        elif not isinstance(operator, ast.Lt | ast.LtE):
            continue
        if _is_short_timedelta(upper) or (_is_below_one(upper) and _tells_time(lower, times)):
            return True
    return False


def _is_below_one(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, float) and 0 < node.value < 1


def _is_short_timedelta(node: ast.AST) -> bool:
    """Whether it is a ``timedelta`` of less than a second, and not none at all."""
    if not isinstance(node, ast.Call) or getattr(node.func, "attr", getattr(node.func, "id", "")) != "timedelta":
        return False
    seconds = {"microseconds": 1e-6, "milliseconds": 1e-3, "seconds": 1}
    given = [(word.arg, word.value.value) for word in node.keywords if isinstance(word.value, ast.Constant)]
    return any(name in seconds and 0 < value * seconds[name] < 1 for name, value in given)


def test_no_bound_is_shorter_than_a_second() -> None:
    found = {str(module.relative_to(ROOT)): list(short_bounds(module.read_text())) for module in MODULES}
    assert len(found) > 50
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    ("bound", "is_short"),
    [
        ("assert timed(lambda: x, 'it is') < 0.5", True),
        ("assert 0.5 > timed(lambda: x, 'it is')", True),
        ("assert timed(lambda: x, 'it is') < 1", False),
        ("assert timed(lambda: x, 'it is') > 0.5", False),
        ("took = timed(lambda: x, 'it is'); assert 0 < took <= 0.99", True),
        ("took = []; took.append(timed(lambda: x, 'it is')); assert max(took) < 0.1", True),
        ("began = monotonic(); assert monotonic() - began < 0.2", True),
        ("assert late < timedelta(milliseconds=900)", True),
        ("assert late < dt.timedelta(seconds=2)", False),
        ("assert share < 0.5", False),
    ],
)
def test_a_short_bound_is_found_and_nothing_else(bound: str, is_short: bool) -> None:
    body = textwrap.indent(bound.replace("; ", "\n"), "    ")
    assert bool(list(short_bounds(f"def test():\n{body}\n"))) is is_short
    assert not list(short_bounds(f"pytestmark = pytest.mark.figures\ndef test():\n{body}\n"))
    assert not list(short_bounds(f"@pytest.mark.figures\ndef test():\n{body}\n"))
