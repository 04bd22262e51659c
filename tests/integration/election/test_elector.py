"""The election: real electors on a real server, in this process; what needs no server is in unit/election."""

import datetime as dt
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from types import TracebackType
from typing import Any, Self

import pytest
import redis

from cutover import clock
from cutover.conf import Config
from cutover.election import connection as connections_of_cutover
from cutover.election import elector
from cutover.election.connection import Link
from cutover.election.elector import JOIN_S, Description, Elector, News
from cutover.election.lease import SCHEDULE, Lease
from cutover.events import Event
from cutover.types import Identity, Side
from demo.services import Valkey
from demo.waiting import wait_until
from tests.support.rooms import give_time, timed

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("nothing_left")]

LONG = dt.timedelta(seconds=15)
SHORT = dt.timedelta(seconds=1)
KEYS = ["{cutover:tests}:beats", "{cutover:tests}:lease"]


class Racer:
    """One elector and the loop behind it, which gives a heartbeat whenever the test looks."""

    def __init__(self, client: redis.Redis, who: Identity, ttl: dt.timedelta = LONG, side: Side = Side.CODE) -> None:
        self.who = who
        self.elector = Elector(client, Lease(client, "tests", ttl), who, side, ttl, ttl / 3)

    def __enter__(self) -> Self:
        self.elector.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.elector.stop()

    @property
    def leads(self) -> bool:
        self.elector.heartbeat()
        return self.elector.is_leading

    @property
    def leads_again(self) -> bool:
        """As its loop does once it has stepped down: it polls, and campaigns."""
        self.elector.campaign()
        return self.leads


Start = Callable[..., Racer]


@pytest.fixture
def start(redis_client: redis.Redis, identity: Callable[..., Identity]) -> Iterator[Start]:
    """Starts racers that campaign; when the test ends they stop, and nothing of them is left on the server."""
    with ExitStack() as stack:

        def start(name: str = "beat", *, campaigns: bool = True, **options: object) -> Racer:
            racer = stack.enter_context(Racer(redis_client, identity(name), **options))
            if campaigns:
                racer.elector.campaign()
            return racer

        yield start
    assert redis_client.keys() == []


@pytest.fixture
def lease(redis_client: redis.Redis) -> Lease:
    return Lease(redis_client, "tests", LONG)


def leader(racers: list[Racer]) -> Racer | None:
    """The only one that holds the lease; None while there is none or more than one believes it."""
    holding = [racer for racer in racers if racer.leads]
    return holding[0] if len(holding) == 1 else None


def wait_until_told(racer: Racer, news: News) -> None:
    """Other news may come before it."""
    wait_until(lambda: news in racer.elector.wait(0.1), f"{racer.who.holder} is told {news}", timeout_s=2)


# --- winning ----------------------------------------------------------------------------------------------------------


def test_of_three_exactly_one_leads_and_the_server_agrees(start, lease):
    racers = [start(name) for name in "abc"]
    first = wait_until(lambda: leader(racers), "one leads")
    assert lease.view().holder == first.who.holder
    wait_until(
        lambda: sorted(beat.role for beat in lease.beats()) == ["leader", "standby", "standby"], "each reports its role"
    )


def test_who_does_not_campaign_never_leads(start, lease):
    racer = start(campaigns=False)
    wait_until(lease.beats, "it reports")
    assert not racer.leads
    racer.elector.campaign()
    assert timed(lambda: racer.leads, "it leads once it campaigns") < 1


def test_a_leader_that_withdraws_gives_the_lease_back(start, lease):
    racer = start()
    wait_until(lambda: racer.leads, "it leads")
    racer.elector.withdraw()
    assert not racer.leads
    wait_until(lambda: lease.view() is None, "the lease is free", timeout_s=2)


def test_winning_wakes_the_loop(start):
    racer = start()
    assert racer.elector.wait(5) == {News.ELECTION}


@pytest.mark.figures
def test_a_standby_leads_within_milliseconds_of_a_release(start):
    racers = [start(name) for name in "abc"]
    gaps = []
    for _ in range(5):
        first = wait_until(lambda: leader(racers), "one leads")
        others = [racer for racer in racers if racer is not first]
        first.elector.withdraw()
        gaps.append(timed(lambda others=others: leader(others), "another one leads"))
        first.elector.campaign()
    # Looking by itself a standby would take up to 0.6 s.
    assert sorted(gaps)[2] < 0.1, gaps


