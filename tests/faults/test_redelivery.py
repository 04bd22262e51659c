"""A worker is lost with a late acknowledged task in hand: it is resumed once, and not while that one is only slow."""

import datetime as dt
from pathlib import Path

from demo.census import read_runs
from demo.waiting import wait_until

from .actions import freeze
from .schedule import SLOW
from .stage import Stage
from .tasks import BEGUN, ENDED, MAY_END
from .theatre import Theatre

SEND = """
import datetime as dt
from cutover import conf
from cutover.types import Slot
from tests.faults.tasks import note_slowly
slot = Slot(dt.datetime.now(dt.UTC), %r)
headers = {"cutover_entry": slot.entry, "cutover_due_at": slot.due_at.isoformat(), "cutover_epoch": 1}
note_slowly.apply_async(headers=headers, task_id=slot.task_id(conf.load().namespace))
"""
REDELIVERED = dt.timedelta(seconds=2.5)
"""The stage's broker gives a message to another worker after two seconds."""


def test_a_late_acknowledged_run_is_resumed_once_its_worker_is_gone(theatre: Theatre, tmp_path: Path) -> None:
    may_end = tmp_path / "may-end"
    with theatre.build(**{MAY_END: str(may_end), "WEB_CONCURRENCY": "1"}) as stage:
        stage.engage("worker")
        sent = stage.site.manage("shell", "-c", SEND % SLOW)
        assert sent.exit_code == 0, sent.output
        wait_until(lambda: _notes(stage) == [BEGUN], "the first worker runs it")
        first = stage.cast["worker-1"]
        freeze(stage, first)
        stopped_at = dt.datetime.now(dt.UTC)
        wait_until(lambda: dt.datetime.now(dt.UTC) > stopped_at + REDELIVERED, "the broker gives it to another")
        stage.engage("worker")
        second = stage.cast["worker-2"]
        wait_until(lambda: second.process.output.count("cutover.run.deferred") >= 2, "the second one puts it off")
        assert _notes(stage) == [BEGUN]
        first.may_end = True
        first.process.kill()
        wait_until(lambda: _notes(stage) == [BEGUN, BEGUN], "the second worker runs it")
        may_end.touch()
        wait_until(lambda: ENDED in _notes(stage), "it comes to its end")
        stage.restart([first])  # asks the broker for what the dead one held
        wait_until(lambda: not _in_hand(stage), "the broker holds nothing for anyone")
        assert _notes(stage) == [BEGUN, BEGUN, ENDED]


def _notes(stage: Stage) -> list[str]:
    return [run.label for run in read_runs(stage.site.runs) if run.label in (BEGUN, ENDED)]


def _in_hand(stage: Stage) -> int:
    with stage.broker.client() as client:
        return client.hlen("unacked") + client.llen("celery")
