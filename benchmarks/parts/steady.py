"""Many entries that are due every second: does each slot get its message, and how late is that."""

import datetime as dt
import time
from typing import Final

from benchmarks import contenders
from benchmarks.contenders import Contender
from benchmarks.figures import Goal, Row, percentile
from benchmarks.rig import Rig, Wanted, execute, stopped_after

MILLISECOND: Final = dt.timedelta(milliseconds=1)
SECOND: Final = dt.timedelta(seconds=1)
SETTLED_S: Final = 3.0
GOALS: Final = {300: (None, 400.0), 1_000: (250.0, 1_000.0)}
"""For so many entries: the median lateness, and that which 99 of 100 keep, in milliseconds."""


def steady(rig: Rig) -> list[Row]:
    """The part."""
    rows: list[Row] = []
    window_s = 600.0 if rig.full else 10.0
    for number in GOALS:
        ours = (contenders.ROWS, contenders.ROWS_POSTGRES) if rig.full or number == 1_000 else (contenders.ROWS,)
        for who in ours:
            rows += _ours(rig, who, number, window_s)
        if rig.full:
            rows += [_of_other(rig, who, number) for who in (contenders.STOCK_ROWS, contenders.REDBEAT)]
    return rows


def _ours(rig: Rig, who: Contender, number: int, window_s: float) -> list[Row]:
    entries = rig.scaled(number)
    site = rig.site_for(who, Wanted("seconds", entries))
    beat = rig.beat(site, who)
    with stopped_after(beat), rig.tape() as tape:
        began = rig.first_handed(tape).at + dt.timedelta(seconds=SETTLED_S)
        time.sleep(SETTLED_S + window_s)
    handed = [each for each in tape.published if each.slot and each.at > began]
    late = [each.late / MILLISECOND for each in handed]
    phases: dict[str, set[dt.timedelta]] = {}
    for each in handed:
        phases.setdefault(each.slot.entry, set()).add((each.slot.due_at - began) % SECOND)
    drift = max((max(found) - min(found)) / MILLISECOND for found in phases.values())
    instants = {each.slot.due_at for each in handed}
    since = min(instants).replace(tzinfo=None).isoformat(" ")
    passed_over = execute(
        site.settings["DATABASE_URL"],
        f"SELECT count(*) FROM cutover_slot WHERE state = 'missed' AND due_at >= '{since}'",  # noqa: S608
    )[0][0]
    share = 100 * passed_over / (passed_over + len(handed))
    what, (median, p99) = f"{entries:,} entries of 1 s", GOALS[number]
    return [
        Row(f"{what}: passed over", who.name, (share,), "%", Goal(0)),
        Row(f"{what}: lateness", who.name, (percentile(late, 0.5),), "ms", Goal(median) if median else None),
        Row(f"{what}: lateness, p99", who.name, (percentile(late, 0.99),), "ms", Goal(p99)),
        Row(f"{what}: drift", who.name, (drift,), "ms", Goal(0)),
    ]


def _of_other(rig: Rig, who: Contender, number: int) -> Row:
    """What a beat that names no slots leaves out, by the number of its messages."""
    entries, window_s = rig.scaled(number), 60.0
    site = rig.site_for(who, Wanted("seconds", entries))
    beat = rig.beat(site, who)
    with stopped_after(beat), rig.tape() as tape:
        rig.first_handed(tape)
        time.sleep(SETTLED_S)
        before = len(tape.handed)
        time.sleep(window_s)
        sent = len(tape.handed) - before
    share = max(0.0, 100 - 100 * sent / (entries * window_s))
    return Row(f"{entries:,} entries of 1 s: passed over", who.name, (share,), "%")
