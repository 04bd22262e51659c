"""What the rehearsal proves: of every entry, no slot was left out and none ran twice, whoever sent it.

A stock beat's messages name no slot and its cadence drifts by milliseconds; so what counts is when each run was due:
at the slot that its message names, else when the broker was handed the message, or at the slot that the run guard has
found for it, which is up to three quarters of an interval from where a worker saw it. No two runs are of one slot. Two
runs of an entry may not be nearer than a third of its interval, nor further apart than one and three quarters; time in
which the machine stood still does not count, nor does what one stock beat makes of its own cadence: a message that it
hands over late draws the next one near and the one before away. Such a pair counts only where a message between the
two did not run: one of that beat's, or one of a slot that is too far from both for the run guard to have matched them
to it.

A worker without the run guard that is told to end in the very moment in which a task ends has its celery give the
message back, half a minute after the run. That run is told apart and does not count: no guard could know of the first.
"""

import datetime as dt
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from demo.census import Handed, Run
from tests.support.pulse import Absence, away

NEAR, FAR, MATCHED = 1 / 3, 1.75, 0.75
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
    run_unguarded: list[str]
    """The messages, by task id, that ran again as a worker without the run guard gave them back after it ran them."""


def judge(
    intervals: Mapping[str, dt.timedelta],
    handed: Sequence[Handed],
    runs: Sequence[Run],
    since: Mapping[str, dt.datetime],
    until: Mapping[str, dt.datetime],
    absences: list[Absence],
    ended_unguarded: Set[str] = frozenset(),
) -> Verdict:
    """Look at each entry from ``since`` to ``until``, the time in which a release had it in its schedule.

    ``handed``: what was put back too. ``ended_unguarded``: the task ids of the runs that ended in a worker without the
    run guard, by its own log.
    """
    given_back = {message.task_id for message in handed if message.redelivered} & ended_unguarded
    runs, run_unguarded = _without_again(runs, given_back)
    handed = [message for message in handed if not message.redelivered]
    messages = {message.task_id: message for message in reversed(handed)}
    missed, doubled, count, longest_s, longest = [], [], 0, 0.0, ""
    for entry, every in intervals.items():
        ran = sorted(_ran(entry, every, runs, messages), key=lambda each: each.at)
        ran = [each for each in ran if since[entry] <= each.at <= until[entry] - SETTLES]
        count += len(ran)
        times = Counter(run.slot for run in runs if run.label == entry and run.slot)
        doubled += [
            f"{entry}: {slot.due_at.isoformat()} ran {number} times" for slot, number in times.items() if number > 1
        ]
        for before, after in itertools.pairwise(ran):
            gap = after.first - before.last - away(absences, before.at, after.at)
            between = [each for each in handed if _is_of(entry, each, before) and before.at < _instant(each) < after.at]
            if before.stock_beat and before.stock_beat == after.stock_beat:
                dropped = [each for each in between if not _may_be_ran(each, (before, after), MATCHED * every)]
                if not dropped:
                    continue
            if gap / every > FAR:
                missed.append(f"{entry}: nothing between {before} and {after}; {_told(between)}")
            elif (after.last - before.first) / every < NEAR:
                doubled.append(f"{entry}: {before} and {after}")
            if (gap_s := (gap - every).total_seconds()) > longest_s:
                longest_s, longest = gap_s, f"{entry}: {before} to {after}"
        if not ran or until[entry] - ran[-1].at > SETTLES + FAR * every:
            missed.append(f"{entry}: nothing after {ran[-1] if ran else 'all'}")
    away_s = away(absences, min(since.values()), max(until.values())).total_seconds()
    return Verdict(count, missed, doubled, round(longest_s, 2), longest, round(away_s, 2), run_unguarded)


def _without_again(runs: Sequence[Run], given_back: Set[str]) -> tuple[list[Run], list[str]]:
    """The runs but the second one of each message of ``given_back``, and of which messages those were."""
    kept, again, seen = [], [], Counter[str]()
    for run in sorted(runs, key=lambda each: each.at):
        seen[run.task_id] += 1
        if run.task_id in given_back and seen[run.task_id] == 2:
            again.append(run.task_id)
        else:
            kept.append(run)
    return kept, again


@dataclass(frozen=True)
class _Ran:
    """One run, at its slot's instant or, without a slot, at its message's; ``message`` is None where none was seen.

    ``found``: the slot that the run guard has found for a message without one; None where it cannot have been of it.
    """

    at: dt.datetime
    message: Handed | None
    found: dt.datetime | None

    @property
    def first(self) -> dt.datetime:
        """The earliest instant at which it was due."""
        return min(self.at, self.found or self.at)

    @property
    def last(self) -> dt.datetime:
        """The latest one."""
        return max(self.at, self.found or self.at)

    @property
    def stock_beat(self) -> str | None:
        """Which stock beat sent it; None for the ledger's slots."""
        return self.message.origin if self.message and not self.message.slot else None

    def __str__(self) -> str:
        found = f" for {self.found.isoformat()}" if self.found and self.found != self.at else ""
        return f"{self.at.isoformat()} ({self.stock_beat or 'the ledger'}{found})"


def _ran(entry: str, every: dt.timedelta, runs: Sequence[Run], messages: Mapping[str, Handed]) -> Iterator[_Ran]:
    for run in runs:
        if run.label == entry:
            message = messages.get(run.task_id)
            at = _instant(message) if message else run.at
            found = run.slot.due_at if run.slot else None
            if found and not at - MATCHED * every <= found <= max(run.at, at) + MATCHED * every:
                found = None
            yield _Ran(at, message, found)


def _instant(message: Handed) -> dt.datetime:
    return message.slot.due_at if message.slot else message.at


def _is_of(entry: str, message: Handed, run: _Ran) -> bool:
    """Whether a message is of the entry: by its slot, or as like as one stock beat's message to ``run``'s."""
    return message.slot.entry == entry if message.slot else bool(run.message and message.args == run.message.args)


def _may_be_ran(message: Handed, runs: Sequence[_Ran], near: dt.timedelta) -> bool:
    """Whether the message is of a slot that one of ``runs``, by a stock beat's messages, may have been of."""
    return message.slot is not None and any(abs(message.slot.due_at - run.at) <= near for run in runs)


def _told(messages: Sequence[Handed]) -> str:
    told = (f"{each.at.isoformat()} {'of a slot' if each.slot else each.origin} ({each.task_id})" for each in messages)
    return f"the broker was handed {', '.join(told) or 'nothing'}"
