"""The three pages, each from records to what its template lays out: the site, one entry, one slot."""

import datetime as dt
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlencode

from django.core.paginator import Paginator
from django.http import Http404
from django.utils.timezone import get_current_timezone
from django_celery_beat.models import PeriodicTask

from cutover import clock, conf
from cutover.errors import CutoverError
from cutover.ledger.database import outages
from cutover.observe import course, history, lanes, overview, slot
from cutover.observe.conditions import Severity
from cutover.observe.entries import EntryRecord
from cutover.observe.headline import Headline, headline
from cutover.observe.notes import notes
from cutover.observe.page.drawing import draw
from cutover.observe.page.words import (
    WORDS,
    EntryLine,
    Moment,
    SlotLine,
    StepLine,
    TermLine,
    events_of,
    word_of,
)
from cutover.observe.times import brief
from cutover.phases.context import Context
from cutover.phases.wording import one_line
from cutover.types import EntryName
from cutover.types import Slot as SlotName
from cutover.visible import visible

TITLE: Final = "At a glance"
ROWS: Final = 25
"""How many entries a page has: each has a lane too."""
LATEST: Final = 10
"""How many terms, and steps of phases, are shown."""
SPANS: Final = {
    "5m": ("5 minutes", dt.timedelta(minutes=5)),
    "1h": ("1 hour", dt.timedelta(hours=1)),
    "6h": ("6 hours", dt.timedelta(hours=6)),
    "1d": ("1 day", dt.timedelta(days=1)),
    "7d": ("7 days", dt.timedelta(days=7)),
}
"""How far back a timeline can go: by its key in an address, its name and length."""
USUAL_SPAN: Final = "1h"
KINDS: Final = {"": "all", "ill": "that are not well"}

EARLIEST: Final = dt.datetime.min.replace(tzinfo=dt.UTC) + dt.timedelta(days=2)
LATEST_OF_ALL: Final = dt.datetime.max.replace(tzinfo=dt.UTC) - dt.timedelta(days=2)
"""Between them an instant can be put into every time zone."""

Asked = Mapping[str, str]
"""What an address asks for."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several views of a page."""

    key: str
    name: str
    query: str
    is_chosen: bool


def make(name: str, asked: Asked) -> dict[str, Any]:
    """What the template of that page lays out; or, under ``failure``, the line on why there is nothing to look at.

    Raises Http404 for an entry, or a slot, that there is not. A web process looks with what is made for one request,
    and given back after it.
    """
    context = None
    try:
        context = Context(conf.load())
        return _PAGES[name](context, asked)
    except CutoverError as exc:
        said = one_line(exc)
        now = clock.now().astimezone(get_current_timezone())
        failure = f"{said} -> {exc.remedy}" if exc.remedy else said
        return {"title": TITLE, "now": Moment.of(now, now), "failure": failure}
    finally:
        if context is not None and "redis" in vars(context):
            context.redis.connection_pool.disconnect()


def site(context: Context, asked: Asked) -> dict[str, Any]:
    """Everything at a glance; ``q``, ``kind``, ``p``: which entries; ``span``: how far back the timeline goes."""
    seen = overview.take(context)
    now = seen.at.astimezone(get_current_timezone())
    first = _in_its_direction(headline(seen.data, seen.entries))
    chosen = _chosen(seen.entries or (), asked)
    page = Paginator(chosen, ROWS).get_page(asked.get("p"))
    read_course, total = _course(context), len(seen.entries or ())
    found = read_course or course.Course((), ())
    is_led = first.leader is not None
    severities = Counter(one.severity for one in seen.entries or ())
    return {
        "title": TITLE,
        "now": _moment(seen.data["now"], now),  # it took a while to read, and is no younger than its beginning
        "first": first,
        "word": WORDS[first.severity],
        "since": Moment.of(first.leads_since, now),
        "seen": seen.data,
        "switched": _moment(seen.data.get("switched_at"), now),
        "gap": brief(dt.timedelta(milliseconds=gap)) if (gap := seen.data.get("last_gap_ms")) is not None else "",
        "guarded": _guarded(context, now),
        "missed": seen.data.get("missed_total", 0),
        "notes": [(label, visible(said)) for label, said in notes(seen.data, now)],
        "entries": [EntryLine.of(one, now) for one in page.object_list],
        "page": page,
        "found": f"{len(chosen):,}",
        "total": f"{total:,}",
        "entries_noun": "entry" if total == 1 else "entries",
        "is_read": seen.entries is not None,
        "is_course_read": read_course is not None,
        "is_any": bool(total),
        "several": len(chosen) > 1,
        "ill": f"{total - severities[Severity.WELL]:,}",
        "with_problem": f"{severities[Severity.PROBLEM]:,}",
        "with_notice": f"{severities[Severity.NOTICE]:,}",
        "q": asked.get("q", ""),
        "kind": asked.get("kind", ""),
        "kinds": KINDS,
        "earlier": _query(asked, p=page.previous_page_number()) if page.has_previous() else "",
        "later": _query(asked, p=page.next_page_number()) if page.has_next() else "",
        "terms": [
            TermLine.of(one, now, leads=one.epoch == first.epoch and (is_led if "lease" in seen.data else None))
            for one in reversed(found.terms[-LATEST:])
        ],
        "steps": [StepLine.of(one, now) for one in reversed(found.steps[-LATEST:])],
        **_timeline(context, [one.entry for one in page.object_list], asked, found, now),
    }


