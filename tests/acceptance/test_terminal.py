"""The command on a real pseudo-terminal: drawn, filtered by keys, and the terminal restored."""

import datetime as dt
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from demo.processes import ROOT, python
from demo.waiting import wait_until
from tests.support import seldom
from tests.support.site import Site

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120)]

CODES = re.compile(r"\x1b\[[\d;?]*[a-zA-Z]")
CLEARED, ITS_OWN_SCREEN, BACK = "\x1b[H\x1b[2J", "\x1b[?1049h", "\x1b[?1049l"


class Screen:
    """A terminal of 80 columns and 24 lines, and what was written on it."""

    def __init__(self, keyboard: int, terminal: int) -> None:
        self.keyboard, self.terminal = keyboard, terminal
        self.written = ""

    @property
    def modes(self) -> list[object]:
        return termios.tcgetattr(self.terminal)

    def shows(self, text: str) -> bool:
        """Whether it is there to be seen now."""
        while True:
            try:
                self.written += os.read(self.keyboard, 65_536).decode()
            except (BlockingIOError, OSError):
                break
        return text in CODES.sub("", self.written.rpartition(CLEARED)[2])

    def type(self, keys: str) -> None:
        os.write(self.keyboard, keys.encode())


@contextmanager
def on_a_terminal(site: Site, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], Screen]]:
    """The command on a terminal, and what is seen there."""
    keyboard, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    os.set_blocking(keyboard, False)
    env = {**site.env, "TERM": "xterm-256color", "PYTHONUTF8": "1"}
    command = python("manage.py", "cutover", *arguments)
    given = {"stdin": terminal, "stdout": terminal, "stderr": terminal, "cwd": ROOT, "env": env}
    screen = Screen(keyboard, terminal)
    with subprocess.Popen(command, start_new_session=True, **given) as process:
        try:
            yield process, screen
        finally:
            process.kill()
    os.close(terminal)
    os.close(keyboard)


@pytest.mark.parametrize("end", ["q", signal.SIGTERM])
def test_status_is_watched_filtered_and_left_as_the_terminal_was(sqlite_site: Site, end: str | signal.Signals) -> None:
    with on_a_terminal(sqlite_site, "status", "--watch") as (process, screen):
        before = screen.modes
        wait_until(lambda: screen.shows("q quit   / filter"), "the keys are told")
        assert screen.modes != before
        assert screen.shows("Not healthy: nobody leads for the code side")
        assert screen.shows("every-minute")
        screen.type("/digest")
        wait_until(lambda: screen.shows("only entries named *digest*: 3 of 10"), "the filter holds")
        assert not screen.shows("every-minute")
        screen.type("\x1b")
        wait_until(lambda: screen.shows("every-minute"), "the filter is dropped")
        assert ITS_OWN_SCREEN in screen.written
        if isinstance(end, signal.Signals):
            process.send_signal(end)
        else:
            screen.type(end)
        assert process.wait(30) == (0 if end == "q" else 128 + signal.SIGTERM)
        wait_until(lambda: screen.shows("") and screen.written.endswith(BACK), "the screen is given back")
        assert screen.modes == before
        assert "Traceback" not in screen.written


@pytest.mark.long
def test_what_a_leap_waits_for_is_one_line_that_counts_down(sqlite_site: Site) -> None:
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(hours=5)  # the longest window begins then
    sqlite_site.env |= {"CODE_SCHEDULE": "tests.support.seldom.daily", seldom.HOUR: str(soon.hour)}
    for phase in (["phase1", "--no-code-beat"], ["phase2"]):
        assert sqlite_site.cutover(*phase).exit_code == 0
    with on_a_terminal(sqlite_site, "phase3", "--quiet", "--force") as (process, screen):
        wait_until(lambda: screen.shows("Ctrl-C ends this"), "the wait is shown", timeout_s=60)
        assert screen.shows("the switch waits for")

        def counts_down() -> bool:
            screen.shows("")  # reads what was written
            return len({*re.findall(r"\d:\d\d:\d\d  the switch", CODES.sub("", screen.written))}) > 1

        wait_until(counts_down, "it counts down", timeout_s=30)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        wait_until(lambda: screen.shows("Interrupted. Phase 2 is done; the code side is active."), "it says how far")
    assert sqlite_site.status()["phase"] == 2
