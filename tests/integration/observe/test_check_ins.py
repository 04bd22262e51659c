"""Check-ins out of the ledger: each word once by one leader, on after a takeover, and in time order."""

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from cutover import clock, models, seldom
from cutover.beats.agenda import Agenda
from cutover.beats.missed import BEYOND, TOO_LATE
from cutover.conf import Config
from cutover.errors import LedgerUnavailable
from cutover.ledger import Ledger
from cutover.ledger.runs import RunEnd
from cutover.observe.check_ins import outbox
from cutover.observe.check_ins.chore import Telling
from cutover.types import EntryName, Identity, Missed, RunOutcome, Side, Slot, Term

pytestmark = [pytest.mark.integration, pytest.mark.mariadb, pytest.mark.usefixtures("nothing_left")]

SECOND = dt.timedelta(seconds=1)
HOUR = dt.timedelta(hours=1)
URL = "https://hc.example/{slug}"


class Site:
    """A leader's chore, what it tells, and the workers."""

    def __init__(self, ledger: Ledger, identity: Callable[..., Identity], **settings: Any) -> None:
        self.ledger, self._identity = ledger, identity
        self.settings = settings or {"check_ins": {"PING_URL": URL}}
        self.told: list[str] = []
        self.term = self.elect()

    def elect(self) -> Term:
        term = self.ledger.fence.open_term(self._identity(), Side.CODE)
        assert term is not None
        self.ledger.fence.record_seen(term)
        self.telling = Telling(self.ledger, Config(**self.settings), self._note)
        self.term = term
        return term

    def _note(self, check_in: Any, where: Any, entry: Any) -> None:
        outdated = " outdated" if check_in.is_outdated else ""
        self.told.append(f"{check_in.slot.entry} {check_in.word.value}{outdated}")

    def poll(self) -> list[str]:
        """What is told at one poll of the leader."""
        assert self.telling.run(self.term, self.ledger.fence.read(), Agenda())
        told, self.told[:] = list(self.told), []
        return told

    def publish(self, *entries: str, age: dt.timedelta = SECOND, missed: Sequence[Missed] = ()) -> list[Slot]:
        slots = [Slot(clock.now() - age, EntryName(entry)) for entry in entries]
        self.ledger.claims.claim(self.term, slots, missed)
        self.ledger.claims.confirm(slots)
        return slots

    def start(self, slot: Slot, mark: str = "1@s#1 h:1:a", attempt: int = 0) -> None:
        self.ledger.runs.start(slot, self.term.epoch, mark, attempt=attempt)

    def end(self, slot: Slot, outcome: RunOutcome = RunOutcome.SUCCEEDED, mark: str = "1@s#1 h:1:a") -> None:
        self.ledger.runs.end([RunEnd(slot, mark, outcome)])


@pytest.fixture
def site(ledger: Ledger, identity: Callable[..., Identity]) -> Site:
    return Site(ledger, identity)


def test_a_start_and_an_end_are_told_once_each(site: Site) -> None:
    site.poll()
    (slot,) = site.publish("a")
    assert site.poll() == []
    site.start(slot)
    assert [site.poll(), site.poll()] == [["a start"], []]
    site.end(slot)
    assert [site.poll(), site.poll(), site.poll()] == [["a success"], [], []]


def test_a_retry_is_no_end_and_a_further_message_is_nothing(site: Site) -> None:
    site.poll()
    (slot,) = site.publish("a")
    site.start(slot)
    site.end(slot, RunOutcome.RETRIED)
    site.start(slot, "2@s#1 h:2:b")
    site.ledger.runs.count_deduplicated(slot)
    assert site.poll() == ["a start"]
    site.start(slot, "2@s#2 h:2:b", attempt=1)
    site.end(slot, RunOutcome.FAILED, "2@s#2 h:2:b")
    assert [site.poll(), site.poll()] == [["a fail"], []]


def test_a_run_that_another_worker_takes_over_has_one_start_and_its_end(site: Site) -> None:
    site.poll()
    (slot,) = site.publish("a")
    site.start(slot)
    assert site.poll() == ["a start"]
    assert site.ledger.runs.resume(slot, "1@s#1 h:1:a", "2@s#1 h:2:b")
    assert site.poll() == []
    site.end(slot, mark="2@s#1 h:2:b")
    assert site.poll() == ["a success"]


def test_a_missed_slot_is_told_and_one_that_a_later_one_stands_for_is_not(site: Site) -> None:
    site.poll()
    over = Missed(Slot(clock.now() - 2 * HOUR, EntryName("a")), "a later slot was sent in its stead")
    lost = Missed(Slot(clock.now() - 2 * HOUR, EntryName("b")), "older than the catch-up window")
    site.publish("a", missed=[over, lost])
    assert [site.poll(), site.poll()] == [["b missed"], []]


