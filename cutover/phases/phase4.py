"""Phase 4: the ledger's proof that every slot since the switch was sent and run once; then the cutover is closed.

Every entry that the cutover moves is to be proved, by one slot at least, or waived by its name.
"""

import datetime as dt
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

from cutover.conf import near
from cutover.phases.context import Context
from cutover.phases.evidence import detection
from cutover.phases.evidence.findings import Evidence, Why
from cutover.phases.evidence.proof import gather
from cutover.phases.evidence.tally import Counting
from cutover.phases.facts import State, read
from cutover.phases.gates import beats, progress
from cutover.phases.operations import remembered
from cutover.phases.operations.journal import DryRun, at_work, noted
from cutover.phases.report import Check, Outcome, Report, all_hold, command, dry_run_report, plain
from cutover.phases.wording import inline, instant, listed, span
from cutover.plural import counted
from cutover.types import EntryName, Side

NAME = "phase4"
LEAST_SLOTS = 10
GRACE = dt.timedelta(seconds=5)
"""How old a slot must be to be judged: the message of a younger one may be under way."""
_CLOSED: Final = (
    "Phase 4 is done: the cutover is closed.",
    "The retired code schedule, CUTOVER['CODE_SCHEDULE'] and the process `legacy-beat` may now be removed; "
    "with them goes the way back by rollback.",
)
WAIVE: Final = "waive"
"""The step under which the journal has the entries that an operator has waived."""


def run(
    context: Context,
    *,
    slots: int = LEAST_SLOTS,
    wait: dt.timedelta = dt.timedelta(0),
    waive: Sequence[str] = (),
    only_beat_sends: Sequence[str] = (),
    called_by_hand: Sequence[str] = (),
    dry_run: bool = False,
) -> Report:
    """Prove and close. The outcome is inconclusive while there is too little to judge by.

    That is: fewer than ``slots`` (>= 1) proven slots, or an entry without one; ``waive`` names entries that may be
    without. So it is while a beat without the lease may be running, or could without being heard: it would run all once
    more. ``wait``: for how long to try again, where that can help. Nothing is held meanwhile: a rollback need not wait
    for a proof. ``only_beat_sends``, ``called_by_hand``: of which tasks the operator says so.
    ``dry_run``: prove, and close nothing.
    """
    context.is_dry_run = dry_run
    unchanged = remembered.senders_named(context, only_beat_sends, called_by_hand)
    if wait:
        until, counting = context.ledger.fence.read_now() + wait, Counting()
        context.wait_for(lambda: _conclusive(context, slots, waive, until, counting), wait, "enough slots", every_s=1.0)
    state = read(context)
    if state.phase >= 4 and state.is_switched:
        lines = [f"Phase 4 is done already: the cutover is closed. {unchanged}"]
        if waived := noted(context.alias, NAME, WAIVE, state.switched_at):
            lines.append(f"Closed without a proof of what was waived by name: {waived}.")
        return Report(NAME, Outcome.ALREADY, (), lines, command("status"), command("rollback"))
    with at_work(context.alias, NAME, dry_run=dry_run) as journal:
        state = read(context)
        checks = [progress.phase_done(state, 3)]
        if all_hold(checks):
            checks.append(progress.active_side(state, Side.DATABASE))
        if not all_hold(checks):
            return journal.refused(NAME, checks, next_command=command(state.following))
        context.progress("reading the ledger")
        evidence = _gather(context, state)
        if strange := _strange(evidence, waive):
            return journal.refused(NAME, [strange])
        report = _report(context, evidence, slots, waive)
        if report.outcome is Outcome.DONE:
            if waived := report.data["waived"]:
                journal.note(NAME, WAIVE, ", ".join(waived))
            journal.finish(NAME, 4)
        else:
            journal.not_done(NAME, report.outcome.value)
    if report.outcome is not Outcome.DONE:
        return report
    if isinstance(journal, DryRun):
        would = dry_run_report(NAME, report.checks, journal.steps, report.lines)
        return replace(would, data={**report.data, **would.data})
    return replace(report, lines=[*report.lines, *_CLOSED])


def _conclusive(
    context: Context, slots: int, named: Collection[str], until: dt.datetime, counting: Counting
) -> bool | None:
    """True once waiting on, up to ``until``, would say no more; else None."""
    state = read(context)
    if state.phase != 3 or state.side is not Side.DATABASE:
        return True
    evidence = _gather(context, state, counting)
    if _strange(evidence, named) or evidence.failures:
        return True
    due = [_provable_at(evidence, name, why) for name, why in _open(evidence, named).items()]
    if any(at is None or at + GRACE > until for at in due):
        return True
    return _report(context, evidence, slots, named).outcome is not Outcome.INCONCLUSIVE or None


def _provable_at(evidence: Evidence, name: EntryName, why: Why) -> dt.datetime | None:
    """When an entry may be proved at the earliest; None for never, as things are."""
    return evidence.until if why is Why.NOT_READ else evidence.next_due(name)


def _gather(context: Context, state: State, counting: Counting | None = None) -> Evidence:
    """Since the switch; or, when that is longer ago, as far back as the ledger surely still remembers."""
    now = context.ledger.fence.read_now()
    known = now - context.config.retention + dt.timedelta(hours=1)
    return gather(context, max(state.switched_at or known, known), now - GRACE, counting)


def _strange(evidence: Evidence, named: Collection[str]) -> Check | None:
    """What is waived and is no entry; None where all are. One that was proved meanwhile may be named all the same."""
    known = evidence.moved | evidence.others
    strange = [name for name in named if name not in known]
    if not strange:
        return None
    remedy = f"--waive takes the name of an entry: {inline(sorted(evidence.to_prove()) or sorted(known), ', ')}"
    return Check(
        "waived", False, inline([f"no entry is named {name!r}{near(name, known)}" for name in strange]), remedy
    )


