"""Probes: a platform learns of this host's own beat or worker, and restarts nothing that is not to blame."""

import datetime as dt
import socket
import threading
from collections.abc import Callable
from functools import partial

import pytest

from cutover import clock
from cutover.beats.candidate import Candidate
from cutover.election import connection
from cutover.models import Entry, Slot
from cutover.phases import probe
from cutover.phases.context import Context
from cutover.phases.evidence import lateness
from cutover.phases.report import Outcome
from cutover.schedules.fingerprint import fingerprint
from cutover.types import EntryName, ProbeRole, Side
from demo.services import HOST, free_port
from demo.waiting import wait_until
from prayer_room_api.celery import app as celery_app
from tests.integration.phases.conftest import Beat

pytestmark = pytest.mark.integration

Surroundings = Callable[[], Context]
Beats = Callable[[Side], Beat]


def asked(context: Context, role: ProbeRole) -> tuple[bool, str]:
    """Whether the probe passes, and its one line."""
    report = probe.run(context, role)
    [line] = report.lines
    assert "\n" not in line
    assert (report.outcome is Outcome.DONE) == report.data["healthy"] == (not line.startswith("Unhealthy"))
    return report.outcome is Outcome.DONE, line


def test_a_standby_passes_without_leading(context: Surroundings, beat: Beats) -> None:
    with beat(Side.DATABASE):
        verdicts = {role: asked(context(), role) for role in (ProbeRole.STANDBY, ProbeRole.ANY, ProbeRole.LEADER)}
    assert {role: ok for role, (ok, _) in verdicts.items()} == {
        ProbeRole.STANDBY: True,
        ProbeRole.ANY: True,
        ProbeRole.LEADER: False,
    }
    assert "stands by" in verdicts[ProbeRole.LEADER][1]


def test_a_standby_whose_release_reaches_no_broker_is_refused_before_it_replaces_one_and_is_not_restarted(
    context: Surroundings, beat: Beats, monkeypatch: pytest.MonkeyPatch
) -> None:
    with beat(Side.DATABASE):
        site, connect = context(), celery_app.connection_for_write
        nobody = partial(connect, f"redis://{HOST}:{free_port()}/0")
        with monkeypatch.context() as patch:
            patch.setattr(celery_app, "connection_for_write", nobody)
            ok, line = asked(site, ProbeRole.STANDBY)
            assert asked(site, ProbeRole.ANY)[0]
    assert not ok
    assert "stands by and could send nothing: the broker gives no answer" in line


def test_a_leader_passes_in_every_role(context: Surroundings, beat: Beats) -> None:
    with beat(Side.CODE):
        wait_until(lambda: asked(context(), ProbeRole.LEADER)[0], "the beat leads")
        assert "nothing is overdue" in asked(context(), ProbeRole.ANY)[1]
        assert asked(context(), ProbeRole.STANDBY)[0]


