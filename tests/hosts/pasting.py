"""What ``cutover init`` prints, put where it says: as somebody would who does just that, and thinks of nothing else."""

import ast
import json
from pathlib import Path
from typing import Any

Piece = dict[str, Any]


def pieces(output: str) -> list[Piece]:
    """The additions in the document of ``init --json``."""
    document = next(line for line in output.splitlines() if line.startswith("{"))
    return json.loads(document)["files"]


def paste(root: Path, piece: Piece) -> None:
    """Put one addition into the project whose commands are typed in ``root``; what it says to merge is left out."""
    file = root / piece["file"]
    match piece["how"]:
        case "create":
            file.write_text(piece["text"])
        case "replace":
            text = file.read_text()
            assert text.count(piece["old"]) == 1
            file.write_text(text.replace(piece["old"], piece["text"].rstrip("\n")))
        case "append":
            lines = file.read_text().splitlines(keepends=True)
            position = _position(file, piece["place"])
            file.write_text("".join([*lines[:position], piece["text"], *lines[position:]]))


def _position(file: Path, place: str) -> int:
    """After which line."""
    if place == "add at its top":
        return 0
    if place.startswith("add at the end of class "):
        [end] = [
            node.end_lineno
            for node in ast.parse(file.read_text()).body
            if isinstance(node, ast.ClassDef) and node.name == place.split()[-1]
        ]
        return end
    assert place == "add at its end"
    return len(file.read_text().splitlines())


def is_needed(line: str) -> bool:
    """Whether a line of the settings is the package's own need, and not white space, a comment or an import."""
    return bool(line.strip()) and not line.strip().startswith(("#", "import "))
