"""What a command waits for: on a terminal one line that is drawn again and again, elsewhere a plain line a minute."""

import datetime as dt
from dataclasses import dataclass
from typing import IO, Any, Final, cast

from cutover import clock
from cutover.management.terminal import Terminal
from cutover.phases.wording import span
from cutover.visible import visible

SAID_EVERY_S: Final = 60.0


@dataclass(slots=True)
class LiveLine:
    """The line of one command, on stderr; nothing for a program, which wants to read JSON alone."""

    terminal: Terminal
    _drawn: Any = None
    _said: str = ""
    _said_at_s: float = 0.0

    def show(self, what: str, left: dt.timedelta) -> None:
        """Show what is waited for, and how long that takes still."""
        if self.terminal.as_json:
            return
        if self._is_drawn:
            self._draw(what, left)
        elif what.partition(":")[0] != self._said or clock.monotonic_s() - self._said_at_s >= SAID_EVERY_S:
            self._said, self._said_at_s = what.partition(":")[0], clock.monotonic_s()
            self.terminal.progress(f"{what}; {span(left)} to go")

    def progress(self, line: str) -> None:
        """Write a line that stays, above the one that is drawn."""
        self.end()
        self.terminal.progress(line)

    def end(self) -> None:
        """Take the line away."""
        drawn, self._drawn = self._drawn, None
        if drawn is not None:
            drawn.stop()

    @property
    def _is_drawn(self) -> bool:
        return self.terminal.stderr.isatty() and self.terminal.is_coloured

    def _draw(self, what: str, left: dt.timedelta) -> None:
        from rich.console import Console  # only who looks at a terminal waits for rich
        from rich.live import Live
        from rich.text import Text

        if self._drawn is None:
            # Not `sys.stderr`, which is where modules' own output goes meanwhile; the line is to be the terminal's.
            console = Console(file=cast(IO[str], self.terminal.stderr._out), highlight=False)
            self._drawn = Live(
                console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
            )
            self._drawn.start()
        whole = max(0, round(left.total_seconds()))
        hours, rest = divmod(whole, 3600)
        clockwise = f"{hours}:{rest // 60:02}:{rest % 60:02}"
        self._drawn.update(
            Text.assemble((clockwise, "bold cyan"), "  ", visible(what), ("  Ctrl-C ends this", "dim")), refresh=True
        )
