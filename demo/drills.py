"""Drills: what an operator does on a bad day, each played in the story's world and counted. ``python -m demo pause``"""

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .census import Slot, per_slot, read_runs, wait_until_sent
from .frozen import freeze, thaw
from .handover import read_missed
from .platform import Release
from .schedule import COUNTED, INTERVALS
from .verdict import expected_slots
from .waiting import wait_until
from .world import NEW, World

HELD = dt.timedelta(seconds=10)
"""How long a pause lasts, and how long nobody leads: many slots of each entry."""
GAP = dt.timedelta(seconds=11)
"""More than fifty slots of the entry whose every slot counts."""
FROZEN = dt.timedelta(seconds=3)
"""Longer than the entries' intervals, shorter than the lease."""
PATIENCE_S = 90.0


@dataclass(frozen=True)
class Drill:
    """What is played, from the living old world on; returns the release that lives at its end."""

    title: str
    play: Callable[[World], Release]
    settings: Mapping[str, str] = field(default_factory=dict)


def pause(world: World) -> Release:
    """Everything is paused under load, and resumed."""
    world.cutover("pause", "--reason", "a drill")
    began = dt.datetime.now(dt.UTC)
    world.last(HELD, "the pause has lasted a while")
    ended = dt.datetime.now(dt.UTC)
    world.cutover("resume")
    _live_on(world)
    handed = [message for message in world.monitor.published if began < message.at < ended]
    world.require(not handed, f"nothing is sent under a pause: {handed}")
    reasons = read_missed(world.database).values()
    world.require(any("paused (a drill)" in reason for reason in reasons), "what was passed over is named")
    return world.old


def guard_missed(world: World) -> Release:
    """Phase 3 watches; the new side's leader stands still for a moment and misses slots."""
    return _guarded(world, thawed_after=FROZEN)


def guard_frozen(world: World) -> Release:
    """Phase 3 watches; the new side's leader freezes."""
    return _guarded(world, thawed_after=None)


def replay(world: World) -> Release:
    """Nobody leads for a while; what was missed is had back, and a second replay finds nothing."""
    _go_without_a_beat(world, HELD)
    until = dt.datetime.now(dt.UTC)
    world.require(_missed(world, until), "slots were missed, and are named")
    world.cutover("replay", "--missed", "--dry-run")
    world.cutover("replay", "--missed", "--until", until.isoformat())
    _all_has_run(world, until)
    handed = _handed(world, until)
    world.cutover("replay", "--missed", "--until", until.isoformat())
    _live_on(world)
    world.require(not _missed(world, until), "nothing stays missed")
    world.require(_handed(world, until) == handed, "a second replay sends nothing")
    return world.old


def backlog(world: World) -> Release:
    """Nobody leads while fifty slots fall due of an entry whose every slot counts."""
    gap = _go_without_a_beat(world, GAP)
    until = dt.datetime.now(dt.UTC)
    _all_has_run(world, until, COUNTED)
    caught_up = [slot for slot in _expected(world, until) if slot.entry == COUNTED and gap[0] < slot.due_at < gap[1]]
    world.say(f"{len(caught_up)} slots of {COUNTED} fell due in the gap, and each was run")
    world.require(len(caught_up) >= 50, "fifty slots fell due in the gap")
    world.require(not [slot for slot in _missed(world, until) if slot.entry == COUNTED], "none of them is missed")
    return world.old


DRILLS: Mapping[str, Drill] = {
    "pause": Drill("Stop everything under load, and go on", pause),
    "guard": Drill("A guard that rolls back by itself: the new leader misses slots", guard_missed),
    "guard-frozen": Drill("A guard that rolls back by itself: the new leader freezes", guard_frozen),
    "replay": Drill("An outage, and all that was missed is had back", replay),
    "backlog": Drill(
        "A gap of fifty slots of an entry whose every slot counts",
        backlog,
        {"DJANGO_SETTINGS_MODULE": "demo.counting", "CODE_SCHEDULE": "demo.schedule.counted"},
    ),
}


def _guarded(world: World, thawed_after: dt.timedelta | None) -> Release:
    world.prepare()
    world.step(f"The new release ({NEW}) starts beside the old one; its beat stands by")
    new = world.deploy("after", NEW)
    world.step("python manage.py cutover phase3 --guard 120s")
    command = world.site.start("guarded-phase3", "python manage.py cutover phase3 --guard 120s")
    wait_until(
        lambda: "watching the switch until" in command.output or command.exit_code is not None,
        "the guard watches",
        PATIENCE_S,
    )
    _live_on(world)
    leader = new.containers["beat"]
    world.step("The new side's leader is frozen (SIGSTOP)")
    freeze(leader, world.database)
    if thawed_after is not None:
        world.last(thawed_after, "slots were missed")
        world.step("The new side's leader is thawed (SIGCONT)")
        thaw(leader)
    command.wait(timeout_s=180)
    world.say(command.output)
    world.expect(command, code=1)
    world.require("The guard has rolled back, for every-" in command.output, "the guard has rolled back, and says why")
    thaw(leader)
    _live_on(world)
    world.step("The platform retires the new release")
    world.platform.retire(new)
    return world.old


def _go_without_a_beat(world: World, time: dt.timedelta) -> tuple[dt.datetime, dt.datetime]:
    """Kill the beat and start it again after ``time``; returns when all is sent again, from when until when it was not.

    The platform would start it again at once.
    """
    _live_on(world)
    world.step(f"kill -9: the beat is gone, and nothing is sent for {time.total_seconds():g} seconds")
    world.old.containers["beat"].kill()
    began = dt.datetime.now(dt.UTC)
    world.last(time, "nobody has led for a while")
    ended = dt.datetime.now(dt.UTC)
    world.step("The beat is started again")
    world.old.restart("beat")
    world.old.wait_until_up()
    _live_on(world)
    return began, ended


def _live_on(world: World) -> None:
    """Return when every entry that falls due often was sent for an instant after this one."""
    wait_until_sent(lambda: world.monitor.published, INTERVALS.keys(), PATIENCE_S)


def _all_has_run(world: World, until: dt.datetime, entry: str = "") -> None:
    """Return when every slot up to ``until``, or those of one entry, has run."""

    def is_complete() -> bool:
        run = per_slot(read_runs(world.site.runs))
        return all(slot in run for slot in _expected(world, until) if entry in ("", slot.entry))

    wait_until(is_complete, "every slot has run", PATIENCE_S)


def _expected(world: World, until: dt.datetime) -> list[Slot]:
    return list(expected_slots(per_slot(world.monitor.published), until))


def _handed(world: World, until: dt.datetime) -> int:
    return sum(message.slot is not None and message.slot.due_at <= until for message in world.monitor.published)


def _missed(world: World, until: dt.datetime) -> list[Slot]:
    return [slot for slot in read_missed(world.database) if slot.due_at <= until]
