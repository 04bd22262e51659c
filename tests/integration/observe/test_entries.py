"""The records of entries and slots, from a real ledger on SQLite and PostgreSQL."""

import datetime as dt
import socket
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext
from django_celery_beat.models import CrontabSchedule, PeriodicTask
from pytest_django import Settings

from cutover import clock
from cutover.ledger.runs import RunEnd
from cutover.models import Entry, Fence, Slot
from cutover.observe import entries, history, slot, status
from cutover.observe.conditions import Condition, Severity
from cutover.observe.entries import EntryRecord, Known
from cutover.phases import pause, replay
from cutover.phases.context import Context
from cutover.phases.evidence import side
from cutover.phases.evidence.lateness import overdue
from cutover.types import EntryName, Epoch, HolderId, Missed, RunOutcome, Side, Term
from cutover.types import Slot as SlotName
from cutover.workers import processes
from tests.integration.phases.conftest import led

pytestmark = pytest.mark.integration

Surroundings = Callable[[], Context]
HOUR = dt.timedelta(hours=1)
NODE = f"celery@{socket.gethostname()}"


@pytest.fixture
def hours() -> dt.datetime:
    """The last full hour, in which ``hourly`` was due."""
    return clock.now().replace(minute=0, second=0, microsecond=0)


@pytest.fixture
def term(context: Surroundings, hours: dt.datetime) -> Term:
    """A term, in which ``hourly`` and ``yearly`` are known since a day ago."""
    alias = context().alias
    for name in ("hourly", "yearly"):
        Entry.objects.using(alias).create(name=name, fingerprint="f", eligible_since=hours - 24 * HOUR)
    return led(alias, Term(context().ledger.fence.read().epoch, Side.CODE, HolderId("host:1:x")))


def read(context: Context, known: Known | None = None) -> dict[str, EntryRecord]:
    return {one.entry: one for one in entries.read(context, side.read(context, Side.CODE), known or Known())}


def run(context: Context, term: Term, due_at: dt.datetime, mark: str, outcome: RunOutcome | None) -> SlotName:
    """Let ``hourly`` be sent and run."""
    one = SlotName(due_at, EntryName("hourly"))
    context.ledger.claims.claim(term, [one])
    context.ledger.claims.confirm([one])
    context.ledger.runs.start(one, Epoch(1), mark)
    if outcome is not None:
        context.ledger.runs.end([RunEnd(one, mark, outcome)])
    return one


def of_worker(process: str) -> str:
    return f"0@#1 {processes.with_node(f'{process}:abcd:5.7.0', NODE)}"


def test_each_entry_has_its_latest_slot_its_run_and_what_is_next(
    context: Surroundings, term: Term, hours: dt.datetime
) -> None:
    site = context()
    run(site, term, hours - HOUR, of_worker("elsewhere:7:9"), RunOutcome.FAILED)
    run(site, term, hours, of_worker(processes.own_name()), RunOutcome.SUCCEEDED)
    missed = Missed(SlotName(hours - 2 * HOUR, EntryName("hourly")), "older than the catch-up window")
    site.ledger.claims.claim(term, [], [missed])
    found = read(site)
    assert found.keys() == {"hourly", "ticking", "yearly"}
    hourly = found["hourly"]
    assert hourly.last is not None
    assert (hourly.last.due_at, hourly.next_due) == (hours, hours + HOUR)
    assert (hourly.last.worker, hourly.last.outcome) == (NODE, RunOutcome.SUCCEEDED)
    assert [one.condition for one in hourly.findings] == [Condition.MISSED_EARLIER]
    assert (found["yearly"].last, found["yearly"].severity) == (None, Severity.WELL)
    assert found["yearly"].next_due is not None
    assert found["ticking"].next_due is None, "no leader has seen it yet"


