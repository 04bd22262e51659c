"""From the start of the process to its first message, with ten thousand entries, and the memory that takes."""

import time
from typing import Final

from benchmarks import contenders
from benchmarks.contenders import Contender
from benchmarks.figures import Goal, Row, ratio
from benchmarks.rig import Rig, Wanted, memory_mb, stopped_after

ENTRIES: Final = 10_000
PULSE_MS: Final = 10
"""One more entry, due at once: its message is the sign of the first tick."""


def boot(rig: Rig) -> list[Row]:
    """The part."""
    rows: list[Row] = []
    pairs = [(contenders.ROWS, contenders.STOCK_ROWS)]
    if rig.full:
        pairs.append((contenders.ROWS_POSTGRES, contenders.STOCK_POSTGRES))
    for ours, stock in pairs:
        found: dict[str, list[tuple[float, float]]] = {ours.name: [], stock.name: []}
        for _ in rig.times(3):
            for who in (ours, stock):
                found[who.name].append(_boot(rig, who))
        what = f"{rig.scaled(ENTRIES):,} entries, start to first message"
        times = {name: Row(what, name, tuple(each[0] for each in some), "s") for name, some in found.items()}
        memory = {
            name: Row("memory at most", name, tuple(each[1] for each in some), "MB") for name, some in found.items()
        }
        for each in (times, memory):
            rows += [*each.values(), ratio(each[ours.name], each[stock.name], Goal(1.1))]
    if rig.full:
        others = (contenders.REDBEAT, contenders.MULTIBEAT)
        rows += [Row(what, who.name, tuple(_boot(rig, who)[0] for _ in rig.times(1)), "s") for who in others]
    return rows


def _boot(rig: Rig, who: Contender) -> tuple[float, float]:
    """Seconds and megabytes."""
    site = rig.site_for(who, Wanted("seldom", rig.scaled(ENTRIES), PULSE_MS))
    with rig.tape() as tape:
        began = time.time()
        beat = rig.beat(site, who)
        with stopped_after(beat):
            handed = rig.first_handed(tape)
            return handed.at.timestamp() - began, memory_mb(beat)
