"""`cutover replay`: what was missed is had back, each slot once; by real beats, from a real broker."""

import datetime as dt
import json
from collections import Counter

import pytest

from cutover import clock, models
from cutover.errors import ConfigurationError
from cutover.ledger.replays import Replays
from cutover.observe import status
from cutover.phases import replay
from cutover.phases.report import Outcome
from cutover.schedules.fingerprint import fingerprint
from cutover.types import EntryName, Side, Slot
from demo.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400), pytest.mark.usefixtures("nothing_left")]
HOUR = dt.timedelta(hours=1)
MINUTE = dt.timedelta(minutes=1)
SECOND = dt.timedelta(seconds=1)


@pytest.fixture
def schedule(schedule):
    del schedule["ticking"]
    schedule["by-minute"] = {"task": "demo.tasks.note", "schedule": MINUTE, "args": ("m",)}
    return schedule


@pytest.fixture
def outage(context, alias):
    """A day without a leader: 23 slots of an hourly entry are missed; 199 of a minutely one, of which 100 have rows."""
    now = context().ledger.fence.read_now().replace(minute=0, second=0, microsecond=0)
    latest = {"hourly": now, "by-minute": clock.now() - 20 * SECOND}
    rows = []

    def add(entry, due_at, state="missed", **fields):
        slot = Slot(due_at, EntryName(entry))
        reason = "a later slot was sent in its stead" if state == "missed" else ""
        given = {"task_id": slot.task_id("cutover"), "claimed_at": clock.now(), "reason": reason, **fields}
        rows.append(models.Slot(entry=entry, due_at=due_at, epoch=1, side="code", state=state, **given))

    for name, at in latest.items():
        add(name, at, "published", published_at=at)
        begin = at - (24 * HOUR if name == "hourly" else 200 * MINUTE)
        add(name, begin, "published", published_at=begin)
        mark = fingerprint(context().entries[EntryName(name)].schedule)
        models.Entry.objects.using(alias).create(name=name, fingerprint=mark, eligible_since=at - 48 * HOUR)
    for hours in range(1, 24):
        add("hourly", now - hours * HOUR)
    for minutes in range(1, 101):
        add("by-minute", latest["by-minute"] - minutes * MINUTE, passed_over=99 * (minutes == 100))
    models.Slot.objects.using(alias).bulk_create(rows)
    return latest


def messages(valkey):
    """The slots of the broker's messages, counted; each under its own id."""
    with valkey.client() as client:
        found = [json.loads(raw)["headers"] for raw in client.lrange("celery", 0, -1)]
    slots = [Slot(dt.datetime.fromisoformat(h["cutover_due_at"]), EntryName(h["cutover_entry"])) for h in found]
    assert [slot.task_id("cutover") for slot in slots] == [h["id"] for h in found]
    return Counter(slots)


def test_a_days_outage_is_had_back_each_slot_once_and_a_second_replay_sends_nothing(
    context, beat, alias, valkey, outage, monkeypatch
):
    monkeypatch.setattr("cutover.beats.replay.AT_ONCE", 150)
    rows = models.Slot.objects.using(alias)
    with beat(Side.CODE):
        wait_until(lambda: context().lease.view(), "it leads")
        listed = replay.run(context(), dry_run=True)
        assert (listed.outcome, listed.data["slots"]) == (Outcome.DONE, 23 + 199)
        assert {one["entry"]: one["slots"] for one in listed.data["entries"]} == {"by-minute": 199, "hourly": 23}
        assert not rows.filter(replay_asked_at__isnull=False).exists()
        hourly = replay.run(context(), entry="hourly")
        assert (hourly.data["sent"], hourly.data["waiting"]) == (23, 0)
        middle = outage["by-minute"] - 160 * MINUTE, outage["by-minute"] - 131 * MINUTE
        assert replay.run(context(), entry="by-minute", since=middle[0], until=middle[1]).data["sent"] == 30
        done = replay.run(context())
        wait_until(lambda: context().ledger.replays.waiting() == 0, "the rest is claimed", 120)
        assert done.data["slots"] == 199 - 30
        assert replay.run(context()).data["slots"] == 0
        wait_until(lambda: not rows.filter(state="claimed").exists(), "the rest is published", 120)
    sent = messages(valkey)
    asked = {
        *(Slot(outage["hourly"] - n * HOUR, EntryName("hourly")) for n in range(1, 24)),
        *(Slot(outage["by-minute"] - n * MINUTE, EntryName("by-minute")) for n in range(1, 200)),
    }
    assert asked <= sent.keys()
    assert set(sent.values()) == {1}
    assert not rows.filter(state="missed", due_at__lt=outage["by-minute"]).exists()
    assert not rows.filter(passed_over__gt=0).exists()


