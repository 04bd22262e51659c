"""The lease's contract, against a real server."""

import datetime as dt
import threading
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from cutover.election.lease import RELEASED, SCHEDULE, SWITCHED, Details, Lease, Renewal
from cutover.errors import LeaseRefused, LeaseUnavailable
from cutover.types import HolderId, Identity, Side
from demo.services import HOST, Valkey, free_port
from demo.waiting import wait_until
from tests.support.rooms import in_threads

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("nothing_left")]

TTL = dt.timedelta(milliseconds=400)
LONG = dt.timedelta(seconds=30)
KEY = "{cutover:tests}:lease"


@pytest.fixture
def lease(redis_client: redis.Redis) -> Lease:
    return Lease(redis_client, "tests", LONG)


@pytest.fixture
def short(redis_client: redis.Redis) -> Lease:
    return Lease(redis_client, "tests", TTL)


@pytest.fixture
def a(identity: Callable[..., Identity]) -> Identity:
    return identity("a")


@pytest.fixture
def b(identity: Callable[..., Identity]) -> Identity:
    return identity("b")


@pytest.fixture
def heard(redis_client: redis.Redis, lease: Lease) -> Iterator[Callable[[], str | None]]:
    """What was said on the wake channel since the last look."""
    with redis_client.pubsub(ignore_subscribe_messages=True) as inbox:
        inbox.subscribe(lease.channel)
        wait_until(lambda: redis_client.pubsub_numsub(lease.channel)[0][1] == 1, "subscribed")

        def hear() -> str | None:
            message = inbox.get_message(timeout=0.5) or inbox.get_message(timeout=0.2)
            return message["data"] if message else None

        yield hear


def details(side: Side, role: str = "standby") -> Details:
    return Details(
        side=side, host="h", pid=1, release="r", role=role, warm=True, schedule_version="v", entries=3, client_id=7
    )


# --- acquire ----------------------------------------------------------------------------------------------------------


def test_a_free_lease_is_taken_and_seen_by_all(lease, a):
    assert lease.view() is None
    assert lease.acquire(a, Side.CODE, 7) is None
    view = lease.view()
    assert (view.holder, view.side, view.client_id) == (a.holder, Side.CODE, 7)
    assert LONG - dt.timedelta(seconds=2) < view.remaining <= LONG


def test_a_held_lease_is_refused_and_the_holder_named(lease, a, b):
    lease.acquire(a, Side.CODE, 7)
    refused = lease.acquire(b, Side.CODE, 8)
    assert (refused.holder, refused.side, refused.client_id) == (a.holder, Side.CODE, 7)
    assert lease.view().holder == a.holder


def test_ones_own_lease_is_taken_again(lease, a):
    lease.acquire(a, Side.CODE, 7)
    assert lease.acquire(a, Side.CODE, 9) is None
    assert lease.view().client_id == 9


def test_a_holder_of_the_other_side_is_displaced(lease, a, b):
    lease.acquire(a, Side.CODE, 7)
    assert lease.acquire(b, Side.DATABASE, 8) is None
    assert (lease.view().holder, lease.view().side) == (b.holder, Side.DATABASE)


def test_a_holder_known_to_be_dead_is_displaced_and_nobody_else(lease, a, b, identity):
    lease.acquire(a, Side.CODE, 7)
    assert lease.acquire(b, Side.CODE, 8, dead=(identity().holder, 7)).holder == a.holder
    assert lease.acquire(b, Side.CODE, 8, dead=(a.holder, 6)).holder == a.holder, "it has reconnected since"
    assert lease.acquire(b, Side.CODE, 8, dead=(a.holder, 7)) is None
    assert lease.acquire(a, Side.CODE, 7, dead=(identity().holder, 8)).holder == b.holder


def test_of_many_at_once_exactly_one_takes_it(lease, redis_client, identity):
    for _ in range(20):
        redis_client.delete(KEY)
        outcomes = in_threads(*[lambda: lease.acquire(identity(), Side.CODE, 1)] * 6)
        assert outcomes.count(None) == 1


# --- time -------------------------------------------------------------------------------------------------------------


