"""Why something of the code schedule cannot be imported: a value, a field, entries; each with its remedy."""

from dataclasses import dataclass

from cutover.errors import EntryRefused
from cutover.types import EntryName


class Unfit(Exception):
    """Why one value fits no row: reason and remedy."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one field of one entry cannot be imported, and what to do about it."""

    entry: EntryName
    field: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.entry}: {self.field} {self.reason}; {self.remedy}"


class EntriesRefused(EntryRefused):
    """Some entries cannot be imported whole; ``refusals`` has every reason, nothing was written."""

    def __init__(self, refusals: list[Refusal]) -> None:
        count = len({refusal.entry for refusal in refusals})
        noun = "entry" if count == 1 else "entries"
        super().__init__(f"{count} {noun} cannot be imported: " + " | ".join(map(str, refusals)))
        self.refusals = refusals
