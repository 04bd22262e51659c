"""A process of its own that ends what its owner leaves behind, should the owner be killed outright.

It is told over a pipe which process groups are alive: ``+4711`` when one is started, ``-4711`` when it has
ended. The pipe closes when the owner ends, however it ends; what is still listed then is terminated, and
killed after a while. Standard library only: it is run by path and has to be up at once.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable

TERMINATION_S = 8.0


class Warden:
    """The owner's end of the pipe."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-E", __file__],
            stdin=subprocess.PIPE,
            text=True,
            bufsize=1,
            start_new_session=True,  # a Ctrl-C is for the owner
        )

    def watch(self, group: int) -> None:
        self._tell(f"+{group}")

    def forget(self, group: int) -> None:
        self._tell(f"-{group}")

    def close(self) -> None:
        """Let it do its duty and end."""
        self._process.stdin.close()
        self._process.wait()

    def _tell(self, line: str) -> None:
        self._process.stdin.write(line + "\n")


def keep_watch(orders: Iterable[str]) -> None:
    """Follow ``orders`` to their end, then end every process group that is still listed."""
    groups: set[int] = set()
    for order in orders:
        group = int(order[1:])
        (groups.add if order.startswith("+") else groups.discard)(group)
    _end(groups)


def _end(groups: set[int]) -> None:
    deadline = time.monotonic() + TERMINATION_S
    left = {group for group in groups if _signal(group, signal.SIGTERM)}
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = {group for group in left if _signal(group, 0)}
    for group in left:
        _signal(group, signal.SIGKILL)


def _signal(group: int, number: int) -> bool:
    """Whether there was such a group to signal."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    keep_watch(sys.stdin)