def test_a_lease_ends_by_itself_on_the_servers_clock(short, a, b):
    short.acquire(a, Side.CODE, 7)
    assert short.acquire(b, Side.CODE, 8) is not None
    wait_until(lambda: short.view() is None, "the lease has run out", timeout_s=2, poll_s=0.01)
    assert short.acquire(b, Side.CODE, 8) is None


def test_a_renewed_lease_does_not_end(short, a, b):
    short.acquire(a, Side.CODE, 7)
    began = dt.datetime.now(dt.UTC)

    def renewed_long_enough() -> bool:
        assert short.renew(a, Side.CODE, 7) is Renewal.RENEWED
        assert short.acquire(b, Side.CODE, 8).holder == a.holder
        return dt.datetime.now(dt.UTC) - began > 3 * TTL

    wait_until(renewed_long_enough, "three lease times have passed")


def test_every_lease_that_stands_has_an_end(lease, redis_client, a, b):
    for act in (
        lambda: lease.acquire(a, Side.CODE, 7),
        lambda: lease.renew(a, Side.CODE, 7),
        lambda: lease.acquire(b, Side.DATABASE, 8),
        lambda: (redis_client.delete(KEY), lease.renew(b, Side.DATABASE, 8)),
    ):
        act()
        assert 0 < redis_client.pttl(KEY) <= LONG.total_seconds() * 1000


# --- renew and release ------------------------------------------------------------------------------------------------


def test_another_ones_lease_is_not_renewed(lease, redis_client, a, b):
    lease.acquire(a, Side.CODE, 7)
    redis_client.pexpire(KEY, 5_000)
    assert lease.renew(b, Side.CODE, 8) is Renewal.LOST
    assert redis_client.pttl(KEY) <= 5_000
    assert lease.view().holder == a.holder


def test_a_lease_that_the_server_lost_is_put_back(lease, redis_client, a, b):
    lease.acquire(a, Side.CODE, 7)
    redis_client.flushall()
    assert lease.renew(a, Side.CODE, 9) is Renewal.RESTORED
    assert (lease.view().holder, lease.view().client_id) == (a.holder, 9)
    assert lease.acquire(b, Side.CODE, 8).holder == a.holder


def test_a_lease_that_somebody_took_meanwhile_is_not_put_back(lease, redis_client, a, b):
    lease.acquire(a, Side.CODE, 7)
    redis_client.flushall()
    lease.acquire(b, Side.CODE, 8)
    assert lease.renew(a, Side.CODE, 7) is Renewal.LOST


def test_renewing_tells_the_connection_of_today(lease, a):
    lease.acquire(a, Side.CODE, 7)
    lease.renew(a, Side.CODE, 12)
    assert lease.view().client_id == 12


def test_a_lease_given_back_is_free_and_all_are_woken(lease, heard, a):
    lease.acquire(a, Side.CODE, 7)
    assert lease.release(a.holder) is True
    assert lease.view() is None
    assert heard() == RELEASED


def test_another_ones_lease_is_not_given_back(lease, heard, a, b):
    lease.acquire(a, Side.CODE, 7)
    assert lease.release(b.holder) is False
    assert lease.view().holder == a.holder
    assert heard() is None


def test_giving_back_twice_does_nothing_the_second_time(lease, a):
    lease.acquire(a, Side.CODE, 7)
    assert [lease.release(a.holder) for _ in range(2)] == [True, False]


# --- switch -----------------------------------------------------------------------------------------------------------


def test_a_switch_drops_the_other_sides_lease_and_wakes_all(lease, heard, a):
    lease.acquire(a, Side.CODE, 7)
    lease.switch(Side.DATABASE)
    assert lease.view() is None
    assert heard() == f"{SWITCHED}database"


def test_a_switch_leaves_the_new_sides_leader_in_office_and_wakes_all(lease, heard, a):
    lease.acquire(a, Side.DATABASE, 7)
    lease.switch(Side.DATABASE)
    assert lease.view().holder == a.holder
    assert heard() == f"{SWITCHED}database"


def test_a_schedule_is_announced_to_all(lease, heard):
    lease.announce_schedule()
    assert heard() == SCHEDULE


