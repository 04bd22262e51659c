"""Ten thousand entries of which none is due: what a leader and a standby cost by merely being there."""

import json
import time
from typing import Final

import redis

from benchmarks import contenders
from benchmarks.contenders import POSTGRES, Contender
from benchmarks.figures import Goal, Row
from benchmarks.rig import PATIENCE_S, Rig, Wanted, busy_s, execute, stopped_after
from demo.services import HOST
from demo.site import Site
from demo.waiting import wait_until
from tests.faults.wire import Wires

ENTRIES: Final = 10_000
SETTLED_S: Final = 6.0
ROLES: Final = ("leader", "standby")
BEATS: Final = "{cutover:cutover}:beats"


def idle(rig: Rig) -> list[Row]:
    """The part."""
    rows: list[Row] = []
    for who in (contenders.ROWS_POSTGRES, contenders.ROWS, contenders.CODE)[: None if rig.full else 2]:
        rows += _two(rig, who)
    for who in (contenders.STOCK_POSTGRES, contenders.REDBEAT_TUNED, contenders.MULTIBEAT_TUNED) if rig.full else ():
        rows += _two(rig, who)
    return rows


def warm(client: redis.Redis) -> set[int]:
    """The process ids of the beats that could lead at once, by their own word."""
    said = [json.loads(report.split(b" ", 2)[2]) for report in client.hvals(BEATS)]
    return {each["pid"] for each in said if each["warm"]}


def _has_ticked(site: Site) -> bool:
    ticked = "SELECT COUNT(*) FROM cutover_term WHERE first_tick_at IS NOT NULL"
    return bool(execute(site.settings["DATABASE_URL"], ticked)[0][0])


def _two(rig: Rig, who: Contender) -> list[Row]:
    """A leader and, where it may have one, a standby; their commands are counted on the way, for the server counts each
    that a script makes as well.
    """
    with Wires() as wires:
        return _counted(rig, who, wires)


def _counted(rig: Rig, who: Contender, wires: Wires) -> list[Row]:
    entries = rig.scaled(ENTRIES)
    site, seconds = rig.site_for(who, Wanted("seldom", entries)), 60.0 if rig.full else 30.0
    roles = ROLES if who.takes_over else ROLES[:1]
    beats, ways = [], []
    for role in roles:
        ways.append(wires.to_port(rig.valkey.port))
        beats.append(rig.beat(site, who, role, PGAPPNAME=role, REDIS_URL=f"redis://{HOST}:{ways[-1].port}/0"))
        if who.is_ours:
            with rig.valkey.client() as client:
                wait_until(lambda: len(warm(client)) == len(beats), f"the {role} is warm", PATIENCE_S)
        else:
            time.sleep(2 * who.ready_s)
    with stopped_after(*beats):
        if who.is_ours:
            wait_until(lambda: _has_ticked(site), "the leader has settled the schedule", PATIENCE_S)
        time.sleep(SETTLED_S)
        before = [(busy_s(beat), way.requests) for beat, way in zip(beats, ways, strict=True)]
        began = time.monotonic()
        if who.engine == POSTGRES:
            with rig.statements(site) as asked:
                time.sleep(seconds)
        else:
            time.sleep(seconds)
        elapsed_s = time.monotonic() - began
        after = [(busy_s(beat), way.requests) for beat, way in zip(beats, ways, strict=True)]
    rows: list[Row] = []
    for role, (busy, sent), (busy_then, sent_then) in zip(roles, before, after, strict=True):
        what = f"{entries:,} entries, idle: {role}"
        ours = who.is_ours
        share, rate = 100 * (busy_then - busy) / elapsed_s, (sent_then - sent) / elapsed_s
        rows.append(Row(f"{what}, of a core", who.name, (share,), "%", Goal(0.3) if ours else None))
        rows.append(Row(f"{what}, Redis commands", who.name, (rate,), "/s", Goal(2) if ours else None))
        if who.engine == POSTGRES:
            statements = asked.of(role) / seconds
            rows.append(Row(f"{what}, SQL statements", who.name, (statements,), "/s", Goal(1) if ours else None))
    return rows
