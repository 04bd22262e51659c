"""Every transition of a candidate, with time passed in: no thread, no process, no server."""

import datetime as dt
import gc
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from cutover import signals
from cutover.beats.agenda import Agenda
from cutover.beats.candidate import POLL_EVERY_S, Candidate
from cutover.beats.dispatcher import Sent
from cutover.beats.leadership import Leadership
from cutover.clock import Clock
from cutover.election.elector import Description, News
from cutover.errors import LedgerUnavailable
from cutover.types import Epoch, HolderId, Identity, Side, Term
from tests.support.receivers import heard

ME = Identity(HolderId("h:1:a"), "h", 1, "r1")
AWAY = LedgerUnavailable("the database is away")


@dataclass
class World:
    """What surrounds a candidate, scripted: each part does what the test says, and notes what it is asked.

    ``fails``: the calls that the database does not answer.
    """

    now_s: float = 100.0
    side: Side = Side.CODE
    epoch: int = 3
    is_leading: bool = False
    news: set[News] = field(default_factory=set)
    fails: set[str] = field(default_factory=set)
    fenced: set[str] = field(default_factory=set)
    due_in_s: float | None = None
    sweep_in_s: float | None = None
    may_claim: bool = True
    loads: int = 1
    calls: list[str] = field(default_factory=list)
    waited_s: list[float] = field(default_factory=list)

    def note(self, call: str) -> bool:
        """Note a call; whether the fence admits it. Raises where the database is away."""
        self.calls.append(call)
        if call in self.fails or ("database" in self.fails and call not in NOT_OF_THE_DATABASE):
            raise AWAY
        return call not in self.fenced

    def made(self) -> list[str]:
        """The calls since the last time."""
        made, self.calls[:] = list(self.calls), []
        return made

    def now(self) -> dt.datetime:
        return dt.datetime.fromtimestamp(self.now_s, dt.UTC)

    def candidate(self, side: Side = Side.CODE, **parts: Any) -> Candidate:
        schedule = Schedule(self, Upcoming(self))
        chore = SimpleNamespace(asks={}, run=lambda *_: self.note("chore"))
        return Candidate(
            ME,
            side,
            Electing(self),
            SimpleNamespace(fence=Fencing(self)),
            Dispatching(self),
            schedule,
            [chore],
            time=Clock(now=self.now, monotonic_s=lambda: self.now_s, jitter=lambda: 1.0),
            **parts,
        )


NOT_OF_THE_DATABASE = {"campaign", "withdraw", "sweep first", "stop", "shadow"}


@dataclass
class Electing:
    world: World

    @property
    def is_leading(self) -> bool:
        return self.world.is_leading

    def heartbeat(self) -> None: ...

    def describe(self, description: Description) -> None: ...

    def campaign(self) -> None:
        self.world.note("campaign")

    def withdraw(self) -> None:
        self.world.is_leading = False
        self.world.note("withdraw")

    def stop(self) -> None:
        self.world.note("stop")

    def wait(self, timeout_s: float) -> frozenset[News]:
        self.world.waited_s.append(timeout_s)
        news, self.world.news = frozenset(self.world.news), set()
        return news


@dataclass
class Fencing:
    world: World

    def read(self, asked: object) -> Any:
        self.world.note("poll")
        return SimpleNamespace(epoch=Epoch(self.world.epoch), side=self.world.side, schedule_revision=0, answers={})

    def open_term(self, who: Identity, side: Side) -> Term | None:
        self.world.note("open term")
        if self.world.side is not side:
            return None
        self.world.epoch += 1
        return Term(Epoch(self.world.epoch), side, who.holder)

    def record_first_tick(self, term: Term) -> None:
        self.world.note("first tick")

    def record_seen(self, term: Term) -> None:
        self.world.note("seen")

    def end_term(self, term: Term, reason: str) -> None:
        self.world.note(f"end term: {reason}")


@dataclass
class Dispatching:
    world: World

    @property
    def may_claim(self) -> bool:
        return self.world.may_claim

    def sweep_first(self) -> None:
        self.world.note("sweep first")
        self.world.sweep_in_s = 0.0

    def sweep_in_s(self) -> float | None:
        return self.world.sweep_in_s

    def sweep(self, term: Term, agenda: Agenda) -> Sent:
        self.world.sweep_in_s = None
        return Sent(fenced=not self.world.note("sweep"))

    def send(self, term: Term, agenda: Agenda, due: object) -> Sent:
        return Sent(fenced=not self.world.note("send"))


