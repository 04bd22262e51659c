"""A candidate that reads its schedule and the ledger while the database fails in between."""

import datetime as dt
from dataclasses import dataclass, field

import pytest
from celery import Celery
from celery.beat import ScheduleEntry
from celery.schedules import schedule

from cutover import clock
from cutover.beats.agenda import Limits
from cutover.beats.candidate import Candidate, Entries
from cutover.beats.dispatcher import Dispatcher
from cutover.conf import CatchUpRule, Config
from cutover.election.elector import Elector
from cutover.election.lease import Lease
from cutover.errors import LedgerUnavailable
from cutover.types import CatchUp, EntryName, Side, Slot
from tests.integration.conftest import NAMESPACE

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("nothing_left")]

HOUR = dt.timedelta(hours=1)
MINUTE = dt.timedelta(minutes=1)
RULE = CatchUpRule(CatchUp.LATEST, HOUR)


@dataclass
class Source:
    """A schedule that a test changes."""

    changes: list[Entries] = field(default_factory=list)

    def load(self, thorough: bool = True) -> Entries | None:
        return self.changes.pop(0) if self.changes else None

    def version(self) -> str:
        return "a version"


@pytest.fixture
def hourly():
    app = Celery("site", set_as_current=False)
    yield ScheduleEntry(name="hourly", task="a.task", schedule=schedule(HOUR, app=app), app=app)
    app.close()


def test_what_the_database_did_not_say_of_new_entries_is_asked_again(
    ledger, identity, redis_client, hourly, monkeypatch
):
    who = identity()
    term = ledger.fence.open_term(who, Side.CODE)
    last = Slot(clock.now() - 20 * MINUTE, EntryName("hourly"))
    ledger.claims.claim(term, [last])
    ledger.claims.claim(term, [Slot(clock.now(), EntryName(f"other {i}")) for i in range(1_200)])
    source = Source()
    elector = Elector(redis_client, Lease(redis_client, NAMESPACE, HOUR), who, term.side, HOUR, HOUR)
    dispatcher = Dispatcher(ledger, lambda entry, slot: None, NAMESPACE, elector.vouch)
    candidate = Candidate(Config(), who, term.side, elector, ledger, dispatcher, source)
    candidate._warm_up()
    source.changes = [{EntryName("hourly"): (hourly, RULE, Limits())}]
    with monkeypatch.context() as patch:
        patch.setattr(ledger.cursors, "follow", lambda *_, **__: (_ for _ in ()).throw(LedgerUnavailable("away")))
        with pytest.raises(LedgerUnavailable):
            candidate._warm_up()
    candidate._warm_up()
    assert candidate._agenda.next_at() == last.due_at + HOUR
