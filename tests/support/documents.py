"""The commands that a document tells its reader to type.

A ``bash`` fence is a script; of a ``console`` fence the lines after ``$ `` are, and the rest is what the reader will
see. Any other fence is shown, not typed. An HTML comment on the line above a fence says what is special about it:

    <!-- not run: why -->        it cannot be run here
    <!-- keeps running -->       it runs until it is stopped
    <!-- exits: 3 -->            it is to end with this exit code, not with 0
    <!-- site: phase 1 is done -->   it is typed on a site that stands there; see ``stages``
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REMARK = r"<!--\s*(?P<remark>(?:(?!-->).)*?)\s*-->\s*\n"
FENCE = r"[ ]*```(?P<kind>console|bash)\n(?P<text>.*?)^[ ]*```"
BLOCK = re.compile(rf"^[ ]*(?:{REMARK})?{FENCE}", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"not run: (?P<why>.+)")
KEEPS_RUNNING = "keeps running"
SITE = re.compile(r"site: (?P<stage>.+)")
EXITS = re.compile(r"exits: (?P<code>\d+)")


@dataclass(frozen=True)
class Block:
    """One fence of commands."""

    document: Path
    line: int
    script: str
    not_run: str | None = None
    keeps_running: bool = False
    exit_code: int = 0
    site: str | None = None

    def __str__(self) -> str:
        return f"{self.document.name}:{self.line}"


def blocks(document: Path) -> Iterator[Block]:
    """Every block of a Markdown file, in its order. ValueError for a remark that means nothing."""
    text = document.read_text()
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        yield Block(document, line, _script(match["kind"], match["text"]), **_remark(match["remark"], document, line))


def _script(kind: str, text: str) -> str:
    if kind == "bash":
        return text
    commands, continued = [], False
    for line in map(str.strip, text.splitlines()):
        if continued or line.startswith("$ "):
            commands.append(line if continued else line[2:])
            continued = line.endswith("\\")
    return "\n".join(commands)


def _remark(remark: str | None, document: Path, line: int) -> dict[str, object]:
    if not remark:
        return {}
    if match := NOT_RUN.fullmatch(remark):
        return {"not_run": match["why"]}
    if match := EXITS.fullmatch(remark):
        return {"exit_code": int(match["code"])}
    if match := SITE.fullmatch(remark):
        return {"site": match["stage"]}
    if remark == KEEPS_RUNNING:
        return {"keeps_running": True}
    raise ValueError(f"{document}:{line}: a block's remark {remark!r} means nothing")
