"""Probes: whether the beat or the worker of this very host does its work, within seconds and in one line.

A platform's probe runs in the container of the process that it asks about, so that process is found by this host's
name. What cannot be seen because Redis or the database is away is no reason to restart a beat: a leader goes on under
its epoch, and one that was restarted could not. So ``any``, for liveness, fails on evidence only; ``standby``, for
readiness, and ``leader`` want proof.
"""

import socket
from concurrent.futures import Future
from typing import Final

from cutover import models
from cutover.election.lease import Presence
from cutover.errors import CutoverError, LeaseUnavailable, LedgerUnavailable
from cutover.ledger.database import outages
from cutover.ledger.pauses import SITE, but_paused, paused_by
from cutover.phases.context import Context, in_time
from cutover.phases.evidence import leading
from cutover.phases.evidence.lateness import OVERDUE, early, overdue
from cutover.phases.report import Outcome, Report
from cutover.phases.wording import instant, named, one_line
from cutover.plural import counted
from cutover.types import ProbeRole, SlotState

WITHIN_S: Final = 8.0
"""How long a probe takes at most, once Django has started; give the platform's own time limit more."""
PING_S: Final = 3.0
"""How long a worker's answer is waited for."""


def run(context: Context, role: ProbeRole) -> Report:
    """Judge this host's process. The outcome is failed when it does not do what ``role`` asks.

    ``leader``: leads for the active side, and nothing is overdue. ``standby``: could lead and send, or leads. ``any``:
    is not wedged. ``worker``: answers. With several beats on one host, all of them have to be well.
    """

    def judge(answer: Future[tuple[bool, str]]) -> None:
        answer.set_result(_worker(context) if role is ProbeRole.WORKER else _beats(context, role))

    is_away = False
    try:
        ok, reason = in_time(judge, WITHIN_S)
    except (TimeoutError, LeaseUnavailable, LedgerUnavailable) as exc:
        ok, is_away, reason = role is ProbeRole.ANY, True, one_line(exc)
    except CutoverError as exc:
        ok, reason = False, one_line(exc)
    except Exception as exc:  # whatever a driver raises: a probe has one line, not a traceback
        ok, reason = False, named(exc)
    host = socket.gethostname()
    word = "Unhealthy" if not ok else "Not known, and no reason to restart it" if is_away else "Healthy"
    line = f"{word} ({role} on {host}): {reason}"
    data = {"role": role.value, "host": host, "healthy": ok, "reason": reason}
    return Report("status", Outcome.DONE if ok else Outcome.FAILED, (), [line], data=data)


def _beats(context: Context, role: ProbeRole) -> tuple[bool, str]:
    mine = [beat for beat in context.beats() if beat.host == socket.gethostname()]
    if not mine:
        return False, "no beat of this host has reported lately"
    if wedged := [beat for beat in mine if not beat.warm]:
        return False, f"{_named(wedged[0])} has not loaded its schedule, or its loop has not come round lately"
    held = context.lease.view()
    leader = next((beat for beat in mine if held is not None and beat.holder == held.holder), None)
    may_be_no_leader = role is not ProbeRole.LEADER
    if leader is None:
        if role is ProbeRole.STANDBY and (trouble := _broker(context)):
            return False, f"{', '.join(map(_named, mine))} stands by and could send nothing: {trouble}"
        return may_be_no_leader, f"{', '.join(map(_named, mine))} stands by"
    fence = context.ledger.fence.read()
    if fence.side is not leader.side:
        return may_be_no_leader, f"{_named(leader)} steps down: the active side is {fence.side}"
    if role is ProbeRole.LEADER and leading.epoch_of(context, leader.holder) is None:
        return False, leading.NOT_HERE.format(_named(leader))
    late = overdue(context, fence.side)
    # Another process would do no better: a pause is no fault of this one's, and is no reason to replace it.
    if any(pause.entry == SITE for pause in context.ledger.pauses.in_effect(fence)):
        return True, f"{_named(leader)} leads under epoch {fence.epoch}; everything is paused"
    if not late and role is ProbeRole.LEADER and (stuck := _stuck(context)):
        return False, f"{_named(leader)} leads; the broker has not taken {counted(stuck, 'message')}"
    if not late:
        ahead = (
            f"; {counted(found['count'], 'slot was', 'slots were')} sent before their time"
            if (found := early(context))
            else ""
        )
        return True, f"{_named(leader)} leads under epoch {fence.epoch}, nothing is overdue{ahead}"
    name, due_at = late[0]
    overdue_ones = counted(len(late), "entry is", "entries are")
    late_since = f"{_named(leader)} leads, and {overdue_ones} overdue: {name} since {instant(due_at)}"
    if stuck := _stuck(context):
        # Another leader could do no better: what the broker does not take is claimed and kept.
        return may_be_no_leader, f"{late_since}; the broker has not taken {counted(stuck, 'message')}"
    return False, late_since


def _stuck(context: Context) -> int:
    """How many messages the broker has not taken for too long; one claimed this very moment is no evidence.

    Nor are those that are paused, and those that cannot be sent by their entry's own fault.
    """
    with outages(context.alias):
        claimed = models.Slot.objects.using(context.alias).filter(state=SlotState.CLAIMED, reason="")
        claimed = but_paused(claimed, paused_by(context.ledger.pauses.read()))
        return claimed.filter(claimed_at__lt=context.ledger.fence.read_now() - OVERDUE).count()


def _broker(context: Context) -> str:
    """Why this release's broker is not reached; empty when it is. A release that cannot send is not to replace one."""
    try:
        with context.app.connection_for_write(connect_timeout=PING_S) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=PING_S)
    except Exception as exc:  # whatever the transport raises
        return f"the broker gives no answer ({named(exc)})"
    return ""


def _named(beat: Presence) -> str:
    return f"{beat.side} beat {beat.pid}"


def _worker(context: Context) -> tuple[bool, str]:
    """Ask the worker itself, by way of the broker: the process that answers is the one that takes messages."""
    pattern = f"*@{socket.gethostname()}"
    with context.app.connection_for_write(connect_timeout=PING_S) as connection:
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=PING_S)
        asked = {"reply": True, "limit": 1, "timeout": PING_S, "pattern": pattern, "matcher": "glob"}
        answers = context.app.control.broadcast("ping", connection=connection, **asked)
    answering = [name for answer in answers or () for name in answer]
    if answering:
        return True, f"{', '.join(answering)} answers"
    return False, f"no worker of this host ({pattern}) has answered within {PING_S:g} s"
