"""docs/architecture.md names the rooms that there are, all of them, and draws what a forge can render."""

import ast
import re

from demo.processes import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text()
PACKAGE = ROOT / "cutover"
PATH = re.compile(r"`([\w./-]+(?:\.(?:py|lua|toml|md)|/))`")
DIAGRAM = re.compile(r"^```mermaid\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINE = re.compile(r"stateDiagram-v2|    direction TB|    (?:\[\*\]|\w+) --> (?:\[\*\]|\w+)(?:: [^:;#{}\"`]+)?")
"""What these diagrams are made of. A colon, a semicolon or a hash in a label ends it, or starts something else."""

ROOMS = {
    str(file.relative_to(PACKAGE))
    for file in PACKAGE.rglob("*.py")
    if file.name != "__init__.py" and "migrations" not in file.parts
}


def test_what_is_named_exists() -> None:
    named = sorted(set(PATH.findall(PAGE)))
    assert [path for path in named if not (PACKAGE / path).exists() and not (ROOT / path).exists()] == []


def test_every_room_is_named() -> None:
    assert sorted(ROOMS - set(PATH.findall(PAGE))) == []


def test_the_page_draws_a_beat_and_a_slot_first() -> None:
    beat, slot = DIAGRAM.findall(PAGE)
    assert PAGE.index(slot) < PAGE.index("## One slot")
    for state in ("Standby", "Campaigning", "Leading", "SteppingDown", "Stopped"):
        assert f"--> {state}" in beat
    for state in ("Claimed", "Published", "Missed", "Started", "Ended"):
        assert f"--> {state}" in slot


def test_the_diagrams_have_only_what_renders() -> None:
    lines = [line for text in DIAGRAM.findall(PAGE) for line in text.splitlines()]
    assert [line for line in lines if not LINE.fullmatch(line)] == []


def test_the_model_names_what_the_code_has() -> None:
    page = (ROOT / "docs" / "model.md").read_text()
    methods = {
        f"{found.name}.{inner.name}"
        for file in PACKAGE.rglob("*.py")
        for found in ast.walk(ast.parse(file.read_text()))
        if isinstance(found, ast.ClassDef)
        for inner in found.body
        if isinstance(inner, ast.FunctionDef)
    }
    assert sorted(set(re.findall(r"`([A-Z]\w+\.\w+)`", page)) - methods) == []
    assert [path for path in re.findall(r"`(\w+/\w+\.py)`", page) if not (PACKAGE / path).exists()] == []