def test_a_leader_of_another_ledger_is_no_leader_of_this_one(
    context: Surroundings, beat: Beats, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another site's beat, with the same namespace on the same Redis: of a daily entry nothing is overdue here yet."""
    with beat(Side.CODE):
        site = context()
        wait_until(lambda: asked(site, ProbeRole.LEADER)[0], "the beat leads")
        monkeypatch.setattr(site.ledger.fence, "term_since", lambda epoch: None)
        ok, line = asked(site, ProbeRole.LEADER)
        assert asked(site, ProbeRole.ANY)[0], "it does its work"
    assert not ok
    assert "holds the lease and has no term in this database" in line


@pytest.mark.parametrize("role", [ProbeRole.STANDBY, ProbeRole.ANY, ProbeRole.LEADER])
def test_a_beat_of_another_host_is_no_beat_of_this_one(
    context: Surroundings, beat: Beats, monkeypatch: pytest.MonkeyPatch, role: ProbeRole
) -> None:
    with beat(Side.CODE):
        monkeypatch.setattr(socket, "gethostname", lambda: "another")
        assert asked(context(), role) == (
            False,
            f"Unhealthy ({role} on another): no beat of this host has reported lately",
        )


@pytest.mark.parametrize("side", list(Side))
def test_a_beat_whose_loop_does_not_come_round_fails(
    context: Surroundings, beat: Beats, monkeypatch: pytest.MonkeyPatch, side: Side
) -> None:
    with beat(side):
        turn, freed = Candidate.turn, threading.Event()
        monkeypatch.setattr(Candidate, "turn", lambda self, *within: (freed.wait(), turn(self, *within)))
        try:
            wait_until(
                lambda: not asked(context(), ProbeRole.ANY)[0], "the probe sees that the loop is stuck", timeout_s=15
            )
            assert not asked(context(), ProbeRole.STANDBY)[0]
        finally:
            freed.set()
            monkeypatch.setattr(Candidate, "turn", turn)


def _owe(context: Context) -> None:
    """An entry that fell due at the last full hour but one."""
    schedule = context.entries[EntryName("yearly")].schedule
    began = clock.now() - dt.timedelta(days=500)
    Entry.objects.using(context.alias).update_or_create(
        name="yearly",
        defaults={"fingerprint": fingerprint(schedule), "eligible_since": began, "active": True},
    )


def test_a_leader_that_leaves_due_entries_unsent_fails(
    context: Surroundings, beat: Beats, alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with beat(Side.CODE):
        wait_until(lambda: asked(context(), ProbeRole.LEADER)[0], "the beat leads")
        wait_until(lambda: Entry.objects.using(alias).filter(name="yearly").exists(), "it has noted its entries")
        _owe(context())
        claimed_now = Slot.objects.using(alias).create(
            entry="own",
            due_at=clock.now(),
            epoch=1,
            side="code",
            state="claimed",
            task_id="00000000-0000-0000-0000-000000000000",
            claimed_at=clock.now() + dt.timedelta(minutes=1),
        )
        ok, line = asked(context(), ProbeRole.ANY)
        assert not ok, "what is claimed this very moment says nothing of the broker"
        assert "yearly since" in line
        claimed_now.delete(using=alias)
        monkeypatch.setattr(probe, "_stuck", lambda context: 3)
        ok, line = asked(context(), ProbeRole.ANY)
        assert ok, "the broker is to blame, not this beat"
        assert "the broker has not taken 3 messages" in line
        assert not asked(context(), ProbeRole.LEADER)[0]


def test_a_leader_whose_messages_the_broker_does_not_take_is_no_proof_that_all_is_sent(
    context: Surroundings, beat: Beats, alias: str
) -> None:
    """Of a daily entry nothing else falls due for hours."""
    claimed_at = clock.now() - dt.timedelta(minutes=1)
    with beat(Side.CODE):
        wait_until(lambda: asked(context(), ProbeRole.LEADER)[0], "the beat leads")
        slots = Slot.objects.using(alias)
        told = {"epoch": 1, "side": "code", "state": "claimed", "claimed_at": claimed_at, "due_at": claimed_at}
        slots.create(entry="own", task_id="00000000-0000-0000-0000-000000000000", reason="its own fault", **told)
        assert asked(context(), ProbeRole.LEADER)[0]
        slots.filter(entry="own").update(reason="")
        ok, line = asked(context(), ProbeRole.LEADER)
        assert asked(context(), ProbeRole.ANY)[0]
    assert not ok
    assert "the broker has not taken 1 message" in line


def test_what_cannot_be_known_restarts_nothing_and_is_no_proof_either(
    context: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = context()
    site.redis = connection.redis.Redis(host=HOST, port=free_port())
    verdicts = {role: asked(site, role) for role in (ProbeRole.ANY, ProbeRole.STANDBY, ProbeRole.LEADER)}
    assert {role: ok for role, (ok, _) in verdicts.items()} == {
        ProbeRole.ANY: True,
        ProbeRole.STANDBY: False,
        ProbeRole.LEADER: False,
    }
    assert verdicts[ProbeRole.ANY][1].startswith("Not known, and no reason to restart it (any on ")
    monkeypatch.setattr(probe, "WITHIN_S", 0.2)
    monkeypatch.setattr(probe, "_beats", lambda context, role: threading.Event().wait(1))
    assert "no answer within 0.2 s" in asked(context(), ProbeRole.ANY)[1]
    assert not asked(context(), ProbeRole.LEADER)[0]


def test_lateness_is_seen_by_the_latest_slot_alone(context: Surroundings) -> None:
    site = context()
    _owe(site)
    [(name, due_at)] = lateness.overdue(site, Side.CODE)
    assert (name, due_at < clock.now()) == ("yearly", True)
    Slot.objects.using(site.alias).create(
        entry="yearly",
        due_at=due_at.replace(year=clock.now().year),
        epoch=1,
        side="code",
        state="published",
        task_id="00000000-0000-0000-0000-000000000000",
        claimed_at=clock.now(),
    )
    assert lateness.overdue(site, Side.CODE) == []
