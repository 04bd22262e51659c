"""Magnitudes of lengths: as Python counts them, and in the SQL of each kind of database."""

from bisect import bisect_right
from typing import Final


class Scale:
    """Lengths by the bounds they lie between, each of which is one of ``digits`` and noughts; the first digit is 1.

    ``bounds_ms``: where one magnitude ends and the next begins, from a millisecond to half a day and more.
    """

    def __init__(self, *digits: int) -> None:
        self.bounds_ms: Final = tuple(digit * 10**power for power in range(8) for digit in digits)
        self._each = len(digits)
        self._ranks = "".join(str(bisect_right(digits, first)) for first in range(10))

    def magnitude(self, length_ms: int) -> int:
        """How many of the bounds are at most that long. Pure."""
        return bisect_right(self.bounds_ms, length_ms)

    def sql(self, vendor: str, column: str) -> str:
        """The magnitude of a column of whole milliseconds, as that kind of database says it; null where it is null."""
        bounds = ", ".join(map(str, self.bounds_ms))
        match vendor:
            case "postgresql":
                return f"WIDTH_BUCKET({column}, ARRAY[{bounds}]::float8[])"
            case "mysql":
                return f"NULLIF(INTERVAL({column}, {bounds}), -1)"
            case _:
                length = f"MAX({column}, 0)"
                rank = f"SUBSTR('{self._ranks}', 1 + SUBSTR({length}, 1, 1), 1)"
                return f"MIN({self._each} * LENGTH({length}) - {self._each} + {rank}, {len(self.bounds_ms)})"


FINE: Final = Scale(*range(1, 10))
ROUGH: Final = Scale(1, 2, 3, 5)
"""For one entry: of 10,000 entries, each with all magnitudes of the fine one, a database has more groups than its
processor's caches hold, and takes a fifth longer."""