def entry(context: Context, asked: Asked) -> dict[str, Any]:
    """One entry, ``name``, and its slots, those that were due before ``before``. Raises Http404 for none."""
    name = EntryName(_text(asked.get("name", "")))
    before = _instant(asked["before"]) if asked.get("before") else None
    seen = overview.take_entry(context, name)
    now = seen.at.astimezone(get_current_timezone())
    record = next((one for one in seen.entries or () if one.entry == name), None)
    page = history.page(context, name, before)
    if record is None and seen.entries is not None and not page.slots and not _has_row(context, name):
        raise Http404(f"There is no entry {name!r}, and no slot of it")
    return {
        "title": visible(name),
        "now": _moment(seen.data["now"], now),
        "name": name,
        "problems": seen.data["not_read"],
        "entry": EntryLine.of(record, now) if record else None,
        "slots": [SlotLine.of(life, now) for life in page.slots],
        "newest": urlencode({"name": name}) if before else "",
        "older": urlencode({"name": name, "before": page.before.isoformat()}) if page.before else "",
        **_timeline(context, [name], asked, _course(context) or course.Course((), ()), now),
    }


def one_slot(context: Context, asked: Asked) -> dict[str, Any]:
    """The whole life of one slot, ``entry`` and ``due``. Raises Http404 where the ledger has none of it."""
    name = SlotName(_instant(asked.get("due", "")), EntryName(_text(asked.get("entry", ""))))
    now = clock.now().astimezone(get_current_timezone())
    due = Moment.of(name.due_at, now)
    whole = slot.read(context, name)
    if whole is None:
        raise Http404("The ledger has no such slot")
    events = events_of(whole.life, whole.claimant, now)
    return {
        "title": visible(f"{name.entry}, due {due and due.full}"),
        "now": Moment.of(now, now),
        "name": name.entry,
        "query": urlencode({"name": name.entry}),
        "slot": SlotLine.of(whole.life, now),
        "life": whole.life,
        "word": word_of(whole.life),
        "said": visible(f"{events[-1].name}: {events[-1].said}"),
        "events": events,
    }


_PAGES: Final[dict[str, Callable[[Context, Asked], dict[str, Any]]]] = {
    "changelist": site,
    "entry": entry,
    "slot": one_slot,
}


def _in_its_direction(first: Headline) -> Headline:
    """The same, where no name in a sentence turns round the words that follow it."""
    return replace(first, verdict=visible(first.verdict), problems=[*map(visible, first.problems)])


def _course(context: Context) -> course.Course | None:
    """Terms and steps; None where the database gives no answer, of which the headline tells."""
    with suppress(CutoverError):
        return course.latest(context)
    return None


def _timeline(
    context: Context, names: Sequence[EntryName], asked: Asked, found: course.Course, now: dt.datetime
) -> dict[str, Any]:
    key = asked.get("span", "")
    key = key if key in SPANS else USUAL_SPAN
    since, drawing = now.astimezone(dt.UTC) - SPANS[key][1], None  # so long, also where clocks have been changed
    with suppress(CutoverError):
        drawing = draw(lanes.read(context, names, since, now), found, since, now)
    spans = [Choice(one, said, _query(asked, span=one), one == key) for one, (said, _) in SPANS.items()]
    return {"drawing": drawing, "spans": spans}


def _chosen(records: Sequence[EntryRecord], asked: Asked) -> list[EntryRecord]:
    text, is_ill = asked.get("q", "").strip().casefold(), asked.get("kind") == "ill"
    return [
        one for one in records if text in one.entry.casefold() and (not is_ill or one.severity is not Severity.WELL)
    ]


def _query(asked: Asked, **changed: object) -> str:
    """The same view of the page but for one thing."""
    return urlencode({name: value for name, value in {**asked, **changed}.items() if value})


def _guarded(context: Context, now: dt.datetime) -> Moment | None:
    """Since when every worker that answers has the run guard; None where that is not known."""
    with suppress(CutoverError):
        return Moment.of(context.ledger.fence.read().guarded_since, now)
    return None


def _moment(iso: str | None, now: dt.datetime) -> Moment | None:
    return Moment.of(dt.datetime.fromisoformat(iso), now) if iso else None


def _has_row(context: Context, name: EntryName) -> bool:
    """Whether it is a periodic task, enabled or not, from which a link may lead here."""
    with outages(context.alias):
        return bool(PeriodicTask._default_manager.using(context.alias).filter(name=name).exists())


def _text(given: str) -> str:
    if not given or "\0" in given:
        raise Http404("No such entry")
    return given


def _instant(given: str) -> dt.datetime:
    try:
        at = dt.datetime.fromisoformat(given)
        if at.tzinfo is not None and EARLIEST <= at <= LATEST_OF_ALL:
            return at.astimezone(dt.UTC)
    except (ValueError, OverflowError):
        pass
    raise Http404("No such instant")