def _open(evidence: Evidence, named: Collection[str]) -> dict[EntryName, Why]:
    """What is to be proved still, without what the operator has named."""
    return {name: why for name, why in evidence.to_prove().items() if name not in named}


def _report(context: Context, evidence: Evidence, slots: int, named: Collection[str]) -> Report:
    to_prove, open_ = evidence.to_prove(), _open(evidence, named)
    waived = sorted(to_prove.keys() - open_.keys())
    proven = sum(evidence.proven.values())
    entries = sum(evidence.proven[name] > 0 and name not in to_prove for name in evidence.moved)
    unproven = len(evidence.moved) - entries - len(waived)  # those whose slots are under way, or were missed, too
    short = slots - proven
    lines = [
        f"{counted(proven, 'slot was', 'slots were')} claimed, published and run once; "
        f"{counted(evidence.deduplicated, 'further message was', 'further messages were')} deduplicated.",
        f"Of the {counted(len(evidence.moved), 'entry that was moved', 'entries that were moved')} "
        f"{counted(entries, 'is', 'are')} proven, {counted(unproven, 'is', 'are')} not"
        + (f", {counted(len(waived), 'is', 'are')} waived." if waived else "."),
    ]
    if evidence.withheld:
        entries_of = inline((f"{name} {count}" for name, count in sorted(evidence.withheld.items())), ", ")
        lines.append(f"Not sent, for the project's own scheduler or task chose to send nothing: {entries_of}.")
    if waived:
        lines.append(f"Waived by name, without a proof: {', '.join(waived)}.")
    if open_:
        lines += ["Not proven:", *listed([_spelt(context, evidence, name, why) for name, why in open_.items()])]
    lines += _slotless(context, evidence.since)
    alone = beats.no_unmanaged_beat(context)
    outcome, following = Outcome.DONE, "status"
    if evidence.failures:
        outcome = Outcome.FAILED
        lines += [
            f"{counted(len(evidence.failures), 'slot was', 'slots were')} not sent and run once:",
            *listed(evidence.failures),
        ]
    elif evidence.pending or short > 0 or open_:
        outcome, following = Outcome.INCONCLUSIVE, NAME
        lines += [*listed(evidence.pending), *_wait(context, evidence, slots, short, open_, waived)]
    elif not alone.ok:
        outcome, following = Outcome.INCONCLUSIVE, NAME
        lines += ["Inconclusive: a beat without the lease may send besides, see above."]
    data = {
        "proven": proven,
        "entries": len(evidence.moved | evidence.others),
        "entries_moved": len(evidence.moved),
        "entries_proven": entries,
        "deduplicated": evidence.deduplicated,
        "unproven": list(open_),
        "waived": waived,
    }
    for kind in ("failures", "pending"):
        data[kind] = [plain(finding, "entry due_at reason") for finding in getattr(evidence, kind).kept]
    return Report(NAME, outcome, [alone], lines, command(following), command("rollback"), data)


def _slotless(context: Context, since: dt.datetime) -> list[str]:
    """What workers have run of scheduled tasks, besides the slots that are proven here."""
    found = [row for row in detection.slotless(context) if row.last_seen_at > since]
    alike = detection.alike(context) if found else ()
    said = [
        f"{row.task} from {row.origin}: {row.messages}, the latest {instant(row.last_seen_at)}"
        + (f"; {detection.ALIKE}" if row.task in alike else "")
        for row in found
    ]
    return ["Run besides, for these messages named no slot:", *listed(said)] if said else []


def _spelt(context: Context, evidence: Evidence, name: EntryName, why: Why) -> str:
    at = evidence.next_due(name)
    return f"{name}: {why}" + (f"; next due at {instant(at)}" if at is not None else "")


def _wait(
    context: Context,
    evidence: Evidence,
    slots: int,
    short: int,
    open_: Mapping[EntryName, Why],
    waived: Collection[EntryName],
) -> list[str]:
    """What is waited for, for how long, and what to type instead."""
    said = []
    if short > 0:
        at = evidence.due_by(max(1, short - len(evidence.pending)))
        asked = f"{counted(slots, 'slot is', 'slots are')} asked for"
        if at is None:
            said = [f"{asked} and no more will fall due. Ask for fewer with --slots."]
        else:
            again = "Run phase4 again then, or ask for fewer with --slots."
            said = [
                f"{asked}, {counted(short, 'is', 'are')} missing. The last of them is due {_in(context, at)}. {again}"
            ]
    if open_:
        due = [_provable_at(evidence, name, why) for name, why in open_.items()]
        known = [at for at in due if at is not None]
        last = f" The last of them is due {_in(context, max(known))}: run phase4 again then." if known else ""
        if None in due:
            last += " One that nothing sends never is: give it a row, enabled, or take it out of the code."
        typed = " ".join(f"--waive {shlex.quote(name)}" for name in sorted({*open_, *waived}))
        unproven = counted(len(open_), "entry is", "entries are")
        said.append(f"{unproven} not proven.{last} To close without a proof of them: {command(NAME)} {typed}")
    return [
        f"Inconclusive: {line}" for line in said or ["the slots above are under way. Run phase4 again in a minute."]
    ]


def _in(context: Context, at: dt.datetime) -> str:
    return f"at {instant(at)}, in {span(max(dt.timedelta(0), at - context.ledger.fence.now()))}"
