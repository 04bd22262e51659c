"""What else an operator is to know of a site, a label and a sentence each: the same on the page and in status. Pure."""

import datetime as dt
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

from cutover.observe.headline import pauses
from cutover.observe.times import relative
from cutover.phases.evidence.detection import ALIKE
from cutover.phases.evidence.pauses import lines as pause_lines
from cutover.phases.wording import SHOWN, span, to_the_second
from cutover.plural import counted

Note = tuple[str, str]
LABEL: Final = 10
"""How wide a label is in a line."""


def notes(seen: Mapping[str, Any], now: dt.datetime) -> list[Note]:
    """How the cutover goes on, what is paused, what waits to be replayed, and what runs besides or not at all."""
    return [*of_cutover(seen), *of_sending(seen, now)]


def of_cutover(seen: Mapping[str, Any]) -> list[Note]:
    """Its proof, and what waits or watches."""
    found = []
    if (age_s := seen.get("parity_age_s")) is not None:
        again = ", phase 3 proves it again" if seen["phase"] < 3 else ""
        found += [("Parity", f"proved {span(dt.timedelta(seconds=age_s))} ago{again}")]
    found += [("Waits", wait["said"])] if (wait := seen.get("quiet_wait")) else []
    found += [("Guard", guard["said"])] if (guard := seen.get("guard")) else []
    return found


def of_sending(seen: Mapping[str, Any], now: dt.datetime) -> list[Note]:
    """What is kept back, and what workers run or drop besides."""
    found = [("Paused", line[LABEL:]) for line in pause_lines(pauses(seen))]
    if waiting := seen.get("replay", {}).get("waiting"):
        after = ", what is paused once that has ended" if seen.get("paused") else ""
        slots = counted(waiting, "missed slot was asked for and waits", "missed slots were asked for and wait")
        found += [("Replay", f"{slots}: the leader sends {'it' if waiting == 1 else 'them'}{after}")]
    unknown = seen.get("unknown_tasks", {})
    found += [
        ("Unknown", f"{name} names the task {task}, which this project does not register: its workers drop it")
        for name, task in islice(unknown.items(), SHOWN)
    ]
    found += (
        [("Unknown", f"the tasks of {counted(len(unknown) - SHOWN, 'more entry')}")] if len(unknown) > SHOWN else []
    )
    if before := seen.get("unrecorded"):
        slots = counted(before["count"], "slot has no recorded run", "slots have no recorded run")
        named = f"{before['entry']}, due {to_the_second(dt.datetime.fromisoformat(before['due_at']))}"
        found += [("No record", f"{slots}, the latest of {named}: sent before the workers were asked, see report")]
    found += [("No slot", _without_slot(one, now)) for one in seen.get("slotless", [])]
    return found


def _without_slot(one: Mapping[str, Any], now: dt.datetime) -> str:
    messages = counted(one["messages"], "message")
    told = f"{one['task']} from {one['origin']}: {messages}, {one['at_slots']} of them when a slot was due, the latest"
    return f"{told} {at(one['last_seen_at'], now)}" + (f"; {ALIKE}" if one["sent_alike"] else "")


def at(told: str, now: dt.datetime) -> str:
    """An instant of the data for a person."""
    when = dt.datetime.fromisoformat(told)
    return f"{relative(when, now)} ({to_the_second(when)})"
