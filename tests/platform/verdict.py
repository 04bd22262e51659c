"""What the rehearsal proves: of every entry, no slot was left out and none ran twice, whoever sent it.

A stock beat's messages name no slot and its cadence drifts by milliseconds; so what counts is the instant of each run:
that of the slot that its message names, else when the broker was handed the message. (The slot that the run guard found
for such a message may be up to half an interval away.) Two runs of an entry may not be nearer than a third of its
interval, nor further apart than one and three quarters; time in which the machine stood still does not count.
"""

import datetime as dt
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from demo.census import Handed, Run
from tests.support.pulse import Absence, away

NEAR, FAR = 1 / 3, 1.75
SETTLES = dt.timedelta(seconds=3)


@dataclass(frozen=True)
class Verdict:
    """Counts, and the findings in words."""

    slots: int
    missed: list[str]
    doubled: list[str]
    longest_gap_s: float
    """By how much the time between two runs exceeded the interval, at most, ..."""
    longest_gap: str
    """... and where."""
    away_s: float
    """How long the machine stood still, which no gap counts."""


def judge(
    intervals: Mapping[str, dt.timedelta],
    handed: Sequence[Handed],
    runs: Sequence[Run],
    since: Mapping[str, dt.datetime],
    until: Mapping[str, dt.datetime],
    absences: list[Absence],
) -> Verdict:
    """Look at each entry from ``since`` to ``until``, the time in which a release had it in its schedule."""
    sent = {message.task_id: message.slot.due_at if message.slot else message.at for message in reversed(handed)}
    stock = {message.at for message in handed if not message.slot}
    missed, doubled, count, longest_s, longest = [], [], 0, 0.0, ""
    for entry, every in intervals.items():
        at = sorted(_instants(entry, runs, sent))
        at = [each for each in at if since[entry] <= each <= until[entry] - SETTLES]
        count += len(at)
        for before, after in itertools.pairwise(at):
            gap = after - before - away(absences, before, after)
            if gap / every > FAR:
                missed.append(f"{entry}: nothing between {before.isoformat()} and {after.isoformat()}")
            elif (after - before) / every < NEAR:
                doubled.append(f"{entry}: {before.isoformat()} and {after.isoformat()}")
            if (gap_s := (gap - every).total_seconds()) > longest_s:
                whose = ["a stock beat's" if each in stock else "the ledger's" for each in (before, after)]
                longest_s, longest = gap_s, f"{entry}: {before} ({whose[0]}) to {after} ({whose[1]})"
        if not at or until[entry] - at[-1] > SETTLES + FAR * every:
            missed.append(f"{entry}: nothing after {at[-1].isoformat() if at else 'all'}")
    away_s = away(absences, min(since.values()), max(until.values())).total_seconds()
    return Verdict(count, missed, doubled, round(longest_s, 2), longest, round(away_s, 2))


def _instants(entry: str, runs: Sequence[Run], sent: Mapping[str, dt.datetime]) -> Iterator[dt.datetime]:
    for run in runs:
        if run.label == entry:
            yield sent.get(run.task_id, run.at)
