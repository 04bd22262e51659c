"""Why something of the code schedule cannot be sent by a beat under the lease, or not imported; each with its remedy.

What ``unsendable`` refuses is refused alike by phase 1, by ``plan`` and phase 2, and by the code side's beat.
"""

import copy
import datetime as dt
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from celery.beat import ScheduleEntry
from celery.schedules import BaseSchedule, crontab, schedule, solar
from celery.utils.time import maybe_make_aware
from django_celery_beat.clockedschedule import clocked
from django_celery_beat.tzcrontab import TzAwareCrontab

from cutover import clock
from cutover.errors import EntryRefused, ScheduleFailed
from cutover.foreign import shown, text_of
from cutover.plural import counted
from cutover.schedules.timetable import is_endless, timetable
from cutover.types import NAME_LENGTH, EntryName

_KINDS: Final = (TzAwareCrontab, crontab, schedule, solar, clocked)
"""The schedules whose slots are computed, or asked for, as these classes themselves define them."""
_DECIDING: Final = ("is_due", "remaining_estimate")
"""The methods that decide in celery's beat when an entry is sent, and that are not asked of one of these kinds."""
_NO_OVERRIDE: Final = (
    "write it as a crontab, a timedelta or seconds, or derive the class from celery.schedules.BaseSchedule, "
    "with a remaining_estimate that says when it is due"
)


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
        super().__init__(f"{counted(count, 'entry')} cannot be imported: " + " | ".join(map(str, refusals)))
        self.refusals = refusals


def unsendable(entry: ScheduleEntry) -> list[Refusal]:
    """Why a beat that claims slots cannot send this entry as celery's own beat does; empty where it can."""
    found = []
    for said, require, value in (("name", require_name, entry.name), ("schedule", require_foretold, entry.schedule)):
        try:
            require(value)
        except Unfit as unfit:
            found.append(Refusal(EntryName(str(entry.name)), said, *unfit.args))
    return found


def require_name_as_such(name: Any) -> None:
    """Raises Unfit for a name by which nothing can be asked for, wherever it is from."""
    if not isinstance(name, str):
        raise Unfit(f"is {shown(name)}, no text", "give it as a string")
    require_storable(name)


def require_name(name: Any) -> None:
    """Raises Unfit for a name that cannot be an entry's on both sides, and in the ledger."""
    require_text(name, NAME_LENGTH)


def require_text(value: Any, most: int) -> None:
    """Raises Unfit for what is no text of 1 to ``most`` characters that a database takes."""
    if not isinstance(value, str) or not value:
        raise Unfit(f"is {shown(value)}, no text", "give it as a string")
    if len(value) > most:
        raise Unfit(f"has {counted(len(value), 'character')}; a row holds {most}", "shorten it")
    require_storable(value)


def require_storable(text: str) -> None:
    """Raises Unfit for a text that a database does not take."""
    if "\0" in text:
        raise Unfit("has a NUL character", "take it out")
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise Unfit("has half a surrogate pair", "give it as valid text") from exc


def require_foretold(found: BaseSchedule) -> None:
    """Raises Unfit for a schedule whose slots cannot be computed ahead, so that they could be claimed.

    Of a subclass of a known kind: one that decides by itself when it is due. What else it overrides (how it is shown,
    which fields it is made of) is followed. A class of any other kind is asked once, whether it keeps to its own word.
    """
    if is_endless(found):
        raise Unfit("is no positive interval", "give it at least a microsecond")
    _require_true_clock(found)
    kinds = type(found).__mro__
    base = next((kind for kind in kinds if kind in _KINDS), None)
    if base is None:
        _require_kept_word(found)
        return
    overrides = [vars(found), *(vars(kind) for kind in kinds[: kinds.index(base)])]
    for method in _DECIDING:
        if any(method in own for own in overrides):
            kind = f"{type(found).__module__}.{type(found).__qualname__}"
            raise Unfit(f"is a {kind}, a {base.__name__} with its own {method}: no slot can be foretold", _NO_OVERRIDE)


def _require_kept_word(found: BaseSchedule) -> None:
    """What remains, by its own estimate, has to have passed when it says that it is due, and not before."""
    kind = f"{type(found).__module__}.{type(found).__qualname__}"
    try:
        asked, now = copy.copy(found), clock.now().astimezone(found.tz)
        asked.app = found.app
        due_at = timetable(found).next_after(now)
        if due_at is None:
            return
        answers = []
        for at in (now + (due_at - now) / 2, due_at):
            asked.nowfun = partial(at.astimezone, found.tz)
            answers.append(bool(asked.is_due(now)[0]))
    except Exception as exc:  # the project's own methods
        remedy = "give the class an is_due and a remaining_estimate that answer"
        why = exc.__cause__ if isinstance(exc, ScheduleFailed) and exc.__cause__ else exc
        reason = f"is a {kind}, which does not say when it is due ({type(why).__name__} {text_of(why)})"
        raise Unfit(reason, remedy) from exc
    if answers != [False, True]:
        remedy = "let both ask self.now() for the time, and agree"
        raise Unfit(f"is a {kind}, whose is_due and remaining_estimate contradict each other", remedy)


def _require_true_clock(found: BaseSchedule) -> None:
    """A schedule may bring a clock of its own (nowfun); one that does not give the time cannot be followed."""
    if getattr(found, "nowfun", None) is None and getattr(type(found), "now", None) is BaseSchedule.now:
        return
    remedy = "give the schedule no nowfun, or one that gives the present time"
    try:
        now = maybe_make_aware(found.now())
        apart = abs(now - clock.now())
    except Exception as exc:  # the project's own function
        raise Unfit(f"has a clock of its own that fails ({text_of(exc)})", remedy) from exc
    if apart > dt.timedelta(seconds=5):
        raise Unfit(f"has a clock of its own (nowfun) that is {apart} from the time", remedy)
    if isinstance(found, schedule) and found.relative and now.utcoffset() != now.astimezone(found.tz).utcoffset():
        raise Unfit("is relative in another time zone (nowfun) than the app's", "give the schedule no nowfun")
