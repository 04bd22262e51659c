"""The leader is told to stop, or is killed, and a standby is there: for how long does nobody send?"""

import datetime as dt
import random
import signal
import time
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from benchmarks import contenders
from benchmarks.contenders import Contender
from benchmarks.figures import Goal, Row
from benchmarks.parts.idle import warm
from benchmarks.rig import Rig, Wanted, stopped_after, utc_now
from demo.census import Monitor
from demo.processes import Process
from demo.site import Site
from demo.waiting import wait_until
from tests.faults.books import Books, Term

PULSE_MS: Final = 100
MILLISECOND: Final = dt.timedelta(milliseconds=1)
STOP, KILL = signal.SIGTERM, signal.SIGKILL
LIMIT_S: Final = 120.0
"""Longer than this nobody is waited for."""


@dataclass(frozen=True)
class Gap:
    """One succession: how long no term was open, as the tables say; how long the pulse paused at the broker."""

    nobody_ms: float | None
    pause_ms: float


def handover(rig: Rig) -> list[Row]:
    """The part: a planned stop."""
    rows: list[Row] = []
    for number in (10, 1_000, 10_000) if rig.full else (10, 10_000):
        for who in (contenders.ROWS, contenders.ROWS_POSTGRES) if rig.full else (contenders.ROWS,):
            entries = rig.scaled(number)
            gaps = succeed(rig, who, entries, STOP)
            what = f"{entries:,} entries, planned: nobody leads"
            nobody = tuple(gap.nobody_ms for gap in gaps if gap.nobody_ms is not None)
            rows.append(Row(what, who.name, nobody, "ms", Goal(20)))
            rows.append(Row(f"{what}, the worst", who.name, nobody, "ms", Goal(100, worst=True)))
            rows.append(_pause(who, gaps))
    return rows + (_others(rig, STOP) if rig.full else [])


def kill(rig: Rig) -> list[Row]:
    """The part: ``kill -9``."""
    rows: list[Row] = []
    for who in (contenders.ROWS, contenders.ROWS_POSTGRES) if rig.full else (contenders.ROWS,):
        gaps = succeed(rig, who, rig.scaled(1_000), KILL)
        nobody = tuple(gap.nobody_ms / 1000 for gap in gaps if gap.nobody_ms is not None)
        rows.append(Row("kill -9, lease 15 s: nobody leads", who.name, nobody, "s", Goal(0.5)))
        rows.append(Row("kill -9, the worst", who.name, nobody, "s", Goal(1.0, worst=True)))
        rows.append(_pause(who, gaps))
    return rows + (_others(rig, KILL) if rig.full else [])


def _others(rig: Rig, number: signal.Signals) -> list[Row]:
    others = [*contenders.TUNED, *contenders.UNTUNED, contenders.STOCK_ROWS]
    return [_pause(who, succeed(rig, who, 10, number)) for who in others]


def _pause(who: Contender, gaps: list[Gap]) -> Row:
    values = tuple(max(0.0, gap.pause_ms - PULSE_MS) for gap in gaps)
    note = "" if values else f"more than {LIMIT_S:g} s"
    return Row(f"an entry of {PULSE_MS} ms: pause beyond that", who.name, values, "ms", note=note)


def succeed(rig: Rig, who: Contender, entries: int, number: signal.Signals) -> list[Gap]:
    """Stop or kill leaders in turn; empty where nobody succeeded in time."""
    site = rig.site_for(who, Wanted("seldom", entries, PULSE_MS))
    gaps: list[Gap] = []
    beats = [rig.beat(site, who)]
    with rig.tape() as tape:
        try:
            rig.first_handed(tape)
            for each in rig.times(3):
                leader = beats[-1]
                if who.takes_over:
                    beats.append(_stand_by(rig, site, who, f"standby-{each}"))
                before, at = len(tape.handed), utc_now()
                leader.send_to_group(KILL) if number is KILL else leader.send(STOP)
                leader.wait()
                if not who.takes_over:  # whoever supervises starts it again
                    beats.append(rig.beat(site, who, f"again-{each}"))
                pause_ms = _pause_ms(tape, before)
                gaps.append(Gap(_nobody_ms(site, at, number) if who.is_ours else None, pause_ms))
        except TimeoutError:
            gaps = []
        finally:
            with stopped_after(*beats):
                pass
    return gaps


def _stand_by(rig: Rig, site: Site, who: Contender, name: str) -> Process:
    standby = rig.beat(site, who, name)
    if who.is_ours:
        with rig.valkey.client() as client:
            wait_until(lambda: standby.pid in warm(client), "the standby is warm", LIMIT_S)
    else:
        time.sleep(6.0)
    # Not always at the same moment of the standby's own rhythm: it asks after its leader every 0.6 s.
    time.sleep(random.uniform(1.0, 3.0))  # noqa: S311 - no secret
    return standby


def _pause_ms(tape: Monitor, before: int) -> float:
    """The longest pause between two messages, once somebody sends after the leader's end."""
    ended_at = utc_now()
    wait_until(lambda: tape.handed[-1].at > ended_at, "somebody sends again", LIMIT_S, poll_s=0.01)
    time.sleep(0.5)
    handed = [each.at for each in tape.handed[max(0, before - 1) :]]
    return max(later - earlier for earlier, later in pairwise(handed)) / MILLISECOND


def _nobody_ms(site: Site, at: dt.datetime, number: signal.Signals) -> float:
    books = Books(site.settings["DATABASE_URL"])

    def successor() -> Term | None:
        return next((term for term in books.terms() if term.started_at > at and term.first_tick_at), None)

    new = wait_until(successor, "a new leader has ticked", LIMIT_S)
    old = next(term for term in books.terms() if term.epoch == new.epoch - 1)
    since = at if number is KILL else min(old.ended_at or new.started_at, new.started_at)
    return (new.first_tick_at - since) / MILLISECOND