@dataclass
class Upcoming:
    world: World

    def __len__(self) -> int:
        return 0

    def due(self, *_: object) -> Iterator[object]:
        return iter(())

    def next_at(self) -> dt.datetime | None:
        in_s = self.world.due_in_s
        return None if in_s is None else self.world.now() + dt.timedelta(seconds=in_s)


@dataclass
class Schedule:
    world: World
    agenda: Any
    version: str = "1"
    has_more_to_read: bool = False
    loaded: int = 0
    asks: Any = field(default_factory=dict)

    @property
    def loads(self) -> int:
        return self.world.loads

    def refresh(self, *, full: bool = True, polled: object = None) -> None:
        self.world.note("refresh" if full else "refresh what was announced")

    def settle_ahead(self, *_: object) -> None: ...

    def settle(self, term: Term) -> bool:
        return self.world.note("settle")

    def declare(self, term: Term, who: Identity) -> bool:
        assert who is ME
        return self.world.note("declare")

    def retract_early(self, term: Term) -> bool:
        return self.world.note("retract")

    def published(self, entries: object, past_slots: object) -> None: ...

    def recover(self) -> None:
        self.world.note("recover")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def leader(world: World) -> Candidate:
    """A candidate that has been elected and has ticked once."""
    candidate = world.candidate()
    candidate.turn()
    world.is_leading = True
    candidate.turn()
    assert is_leader(candidate)
    world.made()
    return candidate


def is_leader(candidate: Candidate) -> bool:
    return isinstance(candidate._leadership, Leadership)


# --- standby ----------------------------------------------------------------------------------------------------------


def test_a_standby_of_the_active_side_campaigns_and_keeps_warm(world):
    candidate = world.candidate()
    candidate.turn()
    assert world.made() == ["poll", "campaign", "refresh"]
    assert world.waited_s == [POLL_EVERY_S]
    assert not is_leader(candidate)


def test_a_standby_of_the_other_side_withdraws_and_keeps_warm(world):
    candidate = world.candidate(Side.DATABASE)
    candidate.turn()
    assert world.made() == ["poll", "withdraw", "refresh"]
    assert not is_leader(candidate)


def test_one_that_has_no_schedule_yet_reads_it_before_it_campaigns(world):
    world.loads = 0
    world.candidate().turn()
    assert world.made() == ["poll", "refresh", "campaign"]


def test_between_two_polls_nothing_is_asked(world):
    candidate = world.candidate()
    candidate.turn()
    world.made()
    world.now_s += POLL_EVERY_S / 2
    candidate.turn()
    assert (world.made(), world.waited_s[-1]) == ([], POLL_EVERY_S / 2)


@pytest.mark.parametrize(
    ("news", "polls"), [(News.SWITCHED, True), (News.SCHEDULE, True), (News.ELECTION, True), (News.SIGNAL, False)]
)
def test_what_has_changed_is_asked_for_at_once(world, news, polls):
    candidate = world.candidate()
    world.news = {news}
    candidate.turn()
    world.made()
    candidate.turn()
    assert ("poll" in world.made()) is polls


def test_when_another_has_just_been_elected_there_is_no_time_for_a_full_refresh(world):
    candidate = world.candidate()
    candidate.turn()
    world.made()
    world.epoch += 1
    for refreshed in ("refresh what was announced", "refresh"):
        world.now_s += POLL_EVERY_S
        candidate.turn()
        assert world.made() == ["poll", "campaign", refreshed]


def test_what_is_left_to_settle_is_known_before_it_is_said_that_the_schedule_is_loaded(world):
    """A switch follows at once upon that word, and would find the standby busy."""
    candidate = world.candidate()
    candidate._elector.describe = lambda description: world.note("describe")
    candidate._schedule.settle_ahead = lambda revision: world.note("settle_ahead")
    candidate.turn()
    assert world.made() == ["poll", "campaign", "refresh", "settle_ahead", "describe"]


def test_a_schedule_that_is_loaded_is_kept_from_the_garbage_collector(world):
    candidate = world.candidate()
    candidate._schedule.refresh = lambda **_: setattr(candidate._schedule, "loaded", 1)
    before = gc.get_freeze_count()
    entries = [[number] for number in range(10_000)]
    candidate.turn()
    assert gc.get_freeze_count() - before > len(entries)