@pytest.mark.figures
def test_a_standby_leads_within_milliseconds_of_a_stop(start):
    racers = [start(name) for name in "ab"]
    first = wait_until(lambda: leader(racers), "one leads")
    (other,) = [racer for racer in racers if racer is not first]
    stopper = threading.Thread(target=first.elector.stop)
    stopper.start()
    gap = timed(lambda: other.leads, "the other one leads")
    stopper.join()
    assert gap < 0.3


# --- losing -----------------------------------------------------------------------------------------------------------


@pytest.mark.figures
def test_a_switch_drops_the_old_leader_and_wakes_everybody(start, lease):
    old = start("old", side=Side.CODE)
    new = start("new", side=Side.DATABASE, campaigns=False)
    wait_until(lambda: old.leads and len(lease.beats()) == 2, "the old side leads")
    new.elector.describe(Description(warm=True))
    wait_until(lambda: any(beat.warm for beat in lease.beats()), "it stands by, warm")
    for racer in (old, new):
        racer.elector.wait(0)
    lease.switch(Side.DATABASE)
    assert new.elector.wait(2) == {News.ELECTION}, "it leads before its loop has asked anything"
    assert new.leads
    wait_until_told(old, News.SWITCHED)
    old.elector.withdraw()  # as its loop does, by the fence
    assert not old.leads


def test_a_switch_to_a_side_whose_beat_has_read_no_schedule_yet_is_told_to_its_loop(start, lease):
    new = start("new", side=Side.DATABASE, campaigns=False)
    wait_until(lease.beats, "it is there")
    lease.switch(Side.DATABASE)
    assert new.elector.wait(2) == {News.SWITCHED}
    assert not new.leads


def test_after_a_switch_nobody_of_the_old_side_takes_the_lease_before_its_loop_has_read_the_fence(
    start, lease, identity
):
    """Else the old side's standby would take what the switch has just freed, and the new side would have to wait."""
    holder = identity("holder")
    lease.acquire(holder, Side.CODE, 0)
    standby = start("standby", campaigns=False)
    standby.elector.describe(Description(warm=True))
    wait_until(lease.beats, "it is there")
    lease.renew(holder, Side.CODE, int(standby.elector._client.client_id()))
    standby.elector.campaign()
    give_time(0.3, "it has looked, and does not look at the very moment of the switch")
    standby.elector.wait(0)
    lease.switch(Side.DATABASE)
    wait_until_told(standby, News.SWITCHED)
    give_time(1, "it could have taken it", unless=lambda: standby.leads)
    assert not standby.leads
    standby.elector.campaign()
    wait_until(lambda: standby.leads, "it leads once its loop has said so")


def test_a_leader_that_finds_another_holder_steps_down_at_its_next_renewal(start, lease, identity, redis_client):
    racer = start(ttl=SHORT)
    wait_until(lambda: racer.leads, "it leads")
    racer.elector.wait(0)
    usurper = identity("usurper")
    redis_client.delete(KEYS[1])
    lease.acquire(usurper, Side.CODE, 0)
    assert timed(lambda: not racer.leads, "it has stepped down") < 1
    assert racer.elector.wait(1) == {News.ELECTION}
    lease.release(usurper.holder)
    wait_until(lambda: racer.leads_again, "it leads again once its loop campaigns")


def test_a_loop_that_does_not_come_back_loses_its_lease(start, lease):
    wedged = start("wedged", ttl=SHORT)
    wait_until(lambda: wedged.leads, "it leads")
    other = start("other", ttl=SHORT)
    began = clock.monotonic_s()
    took = timed(lambda: other.leads, "the other one leads")  # no heartbeat of the first one meanwhile
    assert clock.monotonic_s() - began > 0.8
    assert took < 2
    wait_until(lambda: not wedged.elector.is_leading, "the wedged one knows")
    assert [beat.warm for beat in lease.beats() if beat.holder == wedged.who.holder] == [False]
    assert wedged.leads is False  # it comes back, and waits for its turn
    other.elector.withdraw()
    wait_until(lambda: wedged.leads_again, "the one that came back leads again")


def test_a_loop_that_does_not_come_back_takes_no_lease(start, lease, identity):
    holder = identity("holder")
    lease.acquire(holder, Side.CODE, 0)
    wedged = start("wedged", ttl=SHORT)
    wait_until(
        lambda: [b for b in lease.beats() if b.holder == wedged.who.holder and b.schedule_version == ""], "it reports"
    )
    wedged.elector.describe(Description(True, "1", 3))
    give_time(1.2, "it is stalled")
    lease.release(holder.holder)
    give_time(0.5, "there was time to take it")
    assert not wedged.elector.is_leading
    wait_until(lambda: wedged.leads, "it leads once it has come back")


