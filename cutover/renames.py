"""What entries have been called, by ``CUTOVER['RENAMED']``: old names, each to the one that took its place. Pure.

Two rules, and every reader of the setting follows one of them:

* Who has a schedule in hand asks which of its entries a name is of (``present``): the first one on the way to the
  newest name that the schedule has. A name that the schedule has still is an entry of its own, wherever it leads.
* Who reads the ledger knows no schedule, and a slot keeps the name under which it fell due: all names on the way count
  as names of the one entry, backwards (``before``) and forwards (``since``).
"""

from collections.abc import Container, Iterator, Mapping
from typing import Final

from cutover.types import EntryName


class Renames:
    """``renamed``, in both directions. Settings with a circle, or two old names for one new, are refused."""

    def __init__(self, renamed: Mapping[EntryName, EntryName]) -> None:
        self._since, self._before = renamed, {new: old for old, new in renamed.items()}

    def present(self, name: EntryName, there: Container[EntryName]) -> EntryName | None:
        """The name by which ``there`` has the entry that is, or was, called ``name``; None where it has none."""
        return next((each for each in (name, *self.since(name)) if each in there), None)

    def before(self, name: EntryName) -> list[EntryName]:
        """The names that the entry has had before, the latest first."""
        return list(_follow(self._before, name))

    def since(self, name: EntryName) -> list[EntryName]:
        """The names that the entry has been given since, the earliest first."""
        return list(_follow(self._since, name))


def _follow(following: Mapping[EntryName, EntryName], name: EntryName) -> Iterator[EntryName]:
    while (after := following.get(name)) is not None:
        yield (name := after)


NO_RENAMES: Final = Renames({})
