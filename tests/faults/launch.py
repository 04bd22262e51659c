"""Runs ``manage.py`` or ``celery`` with crash points and a clock that can be set; production code is untouched.

    python -m tests.faults.launch manage.py prodserver beat

A crash point is reached for real and then acts once, on orders that a test leaves in a file: ``claimed stop`` freezes
the process between claim and publish, ``published kill`` kills it between publish and confirm.
"""

import contextlib
import datetime as dt
import functools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from demo.waiting import wait_until

ORDERS = "FAULTS_ORDERS"
"""Names the file with the orders for one process: a point and an action."""
CLOCK = "FAULTS_CLOCK"
"""Names the file with the seconds by which the process's clock is off."""
STEP = "FAULTS_STEP"
"""Kill the command when it has recorded this many steps."""
SWITCH_AT = "FAULTS_SWITCH_AT"
"""Names the file that the command's switch waits for: the instant of the switch, in seconds since the epoch."""
AT_THE_SWITCH = "at the switch"
"""What the command prints when it waits."""
DEFER_S = "FAULTS_DEFER_S"
"""After how long a worker tries again what it has put off."""
ACTIONS = {"stop": signal.SIGSTOP, "kill": signal.SIGKILL, "term": signal.SIGTERM}


def reach(point: str) -> None:
    """This process is at ``point``: do what it was ordered to do there, once."""
    orders = Path(os.environ.get(ORDERS, os.devnull))
    with contextlib.suppress(FileNotFoundError):
        if orders.read_text().split()[:1] == [point]:
            action = orders.read_text().split()[1]
            orders.unlink()
            os.kill(os.getpid(), ACTIONS[action])


def around(owner: type, name: str, before: str = "", after: str = "") -> None:
    """Make a method a crash point; only with something in its hands: an empty first argument does not count."""
    method: Callable[..., Any] = getattr(owner, name)

    @functools.wraps(method)
    def wrapped(self: object, *arguments: Any, **options: Any) -> Any:
        counts = all(arguments[-1:])
        if before and counts:
            reach(before)
        result = method(self, *arguments, **options)
        if after and counts:
            reach(after)
        return result

    setattr(owner, name, wrapped)


def install() -> None:
    """Put the points where the protocol has its seams."""
    from cutover import clock
    from cutover.ledger.claims import Claims
    from cutover.ledger.fence import Fence
    from cutover.ledger.replays import Replays
    from cutover.workers import run_guard

    claim = Claims.claim

    def claiming(self: Claims, term: Any, slots: Any, missed: Any = (), *, published: Any = ()) -> Any:
        if published:
            reach("published")
        if slots:
            reach("due")
        outcomes = claim(self, term, slots, missed, published=published)
        if published:
            reach("confirmed")
        if "claimed" in outcomes.values():
            reach("claimed")
        return outcomes

    Claims.claim = claiming
    around(Claims, "_insert", before="claiming")
    around(Claims, "confirm", before="published", after="confirmed")
    around(Replays, "claim", before="replaying", after="replayed")
    around(Fence, "open_term", before="elected", after="opened")

    run_guard.DEFER_S = float(os.environ.get(DEFER_S, run_guard.DEFER_S))

    real_now = clock.now
    clock.now = lambda: real_now() + dt.timedelta(seconds=_offset_s())


def install_for_the_command() -> None:
    """Count the steps that the operator's command records, and hold its switch."""
    from cutover import clock
    from cutover.phases.operations import switchover
    from cutover.phases.operations.journal import Journal

    recorded = 0
    step = Journal.step

    @contextlib.contextmanager
    def stepping(self: Journal, phase: str, name: str) -> Iterator[None]:
        nonlocal recorded
        with step(self, phase, name):
            recorded += 1
            if recorded == int(os.environ.get(STEP, "0")):
                os.kill(os.getpid(), signal.SIGKILL)
            yield

    Journal.step = stepping

    switch = switchover.switch

    def switching(*arguments: Any, **options: Any) -> Any:
        if SWITCH_AT in os.environ:
            print(AT_THE_SWITCH, flush=True)
            file = Path(os.environ[SWITCH_AT])
            wait_until(file.exists, "the instant is known", timeout_s=120, poll_s=0.01)
            clock.sleep(max(0.0, float(file.read_text()) - dt.datetime.now(dt.UTC).timestamp()))
        return switch(*arguments, **options)

    switchover.switch = switching


def _offset_s() -> float:
    with contextlib.suppress(FileNotFoundError, ValueError):
        return float(Path(os.environ.get(CLOCK, os.devnull)).read_text())
    return 0.0


def main() -> None:
    """Be ``manage.py`` with these arguments."""
    import django
    from django.core.management import execute_from_command_line

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "prayer_room_api.settings")
    django.setup()
    install()
    if "cutover" in sys.argv:
        install_for_the_command()
    sys.argv = sys.argv[1:]
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