def test_a_standby_that_stalls_and_comes_back_says_so_at_once(start, lease, identity):
    lease.acquire(holder := identity("holder"), Side.CODE, 0)
    wedged = start("wedged", ttl=SHORT)
    wedged.elector.describe(Description(True, "1", 3))
    wait_until(lambda: [beat.warm for beat in lease.beats()] == [True], "it is warm")
    assert timed(lambda: [beat.warm for beat in lease.beats()] == [False], "it is stalled") < 2
    wedged.elector.heartbeat()
    assert timed(lambda: [beat.warm for beat in lease.beats()] == [True], "it has come back") < 1
    lease.release(holder.holder)


# --- the dead and the slow --------------------------------------------------------------------------------------------


def test_a_dead_leader_is_replaced_long_before_its_lease_ends(start, lease, redis_client, identity):
    gone = identity("gone")
    with closing(Link(redis_client, lease.channel)) as link:
        lease.acquire(gone, Side.CODE, link.client_id)
        standby = start()
        wait_until(lease.beats, "a standby waits")
        give_time(1.5, "it had time to look twice", unless=lambda: standby.leads)
        assert not standby.leads
    assert timed(lambda: standby.leads, "the standby leads") < 1.5
    assert lease.view().remaining > dt.timedelta(seconds=13)


def test_a_connection_that_checks_its_own_health_hears_of_news_all_the_same(settings, valkey, lease):
    alias = {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": valkey.url.replace("/0", "/3"),
        "OPTIONS": {"CONNECTION_POOL_KWARGS": {"health_check_interval": 1}},
    }
    settings.CACHES = {**settings.CACHES, "healthy": alias}
    with (
        connections_of_cutover.redis_client(Config(redis_alias="healthy")) as client,
        closing(Link(client, lease.channel)) as link,
    ):
        until = clock.monotonic_s() + 2.5
        while clock.monotonic_s() < until:
            assert link.wait(0.6) is None
        assert not link.is_cut()
        lease.announce_schedule()
        assert wait_until(lambda: link.wait(0.5), "the news has come") == SCHEDULE
        client.connection_pool.disconnect()


def test_a_slow_leader_keeps_its_lease_to_the_end_and_no_longer(start, redis_client, identity):
    ttl = dt.timedelta(seconds=3)
    lease = Lease(redis_client, "tests", ttl)
    with closing(Link(redis_client, lease.channel)) as link:
        standby = start(ttl=ttl)
        wait_until(lambda: standby.leads, "it leads")
        standby.elector.withdraw()
        wait_until(lambda: lease.view() is None, "the lease is free")
        slow = identity("slow")
        lease.acquire(slow, Side.CODE, link.client_id)
        standby.elector.campaign()
        began = clock.monotonic_s()
        took = timed(lambda: standby.leads, "the standby leads")
        assert clock.monotonic_s() - began > 2.7
    assert took < 3.7


def test_a_leader_whose_connections_are_cut_keeps_its_lease(start, lease, redis_client):
    first = start("first")
    wait_until(lambda: first.leads, "it leads")
    standby = start("standby")
    wait_until(lambda: len(lease.beats()) == 2, "a standby waits")
    for _ in range(2):
        client_id = lease.view().client_id
        redis_client.client_kill_filter(_id=client_id)
        wait_until(lambda old=client_id: lease.view().client_id != old, "it is connected again", timeout_s=3)
        give_time(1.2, "the standby had time to look", unless=lambda: standby.leads)
        assert lease.view().holder == first.who.holder
        assert first.leads
        assert not standby.leads


