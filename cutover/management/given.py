"""What was typed, judged as a whole before anything is done with it: what no option alone can say."""

import datetime as dt
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from cutover import clock
from cutover.errors import ConfigurationError
from cutover.visible import visible

STDOUT: Final = "-"
FILES: Final = ("html", "json")


def judge(options: Mapping[str, Any]) -> None:
    """Raises ConfigurationError for options that cannot be meant together, or be meant at all."""
    files = [file for name in FILES if isinstance(file := options.get(name), str)]
    if "" in files:
        raise ConfigurationError("The name of a file to write is empty.")
    if files == [STDOUT, STDOUT]:
        raise ConfigurationError("--html and --json cannot both be written to standard output.")
    if len(files) == len(FILES) and STDOUT not in files and len({Path(file).resolve() for file in files}) == 1:
        raise ConfigurationError(f"--html and --json cannot both be written to {files[0]}.")
    since, until = options.get("since"), options.get("until")
    if isinstance(since, dt.datetime) and since > (until or clock.now()):
        end = "--until" if until else "now"
        raise ConfigurationError(f"--since is later than {end}: nothing was due between them.")
    if options.get("role") and not options.get("check"):
        raise ConfigurationError("--role goes with --check: it says of whom the check is.")
    if options.get("check") and options.get("entry") is not None:
        raise ConfigurationError("--check judges the site, and --entry shows the slots of one entry: type one of them.")
    for text in _texts(options):
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            said = "has bytes that are no text in this terminal's encoding; set LANG to one of UTF-8, and type it again"
            raise ConfigurationError(f"'{visible(text)}' {said}.")


def _texts(options: Mapping[str, Any]) -> Iterator[str]:
    """What was typed, but for names of files, which may be any bytes."""
    for name, given in options.items():
        if name not in FILES:
            yield from (one for one in (given if isinstance(given, list) else [given]) if isinstance(one, str))
