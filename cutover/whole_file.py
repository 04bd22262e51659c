"""Files that are written whole or not at all."""

import os
from pathlib import Path


def write(file: Path, text: str) -> None:
    """Write ``text`` to ``file``, through a file beside it: killed anywhere, nobody ever reads half. Raises OSError.

    A link goes on leading where it leads. What is there and no file, as a device or a pipe, is written into: by a file
    in its place root would take ``/dev/null`` from the whole machine.

    A process that is killed with no chance to act leaves the file beside it, whose name ends with ``.part``.
    """
    file = file.resolve()
    if file.exists() and not file.is_file():
        file.write_text(text, encoding="utf-8")
        return
    beside = Path(f"{file}.{os.getpid()}.part")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(file)
    except BaseException:  # Ctrl-C too
        beside.unlink(missing_ok=True)
        raise