def test_beats_whose_wake_connections_are_dropped_without_a_word_make_others(start, lease, redis_client, monkeypatch):
    """As by a firewall that forgets what is silent: the server lists it no more, and the beat hears nothing of that."""
    never = threading.Event()
    monkeypatch.setattr(Link, "wait", lambda link, timeout_s: never.wait(min(timeout_s, 0.05)) or None)
    three = dt.timedelta(seconds=3)
    racers = [start("first", ttl=three)]
    wait_until(lambda: racers[0].leads, "it leads")
    racers += [start("standby", ttl=three), start("other", ttl=three, side=Side.DATABASE, campaigns=False)]

    def connections() -> set[int]:
        """Those by which the beats are seen to live, where all of them are."""
        for racer in racers:
            racer.elector.heartbeat()
        found = {beat.client_id for beat in lease.beats()}
        return found if len(found) == 3 == len(lease.listed(*found)) else set()

    before = wait_until(connections, "all are there")
    give_time(1, "each has looked for itself", unless=lambda: not connections())
    redis_client.client_kill_filter(_type="pubsub", skipme=True)
    wait_until(lambda: (found := connections()) and not found & before, "all are there again", timeout_s=20)
    assert leader(racers) is not None


@pytest.mark.figures
def test_a_standby_whose_connections_are_cut_is_woken_all_the_same(start, lease, redis_client):
    first = start("first")
    wait_until(lambda: first.leads, "it leads")
    standby = start("standby")
    wait_until(lambda: len(lease.beats()) == 2, "a standby waits")
    redis_client.client_kill_filter(_type="pubsub", skipme=True)
    wait_until(lambda: redis_client.pubsub_numsub(lease.channel)[0][1] == 2, "both listen again")
    first.elector.withdraw()
    assert timed(lambda: standby.leads, "the standby leads") < 0.6


# --- a server that forgets, ends and comes back -----------------------------------------------------------------------


def test_after_everything_was_flushed_one_leads_and_all_report(start, lease, redis_client):
    racers = [start(name, ttl=dt.timedelta(seconds=3)) for name in "abc"]
    wait_until(lambda: leader(racers), "one leads")
    for _ in range(2):
        redis_client.flushall()
        wait_until(
            lambda: (
                (one := leader(racers))
                and (v := lease.view())
                and v.holder == one.who.holder
                and len(lease.beats()) == 3
            ),
            "one leads, the server agrees, and all report",
        )


@pytest.fixture
def own_client(own_valkey: Valkey, settings) -> Iterator[redis.Redis]:
    """cutover's client of a server that the test may stop."""
    settings.CACHES = {
        **settings.CACHES,
        "own": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": own_valkey.url},
    }
    with connections_of_cutover.redis_client(Config(redis_alias="own")) as client:
        yield client
        client.connection_pool.disconnect()


def test_a_leader_outlives_a_restart_of_the_server(own_valkey, own_client, identity):
    with Racer(own_client, identity("a")) as first, Racer(own_client, identity("b")) as standby:
        first.elector.campaign()
        wait_until(lambda: first.leads, "it leads")
        standby.elector.campaign()
        own_valkey.stop()
        give_time(1, "the server is away for a while")
        assert first.leads, "a server that is away says nothing about the lease"
        own_valkey.start()
        lease = Lease(own_client, "tests", LONG)
        wait_until(
            lambda: (
                (one := leader([first, standby]))
                and (v := lease.view())
                and v.holder == one.who.holder
                and len(lease.beats()) == 2
            ),
            "one leads and both report",
        )
    assert own_client.keys() == []


def test_a_candidate_may_start_before_the_server(own_valkey, own_client, identity):
    own_valkey.stop()
    with Racer(own_client, identity()) as racer:
        racer.elector.campaign()
        racer.elector.describe(Description(True, "1", 3))
        own_valkey.start()
        wait_until(lambda: racer.leads, "it leads")


def test_a_server_that_is_full_is_not_found_again_at_each_connection(own_valkey, own_client, identity, monkeypatch):
    """It takes connections, and answers what writes with an error."""
    said: list[Event] = []
    monkeypatch.setattr(elector, "log", lambda event, **details: said.append(event))
    own_client.config_set("maxmemory", 1)

    def connections() -> int:
        return own_client.info("stats")["total_connections_received"]

    before = connections()
    with Racer(own_client, identity("beat")) as racer:
        racer.elector.campaign()
        wait_until(lambda: connections() >= before + 10, "it has tried several times")
        assert said == [Event.REDIS_LOST], "so that each wait is longer than the one before"
        own_client.config_set("maxmemory", 0)
        wait_until(lambda: racer.leads, "the beat leads")
        wait_until(lambda: Event.REDIS_FOUND in said, "that is told")
        assert said.count(Event.REDIS_LOST) == 1


def test_stopping_without_a_server_ends_in_bounded_time(own_valkey, own_client, identity):
    racer = Racer(own_client, identity())
    with racer:
        racer.elector.campaign()
        wait_until(lambda: racer.leads, "it leads")
        own_valkey.stop()
    took = timed(racer.elector.stop, "stopped again") if racer.elector._thread.is_alive() else 0.0
    assert took <= JOIN_S


