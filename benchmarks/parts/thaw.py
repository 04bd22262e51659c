"""A leader is frozen among 500 messages, longer than its lease, and thawed: how many slots get a second message?"""

import signal
import time
from typing import Final

from benchmarks import contenders
from benchmarks.contenders import Contender
from benchmarks.figures import Goal, Row
from benchmarks.parts.burst import at_an_instant
from benchmarks.rig import QUEUE, Rig, stopped_after
from demo.waiting import wait_until

ENTRIES: Final = 500
LEASE_S: Final = 3.0
READY_S: Final = 3.0
SETTLED_S: Final = 2.0
PATIENCE_S: Final = 90.0


def thaw(rig: Rig) -> list[Row]:
    """The part."""
    ours = (contenders.ROWS_POSTGRES, contenders.ROWS) if rig.full else (contenders.ROWS_POSTGRES,)
    others = (contenders.REDBEAT_TUNED, contenders.MULTIBEAT_TUNED) if rig.full else ()
    rows: list[Row] = []
    for who in (*ours, *others):
        found = [_second_messages(rig, who) for _ in rig.times(1)]
        swept, thawed = (tuple(map(float, column)) for column in zip(*found, strict=True))
        what = f"frozen among {rig.scaled(ENTRIES):,} due: second messages"
        rows.append(
            Row(f"{what} of the thawed leader", who.name, thawed, "", Goal(1, worst=True) if who.is_ours else None)
        )
        rows.append(Row(f"{what} of its successor", who.name, swept, ""))
    return rows


def _second_messages(rig: Rig, who: Contender) -> tuple[int, int]:
    """Those that came while the leader was frozen, and those that came once it was thawed."""
    entries = rig.scaled(ENTRIES)
    site, _ = at_an_instant(rig, who, entries, 2 * READY_S, BENCH_LEASE=str(LEASE_S))
    leader = rig.beat(site, who, "one")
    time.sleep(READY_S)  # the first one leads
    with stopped_after(leader, rig.beat(site, who, "two")), rig.valkey.client() as client:
        wait_until(lambda: client.llen(QUEUE) >= entries // 5, "some are sent", PATIENCE_S, poll_s=0.0005)
        leader.send_to_group(signal.SIGSTOP)
        wait_until(lambda: client.llen(QUEUE) >= entries, "another has sent the rest", PATIENCE_S)
        time.sleep(SETTLED_S)
        frozen = client.llen(QUEUE) - entries
        leader.send_to_group(signal.SIGCONT)
        time.sleep(SETTLED_S)
        return frozen, client.llen(QUEUE) - entries - frozen