def test_a_poke_names_whom_it_is_for(lease, heard, a):
    lease.poke(a.holder)
    assert heard() == f"poked {a.holder}"


# --- presence ---------------------------------------------------------------------------------------------------------


def test_a_report_says_all_of_a_beat_and_returns_who_leads(lease, a, b):
    assert lease.report(b, details(Side.DATABASE), LONG) is None
    lease.acquire(a, Side.CODE, 7)
    assert lease.report(b, details(Side.DATABASE), LONG).holder == a.holder
    (beat,) = lease.beats()
    assert (beat.holder, beat.side, beat.role, beat.warm) == (b.holder, Side.DATABASE, "standby", True)
    assert (beat.host, beat.pid, beat.release, beat.schedule_version, beat.client_id) == ("h", 1, "r", "v", 7)
    assert dt.timedelta(0) <= beat.seen_ago < dt.timedelta(seconds=5)


def test_a_beat_that_reports_no_more_is_forgotten(lease, redis_client, a, b):
    lease.report(a, details(Side.CODE), dt.timedelta(milliseconds=100))
    lease.report(b, details(Side.CODE), LONG)
    wait_until(
        lambda: [beat.holder for beat in lease.beats()] == [b.holder], "a is forgotten", timeout_s=2, poll_s=0.02
    )
    assert redis_client.hkeys("{cutover:tests}:beats") == [b.holder]


def test_a_beat_that_leaves_is_gone_at_once(lease, a):
    lease.report(a, details(Side.CODE), LONG)
    lease.leave(a.holder)
    assert lease.beats() == []


def test_a_report_of_another_release_is_read_or_passed_over(lease, redis_client, a):
    redis_client.hset("{cutover:tests}:beats", "old", "no report at all")
    lease.report(a, details(Side.CODE), LONG)
    assert [beat.holder for beat in lease.beats()] == [a.holder]


def test_what_the_details_say_is_kept_to_the_letter(lease, identity):
    odd = Identity(HolderId('ä "b"\n%s:1:2'), "h", 1, "r")
    lease.report(odd, details(Side.CODE), LONG)
    assert [beat.holder for beat in lease.beats()] == [odd.holder]


# --- evidence of life -------------------------------------------------------------------------------------------------


def test_a_connection_is_seen_while_it_lives_and_not_thereafter(lease, redis_client):
    with redis_client.client() as one:
        client_id = int(one.client_id())
        assert lease.is_connected(client_id) is True
        assert lease.listed(client_id, 2**40) == {client_id}
        redis_client.client_kill_filter(_id=client_id)
        assert lease.is_connected(client_id) is False
        assert lease.listed(client_id, 2**40) == frozenset()


def test_a_server_that_does_not_show_connections_leaves_it_open(valkey, redis_client, lease):
    redis_client.execute_command("ACL", "SETUSER", "narrow", "on", ">pw", "~*", "&*", "+@all", "-client")
    with client_at(valkey.port, username="narrow", password="pw") as client:
        assert Lease(client, "tests", LONG).is_connected(1) is None
    redis_client.execute_command("ACL", "DELUSER", "narrow")


# --- namespaces and failures ------------------------------------------------------------------------------------------


def test_two_namespaces_do_not_meet(redis_client, lease, a, b):
    other = Lease(redis_client, "others", LONG)
    lease.acquire(a, Side.CODE, 7)
    assert other.acquire(b, Side.CODE, 8) is None
    assert lease.view().holder == a.holder
    other.switch(Side.DATABASE)
    assert lease.view().holder == a.holder


def test_all_keys_lie_on_one_node_of_a_cluster(redis_client, lease, a):
    lease.acquire(a, Side.CODE, 7)
    lease.report(a, details(Side.CODE), LONG)
    slots = {redis_client.execute_command("CLUSTER", "KEYSLOT", key) for key in redis_client.scan_iter()}
    assert len(redis_client.keys()) == 2
    assert len(slots) == 1