def test_a_shadow_run_wakes_a_standby_earlier(world):
    world.candidate(shadow=SimpleNamespace(asks={}, turn=lambda polled: 0.25)).turn()
    assert world.waited_s == [0.25]


# --- election ---------------------------------------------------------------------------------------------------------


def test_one_that_is_elected_opens_a_term_settles_sweeps_sends_and_says_so(world):
    candidate, world.news = world.candidate(), {News.ELECTION}
    candidate.turn()
    world.made()
    world.is_leading = True
    candidate.turn()
    assert world.made() == [
        *("open term", "sweep first", "refresh what was announced", "settle", "sweep", "recover", "send"),
        *("first tick", "retract"),
    ]
    assert candidate._leadership == Leadership(Term(Epoch(4), Side.CODE, ME.holder), settled_load=1, has_ticked=True)


def test_one_whose_side_is_not_active_is_refused_by_the_fence(world):
    candidate = world.candidate()
    candidate.turn()
    world.made()
    world.is_leading, world.side = True, Side.DATABASE
    candidate.turn()
    assert world.made() == ["open term", "withdraw"]
    assert (is_leader(candidate), world.waited_s[-1]) == (False, 0.0)
    candidate.turn()
    assert world.made() == ["poll", "withdraw", "refresh"]


@pytest.mark.parametrize("call", ["settle", "sweep", "send"])
def test_one_that_is_fenced_in_its_first_turn_steps_down(world, call):
    candidate = world.candidate()
    candidate.turn()
    world.is_leading, world.fenced = True, {call}
    candidate.turn()
    assert world.made()[-2:] == ["withdraw", "end term: fenced"]
    assert not is_leader(candidate)


@pytest.mark.parametrize("call", ["refresh what was announced", "settle", "sweep", "send", "first tick", "retract"])
def test_a_database_that_is_lost_at_election_leaves_nothing_half_done(world, call):
    candidate = world.candidate()
    candidate.turn()
    world.is_leading, world.fails = True, {call}
    candidate.turn()
    world.fails = set()
    world.made()
    candidate.turn()
    made = world.made()
    assert made[-2:] == ["first tick", "retract"], "now it leads"
    assert "sweep" in made, "what was written unheard is swept first"
    assert ("open term" in made) is (call == "refresh what was announced")


def test_one_whose_broker_takes_nothing_has_not_ticked_until_it_does(world):
    """A switchover waits for the first tick: a leader that cannot publish is none."""
    candidate = world.candidate()
    candidate.turn()
    world.is_leading, world.may_claim = True, False
    candidate.turn()
    assert "first tick" not in world.made()
    world.may_claim = True
    candidate.turn()
    assert world.made() == ["send", "first tick", "retract"]


def test_one_whose_broker_takes_nothing_from_its_election_on_polls_now_and_then_and_does_not_spin(world):
    candidate = world.candidate()
    candidate.turn()
    world.is_leading, world.may_claim = True, False
    candidate.turn()
    world.made()
    world.sweep_in_s, world.now_s = 9.0, world.now_s + POLL_EVERY_S
    candidate.turn()
    assert (world.made(), world.waited_s[-1]) == (["poll", "chore", "seen", "declare", "refresh"], POLL_EVERY_S)


# --- leader -----------------------------------------------------------------------------------------------------------


def test_a_leader_sends_at_every_turn_and_polls_now_and_then(world, leader):
    leader.turn()
    assert world.made() == ["send"]
    world.now_s += POLL_EVERY_S
    leader.turn()
    assert world.made() == ["poll", "chore", "seen", "declare", "refresh", "send"]
    world.now_s += POLL_EVERY_S
    leader.turn()
    assert world.made() == ["poll", "chore", "seen", "refresh", "send"], "what it sends is said once a term"


def test_a_leader_waits_for_the_next_slot_or_sweep_or_poll(world, leader):
    for world.due_in_s, world.sweep_in_s, wait_s in (
        (0.5, None, 0.5),
        (0.5, 0.2, 0.2),
        (-3.0, None, 0.0),
        (60, None, 2.0),
    ):
        leader.turn()
        assert world.waited_s[-1] == wait_s


