"""Options that force or waive something are named where they are given: nobody reads ``run(context, True, False)``."""

import ast
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import cutover
from cutover.observe import status
from cutover.phases import phase1, phase2, phase3, phase4, plan, replay, rollback

FORCING = {
    "accept_edits",
    "adopt",
    "alone",
    "as_proved",
    "drop_edits",
    "force",
    "is_asked_later",
    "is_back",
    "no_code_beat",
    "optional",
    "switched",
    "waive",
}
PACKAGE = Path(cutover.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))


def by_position(path: Path) -> Iterator[tuple[str, ast.arg]]:
    """Every parameter that may be given by position, with the name of its function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for argument in [*node.args.posonlyargs, *node.args.args]:
                yield node.name, argument


def test_nowhere_in_the_package_is_an_option_that_forces_given_by_position() -> None:
    found = [f"{path.name}: {name}({arg.arg})" for path in SOURCES for name, arg in by_position(path)]
    assert len(found) > 500, "the search has found the package"
    assert [one for one in found if one.rpartition("(")[2].rstrip(")") in FORCING] == []


def test_no_function_of_the_phases_takes_a_truth_value_by_position() -> None:
    for path in sorted((PACKAGE / "phases").rglob("*.py")):
        for name, argument in by_position(path):
            annotated = isinstance(argument.annotation, ast.Name) and argument.annotation.id == "bool"
            assert not annotated, f"{path.name}: {name}({argument.arg})"


@pytest.mark.parametrize("module", [plan, phase1, phase2, phase3, phase4, replay, rollback, status])
def test_a_phase_takes_nothing_but_its_context_by_position(module: Any) -> None:
    run: Callable[..., Any] = module.run
    kinds = [parameter.kind for parameter in inspect.signature(run).parameters.values()]
    assert kinds[0] is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert set(kinds[1:]) <= {inspect.Parameter.KEYWORD_ONLY}
    if kinds[1:]:
        with pytest.raises(TypeError):
            run(None, True)
