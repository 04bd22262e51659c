"""Any number of beats of both sides at once: every slot is sent once and run once, also across a switch."""

import datetime as dt
import re
from functools import partial

import pytest

from demo.census import Monitor, per_slot, read_runs, wait_until_quiet
from demo.processes import Process
from demo.verdict import expected_slots
from demo.waiting import wait_until
from tests.support.site import Site

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]


def test_two_beats_of_each_side_send_every_slot_once(site: Site, long: bool) -> None:
    watched = dt.timedelta(seconds=60 if long else 20)
    with site.monitor() as monitor:
        worker = site.prodserver("worker")
        beats = [site.prodserver(name) for name in ("beat", "legacy-beat") * 2]
        wait_until(lambda: monitor.published, "the code side sends")
        began = dt.datetime.now(dt.UTC)
        for phase in ("phase1", "phase2", "phase3"):
            command = site.cutover(phase)
            assert command.exit_code == 0, command.output
        wait_until(lambda: dt.datetime.now(dt.UTC) > began + watched, "enough was watched", watched.seconds + 30)
        until = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=1)
        stop_all(beats)
        wait_until_quiet(monitor, site.runs)
        stop_all([worker])
    sent, run = per_slot(monitor.published), per_slot(read_runs(site.runs))
    expected = expected_slots(sent, until)
    assert {slot for slot in expected if slot not in run} == set()
    assert {slot for slot, count in sent.items() if count > 1} == set()
    assert {slot for slot, count in run.items() if count > 1} == set()


def test_a_flush_under_a_running_beat_costs_no_more_than_an_election(site: Site) -> None:
    beat = site.prodserver("legacy-beat")
    with site.monitor() as monitor:
        wait_until(lambda: monitor.published, "the beat sends")
        flush = site.manage("flush", "--noinput")
        assert flush.exit_code == 0, flush.output
        flushed_at = dt.datetime.now(dt.UTC)
        sent_since = partial(_sent_since, monitor, flushed_at)
        wait_until(lambda: sent_since() > 5, "it sends again")
    assert beat.stop() == 0, beat.output
    assert beat.output.count("cutover.term.started") == 2
    assert {slot for slot, count in per_slot(monitor.published).items() if count > 1} == set()


def test_flush_and_migrate_without_our_tables_are_left_alone(sqlite_site: Site) -> None:
    for typed in (["migrate", "cutover", "zero"], ["flush", "--noinput"], ["migrate"], ["cutover", "plan"]):
        done = sqlite_site.manage(*typed)
        assert done.exit_code == 0, done.output


def _sent_since(monitor: Monitor, instant: dt.datetime) -> int:
    return sum(1 for slot in per_slot(monitor.published) if slot.due_at > instant)


def test_a_project_without_logging_of_its_own_reads_of_changes_alone(sqlite_site: Site) -> None:
    beat = sqlite_site.start(
        "beat",
        "celery -A prayer_room_api beat -l INFO -S cutover.schedulers:CodeScheduler",
        DJANGO_SETTINGS_MODULE="tests.support.plain_logging",
    )
    with sqlite_site.monitor() as monitor:
        wait_until(lambda: len({slot.due_at for slot in per_slot(monitor.published)}) > 3, "the beat is at work")
    said = [line for line in beat.output.splitlines() if line[:1] == "[" and "cutover." in line]
    assert beat.stop() == 0, beat.output
    assert all(re.match(r"\[\d{4}-[^]]*: (INFO|WARNING)/MainProcess\] cutover\.\S+ \w+=", line) for line in said), said
    events = [re.search(r"cutover\.\S+", line).group() for line in said]
    assert sorted(events) == [
        "cutover.entries.begun",  # a warning: there was no schedule file
        "cutover.lease.acquired",
        "cutover.schedule.loaded",
        "cutover.standby.started",
        "cutover.term.started",
    ]


def stop_all(processes: list[Process]) -> None:
    for process in processes:
        assert process.stop() == 0, process.output
