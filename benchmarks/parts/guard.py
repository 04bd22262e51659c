"""What the run guard costs a real worker: tasks a second that do nothing, of a slot and of none."""

import time
from typing import Final

from benchmarks import contenders
from benchmarks.contenders import ENGINES, POSTGRES
from benchmarks.figures import Goal, Row, ratio
from benchmarks.rig import QUEUE, Rig, busy_s, run, stopped_after
from demo.processes import python
from demo.site import Site
from demo.waiting import wait_until

MESSAGES: Final = 3_000
WARM: Final = 200
"""After so many the clock starts: imports, connections and the first look at the tables are over."""
PLAIN, GUARDED, OF_SLOT = "no guard", "guarded, no slot", "guarded, of a slot"
ONE_UPDATE: Final = "no guard, one bare UPDATE"
CASES: Final = {
    PLAIN: ("benchmarks.plain", "messages"),
    ONE_UPDATE: ("benchmarks.one_update", "slots"),
    GUARDED: ("prayer_room_api", "messages"),
    OF_SLOT: ("prayer_room_api", "slots"),
}
POOLS: Final = ("prefork", "threads")
PATIENCE_S: Final = 120.0


def guard(rig: Rig) -> list[Row]:
    """The part."""
    rows: list[Row] = []
    for engine in ENGINES if rig.full else (POSTGRES,):
        for pool in POOLS:
            found: dict[str, list[tuple[float, float]]] = {case: [] for case in CASES}
            for _ in rig.times(1):
                for case in CASES:
                    found[case].append(_rate(rig, engine, pool, case))
            what = f"no-op tasks, {pool}, {engine}"
            rates = {case: Row(what, case, tuple(each[0] for each in some), "/s") for case, some in found.items()}
            cost = [
                Row(f"{what}: processor time a task", case, tuple(each[1] for each in some), "us")
                for case, some in found.items()
            ]
            without = ratio(rates[GUARDED], rates[PLAIN], Goal(0.99, is_least=True))
            rows += [*rates.values(), without, ratio(rates[OF_SLOT], rates[GUARDED], Goal(0.9, is_least=True))]
            rows += [ratio(rates[ONE_UPDATE], rates[PLAIN]), ratio(rates[OF_SLOT], rates[ONE_UPDATE]), *cost]
    return [*rows, _statements(rig)]


def _worker(site: Site, pool: str, case: str, concurrency: int = 2) -> list[str]:
    app = f"-A {CASES[case][0]} worker --without-gossip --without-mingle --loglevel ERROR".split()
    return python("-m", "celery", *app, "-P", pool, "-c", str(concurrency))


def _queued(rig: Rig, engine: str, case: str, number: int) -> Site:
    site = rig.site(engine)
    run(site, python("-m", "benchmarks.prepare", CASES[case][1], str(number)))
    return site


def _rate(rig: Rig, engine: str, pool: str, case: str) -> tuple[float, float]:
    """Tasks a second, and the worker's processor time for each, in microseconds."""
    number = rig.scaled(MESSAGES) + WARM
    site = _queued(rig, engine, case, number)
    worker = site.start("worker", " ".join(_worker(site, pool, case)))
    with stopped_after(worker), rig.valkey.client() as client:
        wait_until(lambda: client.llen(QUEUE) <= number - WARM, "the worker is warm", PATIENCE_S, poll_s=0.001)
        began, busy, left = time.perf_counter(), busy_s(worker), client.llen(QUEUE)
        wait_until(lambda: not client.llen(QUEUE), "all is run", PATIENCE_S, poll_s=0.001)
        return left / (time.perf_counter() - began), (busy_s(worker) - busy) / left * 1e6


def _statements(rig: Rig) -> Row:
    """How many statements the database is asked for one guarded run, on average."""
    site = _queued(rig, contenders.POSTGRES, OF_SLOT, WARM)
    with rig.statements(site) as asked:
        worker = site.start("worker", " ".join(_worker(site, "prefork", OF_SLOT, 1)), PGAPPNAME="worker")
        with stopped_after(worker), rig.valkey.client() as client:
            unacked = ("unacked", QUEUE)
            wait_until(lambda: not any(client.exists(key) for key in unacked), "all is run", PATIENCE_S)
    return Row("SQL statements a guarded run", "cutover", (asked.of("worker") / WARM,), "", note=f"{WARM} runs")
