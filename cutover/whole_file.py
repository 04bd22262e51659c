"""Files that are written whole or not at all."""

import os
from pathlib import Path


def write(file: Path, text: str) -> None:
    """Write ``text`` to ``file``, through a file beside it: killed anywhere, nobody ever reads half. Raises OSError.

    A process that is killed with no chance to act leaves the file beside it, whose name ends with ``.part``.
    """
    beside = Path(f"{file}.{os.getpid()}.part")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(file)
    except BaseException:  # Ctrl-C too
        beside.unlink(missing_ok=True)
        raise
