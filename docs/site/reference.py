"""Writes into the documents what the code says: `make reference`. A test fails while a page says something else.

In a page, what stands between ``<!-- generated: NAME -->`` and ``<!-- end -->`` is made here. The words are the code's:
the docstrings below settings, events and checks, the details of metrics, the help of options.
"""

import ast
import datetime as dt
import inspect
import os
import re
from argparse import Action, ArgumentParser, _SubParsersAction
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import MISSING, fields
from enum import Enum
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

DOCS: Final = Path(__file__).parents[1]
REGION: Final = re.compile(r"(<!-- generated: (?P<name>\w+) -->\n)(?P<text>.*?)(<!-- end -->)", re.DOTALL)
PAGE: Final = re.compile(r"docs/([\w-]+)\.md(#[\w-]+)?")
"""How a docstring names a page; in a page that is a link."""
LEVELS: Final = {10: "debug", 20: "info", 30: "warning", 40: "error"}
KINDS: Final = {
    "str": "text",
    "int": "number",
    "bool": "`True`, `False`",
    "dt.timedelta": "duration",
    "dt.timedelta | None": "duration, `None`",
    "CatchUp": '`"latest"`, `"none"`',
    "frozenset[str]": "list of text",
    "Mapping[str, int]": "port, dictionary",
}
"""How a setting's annotation is said; another mapping is a dictionary."""


def written(text: str) -> str:
    """A page with what is generated in it as the code says it now. KeyError for a name that nothing makes."""
    return REGION.sub(lambda found: found[1] + MAKERS[found["name"]](found["text"]) + found[4], text)


def settings(_: str) -> str:
    """A row for each field of ``Config``."""
    from cutover.conf import Config

    said = docstrings(Config)
    annotations = {ast.unparse(one.target): one.annotation for one in _body(Config) if isinstance(one, ast.AnnAssign)}
    rows = []
    for field in fields(Config):
        default = field.default if field.default_factory is MISSING else field.default_factory()
        kind = ast.unparse(annotations[field.name])
        kind = KINDS.get(kind, "dictionary" if kind.startswith("Mapping") else f"`{kind}`")
        rows.append((f"`{field.name.upper()}`", kind, _default(default), said[field.name]))
    return table("name", "is", "default", "meaning, and what follows", rows=rows)


def events(_: str) -> str:
    """A row for each event."""
    from cutover.events import Event

    rows = []
    for event, said in docstrings(Event).items():
        name, level = Event[event].value
        when, _, keys = said.partition(" Keys: ")
        rows.append((f"`{name}`", LEVELS[level], when, keys.removesuffix(".")))
    return table("event", "level", "when", "keys", rows=rows)


def checks(_: str) -> str:
    """A row for each id."""
    from cutover.check_ids import CheckId

    rows = [(f"`{CheckId[id_]}`", *said.split(" Do: ", 1)) for id_, said in docstrings(CheckId).items()]
    return table("id", "given when", "what to do", rows=rows)


def metrics(_: str) -> str:
    """A row for each metric."""
    from cutover.observe.metrics.catalogue import METRICS

    rows = []
    for name, one in METRICS.items():
        labels = ", ".join(f"`{label}`" for label in one.labels)
        rows.append((f"`{name}`", one.kind, labels, ", ".join(one.places), f"{one.meaning}. {one.detail}".strip()))
    return table("metric", "kind", "labels", "exposed by", "meaning", rows=rows)


def options(_: str) -> str:
    """A row for each phase, with the names of its options."""
    names = [(f"`{phase}`", ", ".join(f"`{_flag(one)}`" for one in found)) for phase, _, found in commands()]
    return table("phase", "options", rows=names)


def command(_: str) -> str:
    """A part for each phase: what it does, and its options, one by one."""
    parts = []
    for phase, said, found in commands(but=set()):
        rows = [(f"`{' '.join([_flag(one), *_value(one)])}`", _sentence(str(one.help))) for one in found]
        parts += [f"### cutover {phase}\n{_sentence(said)}\n", table("option", "does", rows=rows)]
    return "\n".join(parts)