def test_a_run_whose_worker_is_gone_is_lost_and_one_whose_worker_is_there_goes_on(
    context: Surroundings, term: Term, hours: dt.datetime
) -> None:
    site, own = context(), processes.own_name()
    process, _, began = own.rpartition(":")
    run(site, term, hours - HOUR, of_worker(own), None)
    run(site, term, hours, of_worker(f"{process}:{int(began) - 1}"), None)
    (finding,) = read(site)["hourly"].findings
    known = f"process {process.rpartition(':')[2]} of {NODE} has ended"
    assert str(finding) == f"lost: its process on {NODE} was gone before the run ended: {known}"
    page = history.page(site, EntryName("hourly"))
    assert [life.outcome for life in page.slots] == [RunOutcome.LOST, RunOutcome.RUNNING]
    Slot.objects.using(site.alias).update(outcome=None)
    assert read(site)["hourly"].findings == (), "what an older release ran, nobody knows the end of"


@pytest.mark.parametrize("waiting", [1, 3, 40])
@pytest.mark.parametrize(("outcome", "found"), [(RunOutcome.FAILED, [Condition.FAILING]), (RunOutcome.SUCCEEDED, [])])
def test_what_failed_is_not_well_while_its_next_slots_wait_or_run(
    context: Surroundings, term: Term, hours: dt.datetime, outcome: RunOutcome, found: list[Condition], waiting: int
) -> None:
    site, own, second = context(), of_worker(processes.own_name()), dt.timedelta(seconds=1)
    other = RunOutcome.SUCCEEDED if outcome is RunOutcome.FAILED else RunOutcome.FAILED
    run(site, term, hours - 2 * HOUR, own, other)
    run(site, term, hours - HOUR, own, outcome)
    for number in reversed(range(waiting)):
        site.ledger.claims.claim(term, [SlotName(hours - number * second, EntryName("hourly"))])
    assert [one.condition for one in read(site)["hourly"].findings] == found, "claimed"
    latest = SlotName(hours, EntryName("hourly"))
    site.ledger.claims.confirm([latest])
    assert [one.condition for one in read(site)["hourly"].findings] == found, "published"
    site.ledger.runs.start(latest, Epoch(1), own)
    assert [one.condition for one in read(site)["hourly"].findings] == found, "running"
    site.ledger.runs.end([RunEnd(latest, own, other)])
    assert [one.condition for one in read(site)["hourly"].findings] == (
        [Condition.FAILING] if other is RunOutcome.FAILED else []
    )


def test_among_very_many_too_what_failed_is_not_well_while_its_next_slot_waits(
    context: Surroundings, term: Term, hours: dt.datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "_MANY", 0)
    site = context()
    run(site, term, hours - HOUR, of_worker(processes.own_name()), RunOutcome.FAILED)
    latest = [SlotName(hours + number * dt.timedelta(minutes=1), EntryName("hourly")) for number in range(2)]
    site.ledger.claims.claim(term, latest[:1])
    assert [one.condition for one in read(site)["hourly"].findings] == [Condition.FAILING]
    site.ledger.claims.claim(term, latest[1:])
    with CaptureQueriesContext(connections[site.alias]) as asked:
        assert read(site)["hourly"].findings == (), "the slot before has not been run: no worker may record runs"
    assert not [one["sql"] for one in asked if "due_at <" in one["sql"] and "LIMIT 10" in one["sql"]]


def test_what_is_known_elsewhere_and_what_is_ahead_is_found(
    context: Surroundings, term: Term, hours: dt.datetime
) -> None:
    site = context()
    one = run(site, term, hours, "w", RunOutcome.SUCCEEDED)
    Slot.objects.using(site.alias).create(
        **{**Slot.objects.using(site.alias).values().get(), "id": None, "due_at": one.due_at + 9 * HOUR}
    )
    found = read(site, Known({"hourly": "no schedule"}, ["gone"], {"yearly": "no.task"}, {"hourly": 2}))
    assert {name: [one.condition for one in record.findings] for name, record in found.items()} == {
        "hourly": [Condition.UNSENDABLE, Condition.FUTURE, Condition.DEDUPLICATED],
        "gone": [Condition.WITHOUT_ROW],
        "yearly": [Condition.UNKNOWN_TASK],
        "ticking": [Condition.UNSEEN],
    }
    assert list(found) == ["hourly", "gone", "yearly", "ticking"], "the worst first"
    assert found["hourly"].last is not None
    assert found["hourly"].last.due_at == one.due_at, "not the one that is not due yet"


