"""The judge: what the machine is to blame for is not laid at the project's door, and nothing else is excused."""

import datetime as dt
import os
import signal
from dataclasses import replace

import pytest

from demo.census import Handed, Run, Slot
from demo.processes import Processes, python
from demo.waiting import wait_until
from tests.support.pulse import away

from .books import Record
from .schedule import INTERVALS
from .verdict import Evidence, judge

ENTRY = "every-1000-ms"
BEGAN = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)
MOMENT = dt.timedelta(milliseconds=20)
BEATING = """
from demo.waiting import wait_until
from tests.support.pulse import pulse
with pulse() as absences:
    print("beating", flush=True)
    wait_until(lambda: absences, "the process has stood still")
print(sum((end - start).total_seconds() for start, end in absences))
"""


def evidence(left_out: set[int], late: dict[int, dt.timedelta], absences=()) -> Evidence:
    """Nine seconds of one entry; the slots left out the ledger names as missed."""
    slots = {n: Slot(BEGAN + n * SECOND, ENTRY) for n in range(1, 10)}
    sent = {n: slot for n, slot in slots.items() if n not in left_out}
    handed = [Handed(slot.due_at + late.get(n, MOMENT), "note", str(n), slot, False) for n, slot in sent.items()]
    runs = [Run(each.at, ENTRY, each.task_id, each.slot) for each in handed]
    ledger = {
        slot: Record(slot, *(("missed", "a later slot was sent") if n in left_out else ("published", "")), True, n, 1)
        for n, slot in slots.items()
    }
    return Evidence(handed, runs, ledger, list(absences))


@pytest.fixture(autouse=True)
def one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    for other in INTERVALS.keys() - {ENTRY}:
        monkeypatch.delitem(INTERVALS, other)


def verdict_of(seen: Evidence):
    return judge(seen, BEGAN, BEGAN + 9 * SECOND)


def test_a_slot_that_waits_counts_from_its_instant():
    assert verdict_of(evidence(set(), {4: 0.7 * SECOND})).longest_wait == 0.7 * SECOND


def test_what_the_machine_slept_through_is_no_wait():
    slept = (BEGAN + 4.1 * SECOND, BEGAN + 4.6 * SECOND)
    found = verdict_of(evidence(set(), {4: 0.7 * SECOND}, [slept]))
    assert (found.longest_wait, found.away) == (0.2 * SECOND, 0.5 * SECOND)


def test_a_missed_slot_is_excused_only_where_the_machine_slept_through_its_time():
    slept = (BEGAN + 3.9 * SECOND, BEGAN + 5.01 * SECOND)
    assert verdict_of(evidence({4}, {}, [slept])).omitted == set()
    assert [slot.due_at for slot in verdict_of(evidence({4}, {})).omitted] == [BEGAN + 4 * SECOND]
    elsewhere = (BEGAN + 7 * SECOND, BEGAN + 8 * SECOND)
    assert len(verdict_of(evidence({4}, {}, [elsewhere])).omitted) == 1


def test_a_second_message_is_excused_only_where_the_machine_slept_before_it():
    seen = evidence(set(), {})
    again = [*seen.handed, Handed(BEGAN + 4.6 * SECOND, "note", "4", Slot(BEGAN + 4 * SECOND, ENTRY), False)]
    slept, elsewhere = ((BEGAN + each * SECOND, BEGAN + (each + 0.3) * SECOND) for each in (4.1, 7))
    assert verdict_of(replace(seen, handed=again, absences=[slept])).handed_twice == set()
    for absences in ([], [elsewhere]):
        twice = verdict_of(replace(seen, handed=again, absences=absences)).handed_twice
        assert [slot.due_at for slot in twice] == [BEGAN + 4 * SECOND]


def test_only_what_overlaps_counts_as_absence():
    absences = [(BEGAN, BEGAN + SECOND), (BEGAN + 3 * SECOND, BEGAN + 5 * SECOND)]
    assert away(absences, BEGAN + 0.5 * SECOND, BEGAN + 4 * SECOND) == 1.5 * SECOND
    assert away(absences, BEGAN + SECOND, BEGAN + 3 * SECOND) == dt.timedelta(0)


def test_a_pulse_notes_that_its_process_stood_still(processes: Processes):
    beating = processes.start("beating", python("-c", BEATING), os.environ)
    wait_until(lambda: "beating" in beating.output, "it beats")
    beating.send(signal.SIGSTOP)
    stopped_at = dt.datetime.now(dt.UTC)
    wait_until(lambda: dt.datetime.now(dt.UTC) > stopped_at + 0.5 * SECOND, "half a second has passed")
    beating.send(signal.SIGCONT)
    assert beating.wait() == 0
    assert 0.4 < float(beating.output.split()[-1]) < 5