def paths(now: str) -> str:
    """The rows that are there, with the first line of what each path's docstring says."""
    rows = []
    for line in now.splitlines()[2:]:
        path, _, named = (cell.strip() for cell in line.strip("|").split("|"))
        rows.append((path, _first_line(path.strip("`")), named))
    return table("path", "is", "named in", rows=rows)


MAKERS: Final[Mapping[str, Callable[[str], str]]] = {
    one.__name__: one for one in (settings, events, checks, metrics, options, command, paths)
}


def docstrings(kind: type) -> dict[str, str]:
    """What stands below each name in the body of a class, on one line. ValueError for a name with nothing below it."""
    body = _body(kind)
    said: dict[str, str] = {}
    for node, below in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.Assign | ast.AnnAssign):
            name = ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
            if not (isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)):
                raise ValueError(f"{kind.__module__}: say below {kind.__name__}.{name}, as a string, what it means.")
            said[name] = " ".join(str(below.value.value).split())
    return said


def commands(but: Set[str] = frozenset({"--json"})) -> Iterator[tuple[str, str, list[Action]]]:
    """Each phase of the command, what it does, and its options, without ``--help`` and some others."""
    from cutover.management.commands.cutover import PHASES, Command

    parser = Command().create_parser("manage.py", "cutover")
    [phases] = [action for action in parser._actions if isinstance(action, _SubParsersAction)]
    for phase, (said, *_) in PHASES.items():
        chosen: ArgumentParser = phases.choices[phase]
        found = [action for action in chosen._actions if action.option_strings and action.dest != "help"]
        yield phase, said, sorted((one for one in found if _flag(one) not in but), key=_flag)


def table(*head: str, rows: list[tuple[str, ...]]) -> str:
    """A table of Markdown; the names of pages in it are links."""
    cells = [head, *([PAGE.sub(r"[\1](\1.md\2)", cell.replace("|", r"\|")) for cell in row] for row in rows)]
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]]).replace("|  |", "| |") + "\n"


def _body(kind: type) -> list[ast.stmt]:
    """The statements of a class, as it is written."""
    [found] = [node for node in ast.parse(inspect.getsource(kind)).body if isinstance(node, ast.ClassDef)]
    return found.body


def _default(value: Any) -> str:
    match value:
        case dt.timedelta():
            for seconds, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
                if value.total_seconds() % seconds == 0 and value.total_seconds() > seconds:
                    return f"{value.total_seconds() / seconds:g} {unit}"
            return f"{value.total_seconds():g} s"
        case "" | None:
            return "none"
        case Enum() | str():
            return f'`"{value}"`'
        case frozenset():
            return f"`{sorted(value)}`"
    return f"`{value}`"


def _flag(action: Action) -> str:
    return max(action.option_strings, key=len)


def _value(action: Action) -> list[str]:
    if action.nargs == 0:
        return []
    named = str(action.metavar or "|".join(action.choices or ()) or "N")
    return [f"[{named}]" if action.nargs == "?" else named]


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _below(module: Any, name: str) -> str:
    """What stands below a module's value of that name, on one line; empty for nothing, and for what is no value."""
    body = ast.parse(inspect.getsource(module)).body
    for node, below in pairwise(body):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name and isinstance(below, ast.Expr):
            return " ".join(str(ast.literal_eval(below.value)).split())
    return ""


def _first_line(path: str) -> str:
    """Of what a dotted path leads to."""
    parts = path.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: Any = import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        if len(parts) == end + 1 and (below := _below(found, parts[end])):
            return below.partition(". ")[0].rstrip(".") + "."
        for name in parts[end:]:
            found = getattr(found, name)
        return "The version." if isinstance(found, str) else (inspect.getdoc(found) or "").partition("\n")[0]
    raise ValueError(f"docs/public-api.md: {path} leads nowhere.")


def main() -> None:
    """Write every page again, and say which have changed."""
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    for page in sorted(DOCS.glob("*.md")):
        before = page.read_text()
        if (after := written(before)) != before:
            page.write_text(after)
            print(f"{page.relative_to(DOCS.parent)}: written")


if __name__ == "__main__":
    main()
