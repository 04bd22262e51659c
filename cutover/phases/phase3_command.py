"""The command `phase3`, with what may surround its switch: the wait for a quiet window, and the guard's watch."""

import datetime as dt
from dataclasses import replace
from functools import partial
from typing import Any

from django.utils.timezone import get_default_timezone

from cutover import clock
from cutover.errors import ConfigurationError
from cutover.models import QuietWait
from cutover.phases import phase3, switch_guard
from cutover.phases.context import Context
from cutover.phases.evidence import waits_and_guards
from cutover.phases.evidence.quiet_windows import AHEAD
from cutover.phases.facts import read
from cutover.phases.gates import quiet as gate
from cutover.phases.operations import alarm, attended, quiet_wait
from cutover.phases.operations.quiet_wait import Order
from cutover.phases.report import Check, Outcome, Report, command, plain, refused
from cutover.phases.typed import instant_by
from cutover.phases.wording import instant, span
from cutover.types import Side

NAME = phase3.NAME
MOST_AHEAD = dt.timedelta(days=7)
"""How far ahead ``by`` and ``postpone`` may be."""
ENDS = {Order.NOW: quiet_wait.LEAPT, Order.CALL_OFF: quiet_wait.CALLED_OFF}
"""How a wait ends that has obeyed."""


def run(
    context: Context,
    *,
    quiet: bool = False,
    by: str | None = None,
    postpone: str | None = None,
    now: bool = False,
    call_off: bool = False,
    guard_for: dt.timedelta | None = None,
    guard_command: str | None = None,
    guard_failures: int | None = None,
    dry_run: bool = False,
    **switch: Any,
) -> Report:
    """Phase 3, with the options of ``phase3.run`` in ``switch``.

    ``quiet``: wait for the longest window in which nothing falls due, up to ``by`` (a time as it is typed; 24 hours
    without it). ``postpone`` (until a time as it is typed), ``now``, ``call_off``: order the command that waits to do
    so, and nothing else; typed twice they do no more than typed once.
    ``guard_for``: watch the switch for so long, and roll back by itself; also where ``guard_command`` raises the alarm,
    or more than ``guard_failures`` runs fail. Raises ConfigurationError for options that do not go together, and as
    ``phase3.run`` does.
    """
    orders = [postpone is not None, now, call_off]
    if sum(orders) > 1 or (any(orders) and (quiet or guard_for or dry_run)):
        raise ConfigurationError(
            "--postpone, --now and --call-off are orders to a command that waits: type one, alone."
        )
    if by is not None and not quiet:
        raise ConfigurationError("--by goes with --quiet: it says until when to wait.")
    if guard_for is None and (guard_command is not None or guard_failures is not None):
        raise ConfigurationError("--guard-command and --guard-failures go with --guard, which says how long to watch.")
    if any(orders):
        not_before = _typed(context, postpone) if postpone is not None else None
        return _order(context, Order.NOW if now else Order.CALL_OFF if call_off else Order.POSTPONE, not_before)
    raises = alarm.arguments(guard_command) if guard_command is not None else []
    switching = partial(phase3.run, context, guarded=guard_for, **switch)
    until = _typed(context, by) if quiet else None
    if dry_run:
        return _dry_run_report(context, switching(dry_run=True), until)
    state = read(context)
    if state.is_switched and guard_for is None:
        said = waits_and_guards.guard_in_words(waits_and_guards.read(context, state), state)
        done = switching()
        return replace(done, lines=[*done.lines, *filter(None, [said])])
    if until is not None and not state.is_switched and state.side is Side.CODE:
        report = _when_quiet(context, switching, until)
    else:
        report = switching()
    if guard_for is None or report.outcome not in (Outcome.DONE, Outcome.ALREADY):
        return report
    allowed = switch_guard.FAILURES if guard_failures is None else guard_failures
    return switch_guard.watch(context, report, guard_for, raises, allowed)


