"""How long to wait before the next try, as a value: doubling, bounded, with jitter."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Backoff:
    """The waits after failures in a row: ``first_s`` (> 0), then twice as long each time, up to ``most_s``."""

    first_s: float
    most_s: float
    failures: int = 0

    def failed(self) -> Backoff:
        """After one more failure."""
        return replace(self, failures=self.failures + 1)

    def succeeded(self) -> Backoff:
        """After a success: the next failure is the first one again."""
        return replace(self, failures=0)

    def wait_s(self, jitter: float) -> float:
        """How long to wait now, from half of it (``jitter`` 0) to the whole (``jitter`` 1); 0 where nothing failed."""
        if not self.failures:
            return 0.0
        doublings = min(self.failures - 1, 30)  # more make no difference, and a thousand are too many for a float
        whole_s = min(self.first_s * 2.0**doublings, self.most_s)
        return whole_s * (0.5 + 0.5 * jitter)