@pytest.mark.parametrize("times", [1, 3])
def test_stopping_at_any_moment_leaves_neither_thread_nor_key(redis_client, identity, times):
    dice = random.Random(times)
    for _ in range(8):
        with Racer(redis_client, identity()) as racer:
            racer.elector.campaign()
            give_time(dice.uniform(0, 0.03), "it is stopped at any moment")
        for _ in range(times):
            racer.elector.stop()
        assert redis_client.keys() == []


# --- what it costs, what it says --------------------------------------------------------------------------------------


def test_a_standby_costs_the_server_two_commands_a_second_at_most(start, lease, redis_client, identity):
    with closing(Link(redis_client, lease.channel)) as link:
        holder = identity("holder")
        lease.acquire(holder, Side.CODE, link.client_id)
        start("standby")
        wait_until(lease.beats, "a standby waits")
        seconds = 6
        before = commands(redis_client)
        give_time(seconds, "some seconds have passed")
        used = {n: c - before.get(n, 0) for n, c in commands(redis_client).items() if c > before.get(n, 0)}
        lease.release(holder.holder)
    assert sum(used.values()) <= 2 * seconds + 1, used


def commands(client: redis.Redis) -> dict[str, int]:
    """Calls so far, by command; without those that a script makes within the server, and what the test asks."""
    within = {"hset", "time", "hmget", "pttl", "info", "ping"}
    stats = client.info("commandstats")
    return {
        name.removeprefix("cmdstat_"): values["calls"]
        for name, values in stats.items()
        if name.removeprefix("cmdstat_") not in within
    }


def test_what_the_loop_says_of_itself_is_reported_at_once(start, lease):
    racer = start()
    wait_until(lease.beats, "it reports")
    racer.elector.describe(Description(True, "2026-05-05", 3))
    took = timed(lambda: [b for b in lease.beats() if b.warm and b.schedule_version == "2026-05-05"], "it is reported")
    assert took < 1


def test_what_the_loop_says_during_the_first_report_is_reported_at_once(redis_client, identity, lease, monkeypatch):
    report = Lease.report

    def interrupted(self: Lease, *given: Any) -> Any:
        racer.elector.describe(Description(True, "2026-05-05", 3))
        return report(self, *given)

    monkeypatch.setattr(Lease, "report", interrupted)
    with Racer(redis_client, identity()) as racer:
        took = timed(lambda: [b for b in lease.beats() if b.warm and b.entries == 3], "it is reported")
    assert took < 1


def test_a_new_schedule_wakes_every_loop(start, lease):
    racers = [start(name) for name in "ab"]
    wait_until(lambda: leader(racers) and len(lease.beats()) == 2, "all are there")
    for racer in racers:
        racer.elector.wait(0)
    lease.announce_schedule()
    for racer in racers:
        wait_until_told(racer, News.SCHEDULE)


def test_news_is_given_once_and_none_is_lost():
    elector = Racer(redis.Redis(), Identity("h", "h", 1, "")).elector
    elector.wake(News.SIGNAL)
    elector.wake(News.SCHEDULE)
    assert elector.wait(5) == {News.SIGNAL, News.SCHEDULE}
    assert elector.wait(0) == frozenset()


def test_leases_change_hands_under_fire_and_never_two_renew(start, lease, redis_client):
    """Random campaigns, cuts and flushes; at every look the server knows one holder, and in the end one leads."""
    racers = [start(name, ttl=dt.timedelta(seconds=3)) for name in "abc"]
    dice = random.Random(7)
    until = clock.monotonic_s() + 3
    while clock.monotonic_s() < until:
        racer = dice.choice(racers)
        match dice.randrange(4):
            case 0:
                racer.elector.withdraw()
            case 1:
                racer.elector.campaign()
            case 2:
                if view := lease.view():
                    redis_client.client_kill_filter(_id=view.client_id)
            case 3 if dice.random() < 0.2:
                redis_client.flushall()
        for each in racers:
            each.elector.heartbeat()
    for racer in racers:
        racer.elector.campaign()
    wait_until(
        lambda: (
            [racer.elector.campaign() for racer in racers]
            and (one := leader(racers))
            and (v := lease.view())
            and v.holder == one.who.holder
        ),
        "one leads, as it should",
    )