def _typed(context: Context, time: str | None) -> dt.datetime:
    now = context.ledger.fence.read_now()
    return now + AHEAD if time is None else instant_by(time, now, get_default_timezone(), MOST_AHEAD)


def _when_quiet(context: Context, switching: partial[Report], until: dt.datetime) -> Report:
    """Ask the gates, wait, ask them again, switch. Raises CalledOff or NoWindow."""
    quiet_wait.refuse_a_second(context)
    began_s = clock.monotonic_s()
    first = switching(dry_run=True)
    if first.outcome is not Outcome.DONE:
        return first
    takes = dt.timedelta(seconds=clock.monotonic_s() - began_s)
    if not (check := gate.nothing_open(context, Side.CODE)).ok:
        return refused(NAME, [*first.checks, check])
    row, watch = quiet_wait.begin(context, until, takes)
    with attended.attended(context, row):
        while True:
            watch.wait()
            report = switching(hold=watch.hold)
            if not watch.is_put_back:
                break
        attended.end(context, row, quiet_wait.LEAPT if report.outcome is Outcome.DONE else report.outcome.value)
    if watch.window is None:
        return report
    begin, end = watch.window.window
    return replace(report, data={**report.data, "quiet": {"from": begin.isoformat(), "to": end.isoformat()}})


def _dry_run_report(context: Context, report: Report, until: dt.datetime | None) -> Report:
    """What a dry run has found, and which window would be waited for."""
    if until is None or report.outcome is not Outcome.DONE:
        return report
    check = gate.nothing_open(context, Side.CODE)
    found = quiet_wait.window(context, context.ledger.fence.read_now(), until)
    if found is None or not check.ok:
        none = Check(
            quiet_wait.NAME, found is not None, f"until {instant(until)} no minute is quiet", "--by a later time"
        )
        return refused(NAME, [*report.checks, check, *([] if found is not None else [none])])
    begin, end = found.window
    window = f"the quiet window to {instant(end)} ({span(end - begin)})"
    said = f"It would wait for {window}, until {instant(found.at)}."
    data = {**report.data, "quiet": {"from": begin.isoformat(), "to": end.isoformat()}}
    return replace(report, checks=[*report.checks, check], lines=[said, *report.lines], data=data)


def _order(context: Context, order: Order, not_before: dt.datetime | None) -> Report:
    """Order the command that waits, and say what has become of it."""
    wait = waits_and_guards.waiting(context)
    if wait is None:
        return _obeyed(context, order)
    done = quiet_wait.ordered(context, wait, order, not_before)
    data = _plain(done)
    if done.ended_at is not None:
        line = f"The wait of {done.operator} has ended: {done.outcome}."
    elif done.answered < done.asked:
        line = f"The phase 3 of {done.operator} has not taken the order yet: see `{command('status')}`."
    elif done.order == Order.NOW:
        line = f"The phase 3 of {done.operator} switches now, if its gates hold."
    else:
        line = f"The phase 3 of {done.operator} waits for {instant(done.leaps_at or done.until)}."
    return Report(NAME, Outcome.DONE, (), [line], command("status"), data=data)


def _obeyed(context: Context, order: Order) -> Report:
    """Nobody waits: whether the latest wait has ended by this very order, as when it is typed again; or refused."""
    last = quiet_wait.latest(context)
    if last is not None and last.outcome and last.outcome == ENDS.get(order):
        line = f"No phase 3 waits: that of {last.operator} has ended: {last.outcome}. {read(context).in_words()}"
        return Report(NAME, Outcome.ALREADY, (), [line], command("status"), data=_plain(last))
    return Report(NAME, Outcome.REFUSED, (), [f"No phase 3 waits. {read(context).in_words()}"], command("status"))


def _plain(wait: QuietWait) -> dict[str, Any]:
    return {"quiet_wait": plain(wait, "operator until leaps_at ended_at outcome")}