def test_more_entries_take_no_more_statements(
    context: Surroundings, term: Term, hours: dt.datetime, schedule: dict[str, dict[str, Any]]
) -> None:
    def statements() -> int:
        site = context()
        with CaptureQueriesContext(connections[site.alias]) as asked:
            assert len(read(site)) == len(schedule)
        return len(asked)

    run(context(), term, hours, "w", RunOutcome.SUCCEEDED)
    few = statements()
    some, alias = Slot.objects.using(context().alias).values().get(), context().alias
    names = [f"e{n}" for n in range(200)]
    schedule |= {name: dict(schedule["hourly"]) for name in names}
    Entry.objects.using(alias).bulk_create(Entry(name=n, fingerprint="f", eligible_since=hours) for n in names)
    Slot.objects.using(alias).bulk_create(Slot(**{**some, "id": None, "entry": name}) for name in names)
    assert statements() == few <= 12


def test_the_history_of_an_entry_is_read_by_pages(context: Surroundings, term: Term, hours: dt.datetime) -> None:
    site, entry = context(), EntryName("hourly")
    due = [hours - n * HOUR for n in range(5)]
    for due_at in due:
        run(site, term, due_at, "w", RunOutcome.SUCCEEDED)
    pages = [history.page(site, entry, size=2)]
    while pages[-1].before is not None:
        pages.append(history.page(site, entry, pages[-1].before, size=2))
    assert [[life.due_at for life in page.slots] for page in pages] == [due[:2], due[2:4], due[4:]]
    assert history.page(site, EntryName("no such")) == history.Page([], None)


def test_an_entry_that_status_names_since_it_cannot_be_sent_is_one_for_every_command(context: Surroundings) -> None:
    site, name = context(), EntryName("broken")
    cron = CrontabSchedule.objects.using(site.alias).create(minute="sixty", timezone="UTC")
    PeriodicTask.objects.using(site.alias).bulk_create([PeriodicTask(name=name, task="t", crontab=cron)])
    Fence.objects.using(site.alias).update(side=Side.DATABASE)
    assert status.run(site, entry=name).lines == [
        f"broken has no slot yet: {side.read(site, Side.DATABASE).unsendable[name]}"
    ]
    assert pause.known(site, name) == name
    replay._require(site, Side.DATABASE, name)


def test_a_slot_has_its_whole_life_and_who_claimed_it(context: Surroundings, term: Term, hours: dt.datetime) -> None:
    site = context()
    one = run(site, term, hours, "w", RunOutcome.FAILED)
    site.ledger.runs.count_deduplicated(one)
    whole = slot.read(site, one)
    assert whole is not None
    assert (whole.life.outcome, whole.life.deduplicated, whole.life.worker) == (RunOutcome.FAILED, 1, "w")
    assert str(whole.life.task_id) == one.task_id(site.config.namespace)
    assert whole.claimant is not None
    assert (whole.claimant.epoch, whole.claimant.host, whole.claimant.pid) == (term.epoch, "host", 1)
    assert slot.read(site, SlotName(hours + HOUR, one.entry)) is None


def test_a_backlog_that_is_being_worked_off_is_no_problem_and_one_that_stands_still_is(
    context: Surroundings, term: Term, hours: dt.datetime, settings: Settings
) -> None:
    settings.CUTOVER = {**settings.CUTOVER, "CATCH_UP": "all"}
    one = SlotName(hours - 3 * HOUR, EntryName("hourly"))
    context().ledger.claims.claim(term, [one])
    context().ledger.claims.confirm([one])
    found = read(context())["hourly"]
    assert [(f.condition, f.detail) for f in found.findings] == [(Condition.CATCHING_UP, "3 slots to go, oldest first")]
    assert found.severity is Severity.NOTICE
    assert "hourly" not in dict(overdue(context(), Side.CODE))
    Slot.objects.using(context().alias).update(claimed_at=clock.now() - dt.timedelta(seconds=6))
    assert read(context())["hourly"].has(Condition.OVERDUE)
    assert "hourly" in dict(overdue(context(), Side.CODE))
