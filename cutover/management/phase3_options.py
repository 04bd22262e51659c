"""The options of `phase3` for what may surround its switch: a wait before it, and a watch after it."""

import datetime as dt
import re
from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import Any

from django.core.management.base import CommandParser


def add_to(phase3: CommandParser, *, time: Callable[[str], dt.timedelta]) -> None:
    """Add the options of the wait, of the orders that other commands give it, and of the watch; ``time`` reads one."""
    length: dict[str, Any] = {"type": time, "metavar": "TIME"}
    add = phase3.add_argument
    add("--quiet", action="store_true", help="wait for the longest quiet window that plan names")
    by = "with --quiet: a window until then (02:30, 2026-03-29T02:30, 90m; 24 hours without it)"
    add("--by", help=by, metavar="TIME")
    orders = phase3.add_mutually_exclusive_group()
    later = "have the one that waits switch no sooner than then (02:30, 2026-03-29T02:30, 10m)"
    orders.add_argument("--postpone", help=later, metavar="TIME")
    orders.add_argument("--now", action="store_true", help="have the one that waits switch now")
    orders.add_argument("--call-off", action="store_true", help="have the one that waits end, with nothing done")
    watch = "watch the switch for so long (10m), and roll back if a slot is missed, doubled or not run"
    add("--guard", dest="guard_for", help=watch, **length)
    add("--guard-command", help="with --guard: roll back, too, once this ends with anything but 0", metavar="COMMAND")
    add("--guard-failures", help="with --guard: how many runs may fail (3)", type=_number, metavar="NUMBER")


def _number(text: str) -> int:
    if not re.fullmatch(r"\d{1,6}", text, re.ASCII):
        raise ArgumentTypeError(f"{text!r} is no whole number")
    return int(text)
