"""Entries that all fall due at one instant: when the first message is at the broker, and how many a second follow."""

import datetime as dt
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import redis

from benchmarks import contenders, zones
from benchmarks.contenders import Contender
from benchmarks.figures import Goal, Row, ratio
from benchmarks.rig import QUEUE, Rig, Wanted, execute, stopped_after, utc_now
from demo.processes import Process, python
from demo.site import Site

ENTRIES: Final = 5_000
OF_SLOW: Final = 300
"""Stock beats compare all entries at every tick: the rate of so many messages is theirs."""
MINUTE: Final = dt.timedelta(minutes=1)
"""So often it happens again, for whoever was not ready."""
PATIENCE_S: Final = 90.0


@dataclass(frozen=True)
class Burst:
    """One burst: messages a second, from the first to the last; how long after its instant the first one came."""

    rate: float
    first_ms: float = 0.0


def at_an_instant(rig: Rig, who: Contender, entries: int, ready_s: float, **env: str) -> tuple[Site, dt.datetime]:
    """A site all of whose entries fall due at one instant, ``ready_s`` and a little from now, and every minute then."""
    instant = utc_now().replace(microsecond=0) + dt.timedelta(seconds=2 + ready_s)
    zone = zones.of(instant)
    site = rig.site_for(who, Wanted("crowd", entries), BENCH_ZONE=zone, **env)
    if not who.in_code:
        url, now = site.settings["DATABASE_URL"], utc_now().replace(tzinfo=None)
        execute(url, f"UPDATE django_celery_beat_crontabschedule SET timezone = '{zone}'")  # noqa: S608
        # The rows are a while old where this is no first sample, and would be owed the minute before at once.
        execute(url, f"UPDATE django_celery_beat_periodictask SET date_changed = '{now}'")  # noqa: S608
    return site, instant


def measure(rig: Rig, who: Contender, enough: int) -> Burst:
    """Have ``who`` send what falls due at one instant, a few seconds after its start."""
    entries = rig.scaled(ENTRIES)
    site, instant = at_an_instant(rig, who, entries, who.ready_s * entries / ENTRIES)
    beat = rig.beat(site, who)
    with stopped_after(beat):
        first, last = curve(rig, beat, min(enough, entries))
    late = (dt.datetime.fromtimestamp(first[0], dt.UTC) - instant + MINUTE / 2) % MINUTE - MINUTE / 2
    return Burst(rate_of(first, last), late / dt.timedelta(milliseconds=1))


def ceiling(rig: Rig, kind: str) -> Burst:
    """What one process sends in a bare loop: ``apply_async`` or ``publish``."""
    number = rig.scaled(ENTRIES)
    site = rig.site(contenders.SQLITE)
    process = site.start(kind, python("-m", "benchmarks.ceiling", kind, str(number)))
    with stopped_after(process):
        return Burst(sent_between(rig, process, number))


def burst(rig: Rig) -> list[Row]:
    """The parts ``burst`` and ``first-message``, which are one measurement."""
    what = f"{rig.scaled(ENTRIES):,} due at once"
    loops = [("apply_async", "celery's apply_async in a loop"), ("publish", "kombu's publish in a loop")]
    whom = [contenders.REDBEAT, *contenders.OURS]
    sampled: dict[str, list[Burst]] = {name: [] for name in (*dict(loops).values(), *(who.name for who in whom))}
    for _ in rig.times(1):
        for kind, name in loops:
            sampled[name].append(ceiling(rig, kind))
        for who in whom:
            sampled[who.name].append(measure(rig, who, ENTRIES))
    for who in _slow(rig):
        sampled[who.name] = [measure(rig, who, OF_SLOW) for _ in rig.times(1)]
    rates = {name: Row(what, name, tuple(each.rate for each in found), "/s") for name, found in sampled.items()}
    loop, redbeat = rates[loops[0][1]], rates[contenders.REDBEAT.name]
    rows = list(rates.values())
    for who in contenders.OURS:
        rows.append(ratio(rates[who.name], loop, Goal(1.2, is_least=True)))
        rows.append(ratio(rates[who.name], redbeat, Goal(2.0, is_least=True)))
    for who in (contenders.REDBEAT, *contenders.OURS):
        late = tuple(each.first_ms for each in sampled[who.name])
        rows.append(Row("first message after the instant", who.name, late, "ms", Goal(20) if who.is_ours else None))
    return rows


def _slow(rig: Rig) -> Iterator[Contender]:
    yield from (contenders.STOCK_CODE, contenders.STOCK_ROWS)
    if rig.full:
        yield from (contenders.STOCK_POSTGRES_0, contenders.STOCK_POSTGRES, contenders.MULTIBEAT)


def sent_between(rig: Rig, sender: Process, number: int) -> float:
    """Messages a second, from the first one in the queue from now on until there are so many."""
    return rate_of(*curve(rig, sender, number))


def rate_of(first: tuple[float, int], last: tuple[float, int]) -> float:
    """Messages a second in between."""
    return (last[1] - first[1]) / (last[0] - first[0])


def curve(rig: Rig, sender: Process, enough: int) -> tuple[tuple[float, int], tuple[float, int]]:
    """When how many messages were seen in the queue, in seconds since 1970: at first, and when there were enough."""
    with rig.valkey.client() as client:
        first = _seen(client, sender, 1)
        return first, _seen(client, sender, enough)


def _seen(client: redis.Redis, sender: Process, least: int) -> tuple[float, int]:
    ends_s = time.monotonic() + PATIENCE_S
    while (length := client.llen(QUEUE)) < least:
        if time.monotonic() > ends_s:
            raise TimeoutError(f"{sender.name} sent {length} of {least} messages:\n{sender.output[-2000:]}")
        time.sleep(0.001)
    return time.time(), length
