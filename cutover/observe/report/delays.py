"""Lateness as counts of magnitudes: percentiles and histograms of any number of slots, in bounded memory. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cutover.observe.report.scale import BOUNDS_MS, magnitude

STEPS_MS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 60_000, 600_000, 3_000_000)
"""The steps of a histogram, each up to that long; bounds of magnitudes, so that none is between two counts."""


@dataclass(frozen=True, slots=True)
class Delays:
    """How late slots were, in milliseconds: ``p50`` and ``p95`` are round bounds, surely not exceeded.

    ``slots``: of how many; with 0 the others are None, and where only the longest was looked for both percentiles are.
    ``longest`` is exact.
    """

    slots: int = 0
    p50_ms: int | None = None
    p95_ms: int | None = None
    longest_ms: int | None = None


def delays(counts: Mapping[int, int], longest_ms: int | None) -> Delays:
    """What ``counts`` of magnitudes tell."""
    slots = sum(counts.values())
    if not slots or longest_ms is None:
        return Delays()
    p50_ms, p95_ms = (_percentile(counts, slots, of_100, (*BOUNDS_MS, longest_ms)) for of_100 in (50, 95))
    return Delays(slots, min(p50_ms, longest_ms), min(p95_ms, longest_ms), longest_ms)


def _percentile(counts: Mapping[int, int], slots: int, of_100: int, bounds_ms: Sequence[int]) -> int:
    reached = 0
    for size in sorted(counts):
        reached += counts[size]
        if reached * 100 >= slots * of_100:
            return bounds_ms[size]
    return bounds_ms[-1]


def histogram(counts: Mapping[int, int]) -> Sequence[int]:
    """How many slots were within each of ``STEPS_MS``, and beyond the last, by ``counts`` of magnitudes."""
    found: Counter[int] = Counter()
    for size, slots in counts.items():
        found[next((n for n, step in enumerate(STEPS_MS) if size < magnitude(step)), len(STEPS_MS))] += slots
    return [found[n] for n in range(len(STEPS_MS) + 1)]
