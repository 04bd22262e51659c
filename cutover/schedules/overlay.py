"""The entries that the database side sends by: each row with its overlay, what a row has no column for.

A row has no column for an option such as ``time_limit``, nor for a relative interval. What the import found in code is
applied as long as the row still is what was imported: options while its task is the same, the rest while its schedule
is. What a person wrote into the row wins. A row that is renamed is another entry and has no overlay.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from celery import Celery
from celery.schedules import BaseSchedule, schedule
from django.db.models import Q
from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import ModelEntry

from cutover.models import ImportedEntry
from cutover.schedules import rows
from cutover.schedules.convert import RowDraft
from cutover.schedules.fingerprint import fingerprint, stand_in
from cutover.schedules.timetable import is_endless
from cutover.schedules.values import restored
from cutover.types import EntryName


@dataclass(frozen=True, slots=True)
class Overlay:
    """What one imported ``row`` cannot hold: options, whether its interval is relative, what it counts as in code."""

    row: Mapping[str, Any]
    options: Mapping[str, Any]
    relative: bool
    fingerprint: str


Overlays: TypeAlias = Mapping[EntryName, Overlay]
_IN_ORDER: Final = ("interval", "crontab", "solar", "clocked")
"""The first of these that a row has is its schedule."""
NOTHING: Final[Overlays] = {}


def load(alias: str, only: EntryName | None = None) -> dict[EntryName, Overlay]:
    """The overlays that there are, by entry; ``only``: that of one entry alone."""
    # A schedule that a row does not hold by itself was converted: its fingerprint begins otherwise.
    converted = ~Q(fingerprint__regex="^(crontab|every|solar|clocked) ")
    query = ImportedEntry.objects.using(alias).filter(~Q(options={}) | Q(relative=True) | converted)
    query = query if only is None else query.filter(name=only)
    found = query.values_list("name", "row", "options", "relative", "fingerprint")
    return {EntryName(name): Overlay(row, restored(o), relative, f) for name, row, o, relative, f in found}


def drafted(draft: RowDraft, mark: str) -> Overlay:
    """The overlay that the import of ``draft`` would leave; ``mark``: the fingerprint of the code's schedule."""
    return Overlay(rows.record(draft.row), restored(draft.options), draft.relative, mark)


class Reader:
    """Rows as the database side sends them, each an entry of ``kind``. Rows on one schedule share its object."""

    def __init__(self, app: Celery, overlays: Overlays = NOTHING, kind: type[ModelEntry] = ModelEntry) -> None:
        self._app, self._kind = app, kind
        self._overlays = overlays
        self._shared: dict[tuple[Any, ...], BaseSchedule] = {}  # by what their rows hold, and by column and key

    def entry(self, row: PeriodicTask, *, as_proved: bool = True) -> ModelEntry:
        """The entry by which the row is sent. Raises what the schedule does where it cannot be read.

        One whose columns hold no message keeps its slots: each fails to be sent, and says why. ``as_proved``: a
        converted schedule counts as the code's own one, for the ledger; False while that is to be proved.
        """
        given = {"schedule": self.schedule(row, as_proved=as_proved)}
        if why := rows.unreadable(row):
            made = _Unreadable(_Given(row, **given, args="", kwargs="", headers=""), app=self._app)
            made.why = why
        else:
            made = self._kind(_Given(row, **given), app=self._app)
        made.model = row
        overlay = self._overlays.get(EntryName(row.name))
        if overlay is not None and row.task == overlay.row["task"]:
            made.options = {**overlay.options, **made.options}
        return made

    def schedule(self, row: PeriodicTask, *, as_proved: bool = True) -> BaseSchedule:
        """The schedule by which the row is sent. Raises AttributeError for a row without one."""
        found = self._plain(row)
        overlay = self._overlays.get(EntryName(row.name))
        if overlay is None or not rows.same_schedule(rows.recorded(overlay.row).schedule, row):
            return found  # also where a person gave the row another one
        if overlay.relative and isinstance(found, schedule):
            return schedule(found.run_every, relative=True, app=self._app)
        if not as_proved or fingerprint(found) == overlay.fingerprint:
            return found
        return stand_in(row.schedule, overlay.fingerprint)

    def _plain(self, row: PeriodicTask) -> BaseSchedule:
        for column in _IN_ORDER:
            if (key := row.__dict__.get(f"{column}_id")) is not None:
                if (shared := self._shared.get((column, key))) is not None:
                    return shared
                break
        model = row.scheduler
        if model is None or model.pk is None:
            plain: BaseSchedule = row.schedule
            return plain
        held = type(model), *(getattr(model, field.attname) for field in model._meta.concrete_fields[1:])
        if held not in self._shared:
            if is_endless(made := model.schedule):
                raise ValueError("it is no positive interval")
            self._shared[held] = made
        self._shared[(column, key)] = self._shared[held]
        return self._shared[held]


class _Unreadable(ModelEntry):  # type: ignore[misc]
    """A row that holds no message. (``ModelEntry`` itself would answer by disabling and saving it.)"""

    why = ""

    @property
    def args(self) -> list[Any]:
        """Asked for at each send, which so fails by the entry's own fault."""
        raise ValueError(f"its row cannot be sent: {self.why}")

    @args.setter
    def args(self, value: Any) -> None:
        pass


class _Given:
    """A row with some attributes as they were read already, or are to be read."""

    def __init__(self, row: PeriodicTask, **given: Any) -> None:
        self.__dict__.update(row.__dict__, **given, _row=row)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._row, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._row, name, value)
        self.__dict__[name] = value
