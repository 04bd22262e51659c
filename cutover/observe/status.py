"""How a site is doing: read, judged, and put into plain lines; ``screen`` draws the same for a terminal."""

import datetime as dt
import difflib
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from django.utils.timezone import get_default_timezone

from cutover.errors import ConfigurationError, CutoverError
from cutover.ledger.database import outages
from cutover.models import Entry
from cutover.observe import history, overview
from cutover.observe.entries import EntryRecord
from cutover.observe.headline import Data, Headline, headline
from cutover.observe.notes import LABEL, Note, at, of_cutover, of_sending
from cutover.observe.rows import HEADS, HISTORY_HEADS, history_row, others, row_of, table
from cutover.observe.slot import Life
from cutover.observe.times import brief, relative
from cutover.phases.context import Context
from cutover.phases.evidence import side as sides
from cutover.phases.facts import following
from cutover.phases.report import Outcome, Report, command, plain
from cutover.phases.wording import SHOWN
from cutover.plural import counted
from cutover.types import EntryName, Side

NAME: Final = "status"
_NEAR: Final = 3
"""How many entries are suggested for a name that there is not."""
SLOT: Final = (
    "due_at epoch side state claimed_at published_at started_at ended_at outcome error worker attempt sender "
    "deduplicated resent passed_over reason"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Status(Report):
    """A status as it was seen ``at`` an instant; ``around``: the lines on the site; ``entries``: worst first."""

    at: dt.datetime
    headline: Headline
    around: Sequence[str]
    entries: Sequence[EntryRecord]

    def document(self) -> dict[str, Any]:
        """``data``, and the entries, of which there may be very many."""
        return {**self.data, "entries": [overview.as_json(one) for one in self.entries]}


@dataclass(frozen=True, slots=True, kw_only=True)
class History(Report):
    """The latest slots of one entry, newest first."""

    title: str
    slots: Sequence[Life]


def run(context: Context, *, check: bool = False, entry: str | None = None) -> Report:
    """The present status; or, of an ``entry``, the latest slots: ConfigurationError for one that there is not.

    With ``check`` the outcome is failed unless the active side is led and nothing is overdue.
    """
    if entry is not None:
        return _history(context, EntryName(entry))
    seen = overview.take(context)
    data, records = seen.data, seen.entries or ()
    first = headline(data, seen.entries)
    data |= {"verdict": first.verdict, "problems": [*first.problems], "healthy": not first.problems}
    around = lines(data, first, seen.at)
    shown = [first.verdict, *around]
    if records:
        shown += table(HEADS, [row_of(one, seen.at) for one in records[:SHOWN]])
        shown += [rest] if (rest := others(records[SHOWN:])) else []
    shown += [f"Problem: {problem}" for problem in first.problems]
    outcome = Outcome.FAILED if check and first.problems else Outcome.DONE
    if check and not first.problems:
        shown.append("Passed: the active side is led and nothing is overdue.")
    name = following(data["phase"], Side(data["side"])) if "phase" in data else NAME
    given = NAME, outcome, (), shown, command(name) if name != NAME else "", "", data
    return Status(*given, at=seen.at, headline=first, around=around, entries=records)


def lines(seen: Data, first: Headline, now: dt.datetime) -> list[str]:
    """Everything about the site but the verdict and its entries, for a person. Pure."""
    shown = []
    if "lease" in seen:
        shown += [f"Leader    {_leader_line(first, now)}"]
        shown += [f"{beat.role.capitalize():<9} {beat}, seen {beat.seen_ago_s} s ago" for beat in first.others]
    if "phase" in seen:
        shown += [f"Cutover   {seen['summary']} Epoch {seen['epoch']}."]
        shown += [f"Switched  {at(seen['switched_at'], now)}"] if seen["switched_at"] else []
        shown += [f"At work   {seen['operator']}"] if seen["operator"] else []
        shown += map(_line, of_cutover(seen))
        if (term := seen.get("term")) and term["ended_at"]:
            shown += [f"Ended     the term of {term['holder']}, {at(term['ended_at'], now)} ({term['end_reason']})"]
        if seen.get("last_gap_ms") is not None:
            most = "" if seen["last_gap_since"] == "end" else ", at most: since the last sign of life of the one before"
            gap = brief(dt.timedelta(milliseconds=seen["last_gap_ms"]))
            shown += [f"Last gap  {gap} without a leader before this term{most}"]
    if "deduplicated" in seen:  # what of the slots is read last
        messages = f"{counted(seen['deduplicated'], 'further message')} deduplicated"
        shown += [
            f"Counts    {seen['unpublished']} claimed and not published; in the last day "
            f"{seen['missed_total']} missed, {messages}"
        ]
    shown += map(_line, of_sending(seen, now))
    heard = seen.get("unmanaged_beats", [])
    return [*shown, *(f"Unmanaged {beat['origin']}, heard {at(beat['last_heard_at'], now)}" for beat in heard)]


def _near(entry: str, known: Collection[str]) -> str:
    """The end of a sentence that names the few entries that may be meant: those that have this in their names, too."""
    having = sorted((name for name in known if entry.casefold() in name.casefold()), key=lambda name: (len(name), name))
    close = having[:_NEAR] or difflib.get_close_matches(entry, known, n=_NEAR)
    more = f", or one of {len(having) - _NEAR} more" if len(having) > _NEAR else ""
    return f"; did you mean {' or '.join(map(repr, close))}{more}?" if close else ""


def _line(note: Note) -> str:
    label, said = note
    return f"{label:<{LABEL}}{said}"


def _leader_line(first: Headline, now: dt.datetime) -> str:
    if first.leader is not None:
        since = f", since {relative(first.leads_since, now)}" if first.leads_since else ""
        return f"{first.leader}{since}; lease for {first.lease_remaining_s} s more"
    if first.idle_lease is None:
        return "nobody"
    return f"nobody; {first.idle_lease}, for {first.lease_remaining_s} s more"


def _history(context: Context, entry: EntryName) -> History:
    page = history.page(context, entry)
    if not page.slots:
        with outages(context.alias):
            known = {*Entry.objects.using(context.alias).values_list("name", flat=True)}
        sending = sides.read(context, context.ledger.fence.read().side)
        known |= {*sending.schedules, *sending.unsendable}
        with suppress(CutoverError):  # what it has, and no row, is shown as well
            known |= context.entries.keys()
        if entry not in known:
            raise ConfigurationError(f"There is no entry {entry!r}{_near(entry, known) or '.'}")
        title = f"{entry} has no slot yet" + (f": {why}" if (why := sending.unsendable.get(entry)) else "")
    else:
        title = f"{entry}: its latest slots ({len(page.slots)}), newest first"
    rows = [history_row(life, get_default_timezone()) for life in page.slots]
    shown = [title, *(table(HISTORY_HEADS, rows) if rows else [])]
    data = {"entry": entry, "slots": [plain(life, SLOT) for life in page.slots]}
    return History("status", Outcome.DONE, (), shown, "", "", data, title=title, slots=page.slots)