def test_a_server_that_forgot_the_scripts_is_told_them_again(redis_client, lease, a):
    lease.acquire(a, Side.CODE, 7)
    redis_client.script_flush()
    assert lease.renew(a, Side.CODE, 7) is Renewal.RENEWED


METHODS = {
    "acquire": lambda lease, who: lease.acquire(who, Side.CODE, 7),
    "renew": lambda lease, who: lease.renew(who, Side.CODE, 7),
    "release": lambda lease, who: lease.release(who.holder),
    "switch": lambda lease, who: lease.switch(Side.CODE),
    "report": lambda lease, who: lease.report(who, details(Side.CODE), LONG),
    "leave": lambda lease, who: lease.leave(who.holder),
    "view": lambda lease, who: lease.view(),
    "beats": lambda lease, who: lease.beats(),
    "is_connected": lambda lease, who: lease.is_connected(7),
    "announce_schedule": lambda lease, who: lease.announce_schedule(),
    "memory": lambda lease, who: lease.memory(),
    "probe": lambda lease, who: lease.probe(),
    "poke": lambda lease, who: lease.poke(who.holder),
}


def client_at(port: int, **options: object) -> redis.Redis:
    return redis.Redis(host=HOST, port=port, retry=Retry(NoBackoff(), 0), decode_responses=True, **options)


@pytest.mark.parametrize("method", METHODS)
def test_without_a_server_every_method_says_so(method, a):
    with client_at(free_port()) as client, pytest.raises(LeaseUnavailable, match="Redis gives no answer"):
        METHODS[method](Lease(client, "tests", LONG), a)


@pytest.mark.parametrize("method", ["acquire", "renew", "report", "leave", "probe"])
def test_a_replica_is_told_from_a_primary(valkey, redis_client, lease, a, method):
    redis_client.replicaof("127.0.0.1", 1)
    try:
        with pytest.raises(LeaseRefused, match="read-only: point the alias at the primary") as told:
            METHODS[method](lease, a)
    finally:
        redis_client.replicaof("NO", "ONE")
    assert not told.value.remedy, "it is there: nobody is told to start it"


def test_a_refusal_is_told_from_no_answer(redis_client, lease):
    redis_client.set("{cutover:tests}:lease", "of another program")
    try:
        with pytest.raises(LeaseRefused, match=r"Redis refuses: WRONGTYPE .*Look at its log"):
            lease.view()
    finally:
        redis_client.delete("{cutover:tests}:lease")


def test_a_full_server_says_what_to_do(redis_client, lease, a):
    redis_client.config_set("maxmemory", 1)
    try:
        with pytest.raises(LeaseRefused, match="out of memory: raise maxmemory") as told:
            lease.report(a, details(Side.CODE), LONG)
    finally:
        redis_client.config_set("maxmemory", 0)
    assert not told.value.remedy, "it is there: nobody is told to start it"


def test_a_server_that_lets_nobody_in_says_so_in_one_line(valkey: Valkey, a):
    with client_at(valkey.port, username="nobody", password="pw") as client, pytest.raises(LeaseUnavailable) as told:
        Lease(client, "tests", LONG).view()
    assert "\n" not in str(told.value)
    assert "pw" not in str(told.value)


# --- the point of it all ----------------------------------------------------------------------------------------------


def test_threads_that_count_only_under_the_lease_lose_no_count(valkey, redis_client, identity):
    """The counter is read and written without any other lock; each thread takes the lease, counts, gives it back."""
    rounds, threads = 40, 5
    counter, numbers = {"value": 0}, count(1)

    def won(lease: Lease, who: Identity) -> bool:
        return lease.acquire(who, Side.CODE, next(numbers)) is None

    def work() -> None:
        with valkey.client(decode_responses=True) as client:
            lease = Lease(client, "tests", LONG)
            for _ in range(rounds):
                who = identity()
                wait_until(partial(won, lease, who), "the lease was won", poll_s=0.0005)
                seen = counter["value"]
                lease.renew(who, Side.CODE, 1)  # a round trip, in which every other thread may run
                counter["value"] = seen + 1
                assert lease.release(who.holder)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert counter["value"] == rounds * threads
    assert redis_client.keys() == []
