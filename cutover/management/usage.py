"""Wrong usage in one line: what is wrong, the option that was meant, and where to read on; exit code 2."""

import difflib
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from typing import NoReturn

from django.core.management.base import CommandParser

from cutover.phases.report import command

Say = Callable[[str], None]


def in_one_line(parser: CommandParser, phases: Mapping[str, ArgumentParser], say: Say) -> None:
    """Have ``parser``, and those of its phases, ``say`` it where argparse prints its usage, of several lines, first.

    Called from code, not as a command, they raise CommandError as Django's do.
    """
    if parser.called_from_command_line:
        for name, one in (("", parser), *phases.items()):
            one.error = _ending(name, phases, say)  # type: ignore[assignment, method-assign]


def _ending(name: str, phases: Mapping[str, ArgumentParser], say: Say) -> Callable[[str], NoReturn]:
    def error(message: str) -> NoReturn:
        of = name or next((word for word in sys.argv[2:3] if word in phases), "")
        said = f"{of}: {message}" if of else message
        say(f"{said}{_meant(message, phases[of]) if of else ''} -> {command(of) if of else command('').strip()} --help")
        sys.exit(2)

    return error


def _meant(message: str, parser: ArgumentParser) -> str:
    """The option of the phase that looks like one that it does not have."""
    known = [flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")]
    typed = (word.partition("=")[0] for word in message.split() if word.startswith("--"))
    unknown = next((word for word in typed if word.rstrip(":") not in known), "")
    close = difflib.get_close_matches(unknown, known, n=1) if unknown else []
    return f"; did you mean {close[0]}?" if close else ""
