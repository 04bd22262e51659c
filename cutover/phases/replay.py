"""Replay: what was missed is sent after all, each slot once, under its own id; by the leader, on this command's word.

Killed anywhere and typed again it goes on: what was asked for is asked for once, and what was sent is missed no more.
"""

import datetime as dt
from typing import Any, Final

from cutover.conf import near
from cutover.errors import ConfigurationError, LeaseUnavailable
from cutover.events import Event, log
from cutover.ledger.database import outages
from cutover.ledger.pauses import paused_by
from cutover.ledger.replays import Progress
from cutover.models import Entry
from cutover.phases.context import Context
from cutover.phases.evidence import missed
from cutover.phases.evidence import side as sides
from cutover.phases.facts import read
from cutover.phases.report import Check, Outcome, Report, command
from cutover.phases.wording import instant, listed
from cutover.plural import counted
from cutover.types import EntryName, Side

NAME: Final = "replay"
WITHIN: Final = dt.timedelta(seconds=10)
"""How long it is waited for the leader, who sends a hundred every two seconds."""
DATA: Final = 1_000
"""How many entries the JSON document names."""


def run(
    context: Context,
    *,
    entry: str | None = None,
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
    dry_run: bool = False,
) -> Report:
    """Have what was missed sent; of one ``entry``, and due from ``since`` to ``until``, where that is said.

    ``dry_run``: only list it. Refused, with nothing changed, while nobody leads for the active side. What cannot be had
    back is named with its reason. Raises LedgerUnavailable, and as ``side.schedules``.
    """
    side = read(context).side
    if entry is not None:
        _require(context, side, EntryName(entry))
    found = _read(context, side, entry, since, until)
    asked = {"side": side.value, "dry_run": dry_run, "sent": 0, "waiting": found.asked}
    slots = f"{counted(found.slots, 'missed slot')} of {counted(len(missed.by_entry(found.gaps)), 'entry')}"
    data, lines = {**asked, **_data(found)}, _lines(found)
    if not found.slots:
        nothing = "Nothing that was missed is left to be replayed." if not found.asked else "Nothing more to ask for."
        return Report(NAME, Outcome.DONE, (), [nothing, *lines], command("status"), "", data)
    if dry_run:
        said = f"{slots} would be sent; nothing was changed."
        return Report(NAME, Outcome.DONE, (), [said, *lines], command(f"{NAME} --missed"), "", data)
    led = _leader(context, side)
    if not led.ok:
        return Report(NAME, Outcome.REFUSED, [led], [*lines, "Nothing was changed."], command("status"), "", data)
    asked_at, total = context.ledger.fence.read_now(), 0
    for pieces in found.pieces():
        count = context.ledger.replays.ask(side, pieces, asked_at)
        if count is None:
            said = f"The active side has changed meanwhile, after {counted(total, 'slot')} had been asked for."
            return Report(NAME, Outcome.FAILED, [led], [said], command(f"{NAME} --missed"), "", data)
        total += count
    log(Event.REPLAY_ASKED, side=side, slots=total)
    waiting, paused, sent = _wait(context, asked_at)
    data |= {"waiting": waiting + paused, "sent": sent}
    asked_for = f"{counted(total, 'missed slot')} of {counted(len(missed.by_entry(found.gaps)), 'entry')}"
    told = [f"Asked for: {asked_for}; {counted(sent, 'is', 'are')} sent by now."]
    if waiting:
        wait = counted(waiting, "waits", "wait")
        told += [f"{wait}: the leader sends a hundred every two seconds. `status` says what is left."]
    if paused:
        told += [f"{counted(paused, 'is', 'are')} paused: what is asked for is sent once that has ended."]
    if refused := total - sent - waiting - paused:
        said = "missed all the same: the leader's schedule lacks the entry, or sent none for it."
        told += [f"{counted(refused, 'is', 'are')} {said}"]
    return Report(NAME, Outcome.DONE, [led], [*told, *lines], command("status"), "", data)


def _read(
    context: Context, side: Side, entry: str | None, since: dt.datetime | None, until: dt.datetime | None
) -> missed.Replayable:
    return missed.read(context, side, EntryName(entry) if entry is not None else None, since, until)


def _require(context: Context, side: Side, entry: EntryName) -> None:
    """Raises ConfigurationError for an entry that neither the side nor the ledger knows."""
    with outages(context.alias):
        known = {*Entry.objects.using(context.alias).values_list("name", flat=True)}
    known |= sides.names(context, side)
    if entry not in known:
        raise ConfigurationError(f"There is no entry {entry!r}{near(entry, known) or '.'}")


def _leader(context: Context, side: Side) -> Check:
    """Whether somebody is there to send: by Redis, or, where that gives no answer, by the ledger's latest term."""
    remedy = f"start a beat of the {side} side: what is asked for waits for a leader"
    try:
        held = context.lease.view()
        if held is None or held.side is not side or context.lease.is_connected(held.client_id) is False:
            return Check("leader", False, f"nobody leads for the {side} side, so nobody would send", remedy)
        return Check("leader", True, f"{held.holder} leads for the {side} side")
    except LeaseUnavailable as exc:
        term = context.ledger.fence.term_since(context.ledger.fence.read().epoch)
        if term is None or term.ended_at is not None or term.side != side:
            return Check("leader", False, f"nobody leads for the {side} side by the ledger; {exc}", remedy)
        return Check("leader", True, f"{term.holder} led last, by the ledger; {exc}", assumed=True)


def _wait(context: Context, asked_at: dt.datetime) -> Progress:
    """How far what was asked for has come, when none of it waits for the leader any more or time is up."""

    def now() -> Progress:
        return context.ledger.replays.progress(asked_at, paused_by(context.ledger.pauses.read()))

    def done() -> Progress | None:
        found = now()
        return None if found.waiting else found

    return context.wait_for(done, WITHIN, "the leader", every_s=0.2) or now()


def _data(found: missed.Replayable) -> dict[str, Any]:
    chosen = sorted(missed.by_entry(found.gaps).items(), key=lambda one: (-len(one[1]), one[0]))
    entries = [
        {"entry": name, "slots": len(ats), "oldest": ats[0].isoformat(), "newest": ats[-1].isoformat()}
        for name, ats in chosen[:DATA]
    ]
    refused = [{"entry": one.entry, "slots": one.slots, "reason": one.reason} for one in found.refused[:DATA]]
    return {"slots": found.slots, "entries": entries, "refused": refused}


def _lines(found: missed.Replayable) -> list[str]:
    """An entry a line, those with the most slots first; then what cannot be had back, and what waits already."""
    chosen = sorted(missed.by_entry(found.gaps).items(), key=lambda one: (-len(one[1]), one[0]))
    shown = [
        f"{name}: {len(ats)}, from {instant(ats[0])} to {instant(ats[-1])}"
        if len(ats) > 1
        else f"{name}: 1, of {instant(ats[0])}"
        for name, ats in chosen
    ]
    refused = [f"{one.entry}: {one.slots} cannot be had back: {one.reason}" for one in found.refused]
    asked = counted(found.asked, "was asked for before, and waits", "were asked for before, and wait")
    waiting = [f"{asked} for the leader."] if found.asked else []
    more = [f"There are more: {command(NAME + ' --missed')} takes {missed.MOST:,} at once."] if found.has_more else []
    return [*listed(shown), *listed(refused), *waiting, *more]