def test_while_the_broker_takes_nothing_nothing_is_sent_and_the_sweep_waited_for(world, leader):
    world.may_claim, world.sweep_in_s, world.due_in_s = False, 1.5, -3.0
    leader.turn()
    assert (world.made(), world.waited_s[-1]) == ([], 1.5)


def test_a_schedule_that_was_read_again_is_settled_before_it_is_sent_by(world, leader):
    world.now_s, world.loads = world.now_s + POLL_EVERY_S, 2
    leader.turn()
    assert world.made() == ["poll", "chore", "seen", "declare", "refresh", "settle", "send"]
    leader.turn()
    assert world.made() == ["send"]


def test_a_leader_that_has_lost_the_lease_steps_down(world, leader):
    world.is_leading = False
    leader.turn()
    assert world.made() == ["withdraw", "end term: the lease is lost"]
    assert (is_leader(leader), world.waited_s[-1]) == (False, 0.0)
    leader.turn()
    assert world.made() == ["poll", "campaign", "refresh what was announced"], "and campaigns at once"


@pytest.mark.parametrize("call", ["settle", "sweep", "send", "chore", "declare"])
def test_a_leader_that_is_fenced_steps_down(world, leader, call):
    world.now_s, world.loads, world.sweep_in_s, world.fenced = world.now_s + POLL_EVERY_S, 2, 0.0, {call}
    leader.turn()
    assert world.made()[-2:] == ["withdraw", "end term: fenced"]
    assert not is_leader(leader)


def test_a_leader_that_reads_another_epoch_steps_down(world, leader):
    world.now_s, world.epoch = world.now_s + POLL_EVERY_S, world.epoch + 1
    leader.turn()
    assert world.made() == ["poll", "withdraw", "end term: fenced"]


def test_nothing_of_a_term_is_left_for_the_next_one(world, leader):
    first = leader._leadership
    world.is_leading = False
    leader.turn()
    assert leader._leadership is None
    leader.turn()
    world.is_leading = True
    world.made()
    leader.turn()
    assert world.made()[:4] == ["open term", "sweep first", "refresh what was announced", "settle"]
    assert leader._leadership.term.epoch == first.term.epoch + 1


def test_one_that_is_closed_ends_its_term_and_leaves(world, leader):
    leader.close()
    assert world.made() == ["end term: stopped", "stop"]


def test_one_that_is_closed_without_a_database_leaves_all_the_same(world, leader):
    world.fails = {"database"}
    leader.close()
    assert world.made()[-1] == "stop"


# --- outages ----------------------------------------------------------------------------------------------------------


def test_a_leader_without_a_database_goes_on_for_the_time_of_a_poll_and_then_lets_another_lead(world, leader):
    world.fails, lost_at_s = {"database"}, world.now_s
    while is_leader(leader):
        leader.turn()
        world.now_s += world.waited_s[-1]
    assert world.now_s - lost_at_s == pytest.approx(POLL_EVERY_S, abs=2.0)
    assert "withdraw" in world.made()


def test_a_standby_without_a_database_asks_less_and_less_often(world):
    candidate = world.candidate()
    world.fails = {"database"}
    for _ in range(8):
        candidate.turn()
        world.now_s += world.waited_s[-1]
    assert world.waited_s[:3] == [0.2, 0.4, 0.8]
    assert world.waited_s[-2:] == [POLL_EVERY_S, POLL_EVERY_S]


def test_when_the_database_is_back_a_leader_sweeps_before_it_sends(world, leader):
    world.fails = {"database"}
    leader.turn()
    world.fails = set()
    world.made()
    leader.turn()
    assert world.made() == ["poll", "chore", "seen", "declare", "refresh", "sweep", "recover", "send"]


def test_one_that_has_not_read_all_that_has_changed_polls_again_at_once(world, leader):
    leader._schedule.has_more_to_read = True
    world.now_s += POLL_EVERY_S
    leader.turn()
    assert world.waited_s[-1] == 0.0


def test_a_new_leader_is_told_of_once_its_term_is_open_and_one_that_is_refused_is_not(world):
    world.is_leading = True
    with heard(signals.leader_changed) as told:
        world.candidate().turn()
        world.side = Side.DATABASE
        world.candidate().turn()
    assert told == [{"epoch": 4, "side": "code", "holder": "h:1:a", "host": "h", "pid": 1, "release": "r1"}]
