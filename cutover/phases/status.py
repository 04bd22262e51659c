"""How a site is doing: what there is to see of it, judged and put into lines."""

from collections.abc import Mapping
from typing import Any, Final

from cutover.phases.context import Context
from cutover.phases.evidence import hearing, overview
from cutover.phases.report import Outcome, Report, command
from cutover.phases.wording import listed
from cutover.types import SlotState

STUCK: Final = {
    SlotState.CLAIMED: "{} claimed slots are not published, the oldest {} of {}: look at the broker",
    SlotState.PUBLISHED: "{} published slots are started by no worker, the oldest {} of {}: look at the workers",
}
EARLY: Final = (
    "{} slots were sent before their time by the database's clock, the last one {} of {} under epoch {}: a clock was "
    "ahead; their entries go on meanwhile, and what was sent early is not sent again at its time; let NTP set the "
    "clocks of beats and database"
)

Seen = Mapping[str, Any]
"""What ``overview.take`` returns."""


def run(context: Context, *, check: bool = False) -> Report:
    """The present status. With ``check`` the outcome is failed unless the active side is led and nothing is overdue."""
    data = overview.take(context)
    data["problems"] = problems(data)
    data["healthy"] = not data["problems"]
    shown = [*lines(data), *(f"Problem: {problem}" for problem in data["problems"])]
    if check and data["healthy"]:
        shown.append("Healthy: the active side is led and nothing is overdue.")
    outcome = Outcome.FAILED if check and not data["healthy"] else Outcome.DONE
    following = command(f"phase{phase + 1}") if (phase := data.get("phase", 4)) < 4 else ""
    return Report("status", outcome, (), shown, following, "", data)


def problems(seen: Seen) -> list[str]:
    """Everything that keeps the site from being healthy, a line each. Pure."""
    found = list(seen["not_read"])
    if "lease" in seen and "side" in seen:
        held = seen["lease"]
        if held is None or held["side"] != seen["side"]:
            found.append(f"nobody leads for the {seen['side']} side")
        elif held["connected"] is False:
            found.append(f"the leader {held['holder']} is dead or cut off: its connection to Redis is gone")
    found += [f"{late['entry']} is overdue since {late['due_at']}" for late in seen.get("overdue", [])]
    unsent = seen.get("unsendable", {}).items()
    found += listed([f"{name} is not sent: {why}" for name, why in unsent], indent="")
    unmoved = [f"{name} is in the code and has no row: nothing sends it" for name in seen.get("without_row", [])]
    found += listed(unmoved, indent="")
    found += [STUCK[one["state"]].format(one["count"], one["entry"], one["due_at"]) for one in seen.get("stuck", [])]
    if ahead := seen.get("early"):
        found.append(EARLY.format(ahead["count"], ahead["entry"], ahead["due_at"], ahead["epoch"]))
    for one in seen.get("unmanaged_beats", []):
        certain = f"a beat without the lease was heard: {one['origin']}"
        probable = f"probably a beat without the lease: {one['origin']}, {one['probably']}"
        found.append(probable if one["probably"] else certain)
    if tasks := seen.get("unheard_tasks"):
        unheard = hearing.Unheard(seen["celery_of_workers"], tasks)
        found.append(f"a beat without the lease {unheard}; {hearing.REMEDY}: {command('phase1')} takes that")
    return found


def lines(seen: Seen) -> list[str]:
    """Everything that was read, for a person. Pure."""
    shown = []
    if "phase" in seen:
        shown += [f"Cutover   {seen['summary']} Epoch {seen['epoch']}."]
        shown += [f"Switched  {seen['switched_at']}"] if seen["switched_at"] else []
        shown += [f"At work   {seen['operator']}"] if seen["operator"] else []
        if term := seen["term"]:
            ended = f", ended {term['ended_at']} ({term['end_reason']})" if term["ended_at"] else ""
            if term["seen_at"]:
                ended = f", last sign of life {term['seen_at']}{ended}"
            whose = f"{term['side']}, {term['holder']}, since {term['started_at']}"
            shown += [f"Term      epoch {term['epoch']}, {whose}{ended}"]
        if seen["last_gap_ms"] is not None:
            most = "" if seen["last_gap_since"] == "end" else ", at most: since the last sign of life of the one before"
            shown += [f"Last gap  {seen['last_gap_ms']} ms without a leader before this term{most}"]
    if "lease" in seen:
        held = seen["lease"]
        leader = f"{held['holder']} ({held['side']})" if held else "nobody"
        if held and held["connected"] is False:
            leader = f"nobody; the lease is that of {leader}, which is gone, for {held['remaining_s']} s more"
        shown += [f"Leader    {leader}"]
        shown += [f"Beat      {_beat_line(beat)}" for beat in seen["beats"]]
    if "slots" in seen:
        shown += [f"Slot      {_slot_line(slot)}" for slot in seen["slots"]]
        shown += [f"Missed    {_slot_line(slot)}" for slot in seen["missed"][: overview.RECENT]]
        shown += [
            f"Counts    {seen['unpublished']} claimed and not published; in the last day {len(seen['missed'])} missed, "
            f"{seen['deduplicated']} further messages deduplicated"
        ]
    unknown, heard = seen.get("unknown_tasks", {}), seen.get("unmanaged_beats", [])
    shown += [
        f"Unknown   {name} names the task {task}, which this project does not register: its workers drop it"
        for name, task in unknown.items()
    ]
    shown += [
        f"No slot   {one['task']} from {one['origin']}: {one['messages']} messages, {one['at_slots']} of them when "
        f"a slot was due, the latest at {one['last_seen_at']}"
        for one in seen.get("slotless", [])
    ]
    return [*shown, *(f"Unmanaged {beat['origin']}, heard at {beat['last_heard_at']}" for beat in heard)]


def _beat_line(beat: Seen) -> str:
    release = f", release {beat['release']}" if beat["release"] else ""
    warm = "" if beat["warm"] else ", not warm"
    place = f"{beat['host']}:{beat['pid']}{release}"
    return f"{beat['side']} {beat['role']} {place}{warm}, {beat['entries']} entries, seen {beat['seen_ago_s']} s ago"


def _slot_line(slot: Seen) -> str:
    run = f", run by {slot['run_by']}" if slot["run_by"] else ""
    reason = f": {slot['reason']}" if slot["reason"] else ""
    return f"{slot['due_at']} {slot['entry']} {slot['state']} by {slot['side']}{run}{reason}"