@pytest.mark.parametrize("reason", [TOO_LATE, BEYOND])
def test_a_slot_that_counts_by_itself_is_told_though_a_later_one_is_sent(site: Site, reason: str) -> None:
    site.poll()
    lost = Missed(Slot(clock.now() - 2 * HOUR, EntryName("a")), reason)
    site.publish("a", missed=[lost])
    assert [site.poll(), site.poll()] == [["a missed"], []]


def test_a_claim_that_is_given_up_is_told_as_missed(site: Site) -> None:
    site.poll()
    slot = Slot(clock.now() - SECOND, EntryName("a"))
    site.ledger.claims.claim(site.term, [slot])
    assert site.poll() == []
    site.ledger.claims.give_up(site.term, {slot: "side code has no such entry"})
    assert [site.poll(), site.poll()] == [["a missed"], []]


def test_a_new_leader_tells_what_the_dead_one_did_not_and_the_end_of_a_long_run(site: Site, alias: str) -> None:
    site.poll()
    long, short, settled = site.publish("long", "short", "settled", age=HOUR)
    for slot in long, short, settled:
        site.start(slot)
    site.end(settled)
    models.Slot.objects.using(alias).update(run_started_at=clock.now() - HOUR)
    models.Slot.objects.using(alias).filter(entry="settled").update(run_ended_at=clock.now() - HOUR / 2)
    site.end(short)
    site.elect()
    assert site.poll() == ["short success"]
    site.end(long)
    assert [site.poll(), site.poll()] == [["long success"], []]


def test_a_new_leader_looks_back_piece_by_piece_and_marks_what_a_later_end_stands_for(
    site: Site, alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "PIECE", 3)
    slots = [slot for age in range(9, 0, -1) for slot in site.publish("a", age=age * SECOND)]
    for slot in slots:
        site.start(slot)
        site.end(slot)
    models.Slot.objects.using(alias).update(run_started_at=clock.now() - HOUR)
    site.elect()
    told = [site.poll() for _ in range(5)]
    assert told == [["a success"] * 3, ["a success outdated"] * 3, ["a success outdated"] * 3, [], []]


def test_a_look_back_ends_where_slots_were_recorded_long_ago(
    site: Site, alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "PIECE", 2)
    for age in range(9, 0, -1):
        site.publish("a", age=age * SECOND)
    slots = models.Slot.objects.using(alias)
    old = list(slots.order_by("pk").values_list("pk", flat=True)[:6])
    slots.filter(pk__in=old).update(claimed_at=clock.now() - 2 * outbox.BACK)
    site.elect()
    for _ in range(4):
        site.poll()
    for row in slots.order_by("pk"):
        site.start(Slot(row.due_at, EntryName("a")))
    assert site.poll() == ["a start"] * 3


def test_many_open_slots_are_read_in_turns(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "MOST_AGAIN", 2)
    site.poll()
    slots = site.publish("a", "b", "c", "d", "e")
    site.poll()
    site.poll()
    site.start(slots[4])
    assert "e start" in [word for _ in range(3) for word in site.poll()]


def test_entries_without_check_ins_are_not_told(ledger: Ledger, identity: Callable[..., Identity]) -> None:
    site = Site(ledger, identity, entries={"a": {"CHECK_INS": {"SENTRY": {}}}, "b": {"CHECK_INS": {"SENTRY": None}}})
    site.poll()
    for slot in site.publish("a", "b", "c"):
        site.start(slot)
    assert site.poll() == ["a start"]
    for _ in range(3):
        site.poll()
    with CaptureQueriesContext(connections[ledger.alias]) as asked:
        site.poll()
    newest = models.Slot.objects.using(ledger.alias).order_by("-pk").values_list("pk", flat=True).first()
    assert f'"id" > {newest}' in asked[1]["sql"].replace("`", '"'), "what is of no interest is read twice, not for ever"


def test_while_the_database_is_away_nothing_is_lost(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.poll()
    (slot,) = site.publish("a")
    site.start(slot)
    with monkeypatch.context() as away:
        away.setattr(outbox.Outbox, "_replaced", fail(LedgerUnavailable("away")))
        with pytest.raises(LedgerUnavailable):
            site.poll()
    assert site.poll() == ["a start"]


def test_an_error_of_ours_ends_no_leadership_and_is_logged(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(seldom, "_kept", {})
    monkeypatch.setattr(outbox.Outbox, "look", fail(RuntimeError("strange")))
    with caplog.at_level("WARNING", "cutover"):
        assert site.poll() == []
    assert "cutover.check_in.failed" in caplog.text


def fail(error: Exception) -> Callable[..., Any]:
    def failing(*_: Any) -> Any:
        raise error

    return failing
