"""``status --watch`` on a terminal: shown again every second, with keys to filter; the terminal is always restored."""

import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Final

from cutover import clock
from cutover.observe.screen import Filter
from cutover.phases.report import Report

EVERY_S: Final = 1.0
BACKSPACES: Final = ("\x7f", "\b")
ENTER: Final = ("\r", "\n")
ESCAPE: Final = "\x1b"


@dataclass(frozen=True, slots=True)
class Keys:
    """What was typed so far: the filter, whether its text is being typed, and whether to stop."""

    wanted: Filter = field(default_factory=Filter)
    is_typing: bool = False
    is_over: bool = False

    def pressed(self, key: str) -> "Keys":
        """What one more key makes of it. Pure."""
        if not self.is_typing:
            match key:
                case "q" | "\x03" | "\x04":
                    return replace(self, is_over=True)
                case "/":
                    return replace(self, is_typing=True)
                case "w":
                    wrong_only = replace(self.wanted, is_wrong_only=not self.wanted.is_wrong_only)
                    return replace(self, wanted=wrong_only)
                case "\x1b":
                    return replace(self, wanted=Filter())
            return self
        text = self.wanted.text
        if key in ENTER:
            return replace(self, is_typing=False)
        if key == ESCAPE:
            return replace(self, is_typing=False, wanted=replace(self.wanted, text=""))
        typed = text[:-1] if key in BACKSPACES else text + key if key.isprintable() else text
        return replace(self, wanted=replace(self.wanted, text=typed))

    @property
    def foot(self) -> str:
        """The last line: what is being typed, or which keys there are."""
        if self.is_typing:
            return f"filter: {self.wanted.text}_   enter keeps it, esc drops it"
        which = "all" if self.wanted.is_wrong_only else "only what is wrong"
        return f"q quit   / filter   w {which}" + ("   esc everything" if str(self.wanted) else "")


def watch(
    look: Callable[[], Report], show: Callable[[Report, Filter, str], bool], write: Callable[[str], None]
) -> None:
    """Call ``look`` every second, and ``show`` what it gives then and after every key, until q, Ctrl-C or SIGTERM.

    ``write`` is given the codes for the terminal at stdout; keys come from that at stdin.
    """
    keys = Keys()
    with _keyboard(write) as read:
        while True:
            seen = look()
            until_s = clock.monotonic_s() + EVERY_S
            while (left_s := until_s - clock.monotonic_s()) > 0:
                if not show(seen, keys.wanted, keys.foot):
                    return
                for key in read(left_s):
                    keys = keys.pressed(key)
                if keys.is_over:
                    return


@contextmanager
def _keyboard(write: Callable[[str], None]) -> Iterator[Callable[[float], str]]:
    """Keys one by one and unseen, on a screen of its own; both are as before afterwards, also after a SIGTERM."""
    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)
    told = signal.signal(signal.SIGTERM, _exit)

    def read(within_s: float) -> str:
        if not select.select([number], [], [], within_s)[0]:
            return ""
        return os.read(number, 1024).decode(errors="ignore") or "q"  # nobody is there any more

    try:
        tty.setcbreak(number)
        write("\x1b[?1049h\x1b[?25l")
        yield read
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)
        with suppress(OSError):
            write("\x1b[?25h\x1b[?1049l")
        signal.signal(signal.SIGTERM, told)


def _exit(number: int, frame: object) -> None:
    sys.exit(128 + number)
