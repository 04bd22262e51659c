"""Magnitudes of lengths: as Python counts them, and in the SQL of each kind of database.

A magnitude is that of a length's first digit: it ends where the next begins, from a millisecond to a day.
"""

from bisect import bisect_right
from typing import Final

BOUNDS_MS: Final = tuple(digit * 10**power for power in range(8) for digit in range(1, 10))


def magnitude(length_ms: int) -> int:
    """How many of the bounds are at most that long. Pure."""
    return bisect_right(BOUNDS_MS, length_ms)


def sql(vendor: str, column: str) -> str:
    """The magnitude of a column of milliseconds, on SQLite whole ones, in that kind's SQL; null where it is null."""
    bounds = ", ".join(map(str, BOUNDS_MS))
    match vendor:
        case "postgresql":
            return f"WIDTH_BUCKET({column}, ARRAY[{bounds}]::float8[])"
        case "mysql":
            return f"NULLIF(INTERVAL({column}, {bounds}), -1)"
        case _:
            # No text of the number: that takes memory, for which the threads of a process wait for each other.
            powers = len(BOUNDS_MS) // 9
            whens = " ".join(
                f"WHEN {column} < {10 ** (power + 1)} THEN {9 * power} + {column} / {10**power}"
                for power in range(powers)
            )
            return f"CASE WHEN {column} < 1 THEN 0 {whens} WHEN {column} >= {10**powers} THEN {len(BOUNDS_MS)} END"