def test_without_a_leader_the_command_says_so_and_changes_nothing(context, alias, outage):
    found = replay.run(context())
    assert (found.outcome, found.outcome.exit_code) == (Outcome.REFUSED, 3)
    assert "nobody leads for the code side" in found.checks[0].detail
    assert not models.Slot.objects.using(alias).filter(replay_asked_at__isnull=False).exists()


def test_entries_that_the_active_side_does_not_have_are_named(context, alias, outage, schedule):
    del schedule["by-minute"]
    found = replay.run(context(), dry_run=True)
    assert found.data["slots"] == 23
    assert found.data["refused"] == [{"entry": "by-minute", "slots": 199, "reason": "the code side has no such entry"}]
    with pytest.raises(ConfigurationError, match="did you mean 'hourly'"):
        replay.run(context(), entry="hourli")


def test_slots_that_were_counted_under_another_schedule_are_named(context, alias, outage):
    models.Entry.objects.using(alias).filter(name="by-minute").update(eligible_since=clock.now())
    found = replay.run(context(), dry_run=True)
    assert found.data["slots"] == 23 + 100
    assert [(one["entry"], one["slots"]) for one in found.data["refused"]] == [("by-minute", 99)]


def test_slots_that_were_counted_and_are_older_than_the_retention_are_named(context, settings, outage):
    settings.CUTOVER = {**settings.CUTOVER, "RETENTION": 150 * 60, "CATCH_UP_WINDOW": 3600}
    found = replay.run(context(), entry="by-minute", dry_run=True)
    [refused] = found.data["refused"]
    assert found.data["slots"] + refused["slots"] == 199
    assert 147 <= found.data["slots"] <= 149


@pytest.mark.parametrize("killed_after", [0, 1, 2])
def test_killed_between_two_commits_and_typed_again_each_slot_is_asked_for_once(
    context, alias, outage, monkeypatch, killed_after
):
    monkeypatch.setattr("cutover.phases.replay._leader", lambda *_: replay.Check("leader", True, "one leads"))
    monkeypatch.setattr("cutover.phases.replay.WITHIN", dt.timedelta(0))
    monkeypatch.setattr("cutover.phases.evidence.missed.PIECE", 60)
    asks, ask = [], Replays.ask

    def killed(self, *given):
        if len(asks) == killed_after:
            raise KeyboardInterrupt
        asks.append(ask(self, *given))
        return asks[-1]

    monkeypatch.setattr(Replays, "ask", killed)
    with pytest.raises(KeyboardInterrupt):
        replay.run(context())
    monkeypatch.setattr(Replays, "ask", ask)
    again = replay.run(context())
    assert again.data["slots"] == 23 + 199 - sum(asks)
    rows = models.Slot.objects.using(alias).filter(state="missed")
    assert rows.count() == rows.filter(replay_asked_at__isnull=False).count() == 23 + 199
    assert not rows.filter(passed_over__gt=0).exists()
    assert replay.run(context()).data == {**replay.run(context()).data, "slots": 0, "waiting": 23 + 199}
    line = f"Replay    {23 + 199} missed slots were asked for and wait: the leader sends them"
    assert line in status.run(context()).lines


def test_what_is_asked_for_under_a_pause_stays_so_and_the_command_says_it_without_waiting(
    context, alias, outage, monkeypatch
):
    monkeypatch.setattr("cutover.phases.replay._leader", lambda *_: replay.Check("leader", True, "one leads"))
    context().ledger.pauses.pause(EntryName("hourly"), None, "alice@host", "a restore")
    begun = clock.monotonic_s()
    found = replay.run(context(), entry="hourly")
    assert clock.monotonic_s() - begun < replay.WITHIN.total_seconds()
    assert (found.outcome, found.data["sent"], found.data["waiting"]) == (Outcome.DONE, 0, 23)
    assert "23 are paused: what is asked for is sent once that has ended." in found.lines
    [line] = [line for line in status.run(context()).lines if line.startswith("Replay ")]
    assert line.endswith("the leader sends them, what is paused once that has ended")


def test_what_was_missed_under_an_old_name_is_had_back_under_it_by_the_entry_that_it_became(
    context, alias, outage, schedule, settings
):
    schedule["by-the-minute"] = schedule.pop("by-minute")
    old = models.Entry.objects.using(alias).get(name="by-minute")
    models.Entry.objects.using(alias).create(
        name="by-the-minute", fingerprint=old.fingerprint, eligible_since=old.eligible_since
    )
    settings.CUTOVER = {**settings.CUTOVER, "RENAMED": {"by-minute": "by-the-minute"}}
    for name in ("by-minute", "by-the-minute"):
        found = replay.run(context(), entry=name, dry_run=True)
        assert [(one["entry"], one["slots"]) for one in found.data["entries"]] == [("by-minute", 199)]
        assert found.data["refused"] == []
