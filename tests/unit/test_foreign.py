"""A project's own objects may fail to say what they are: that costs a word in a line, and nobody else anything."""

import datetime as dt
import logging
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from celery import Celery
from celery.beat import ScheduleEntry
from celery.schedules import BaseSchedule

from cutover import events, signals
from cutover.background import BackgroundQueue
from cutover.beats.publisher import Message, Publisher
from cutover.conf import Config
from cutover.errors import ScheduleFailed
from cutover.events import Event
from cutover.foreign import shown, text_of
from cutover.phases.wording import one_line
from cutover.schedules.convert import convert
from cutover.schedules.fingerprint import fingerprint, fingerprints
from cutover.schedules.project import code_names
from cutover.schedules.refusals import EntriesRefused, unsendable
from cutover.schedules.timetable import timetable
from cutover.types import EntryName, Epoch, Side, Slot, Term

NOW = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)


class Mute(Exception):
    """An error that fails to say what it is, and so does that failure."""

    def __str__(self) -> str:
        raise Mute


class Closed:
    """A value that can be neither shown, nor compared, nor put into JSON."""

    def __repr__(self) -> str:
        raise Mute

    def __eq__(self, other: object) -> bool:
        raise Mute

    def __json__(self) -> object:
        raise Mute

    __hash__ = object.__hash__


class Nameless(BaseSchedule):
    """A schedule of a project's own that answers, and cannot be shown."""

    def __repr__(self) -> str:
        raise Mute

    def remaining_estimate(self, last_run_at: dt.datetime) -> dt.timedelta:
        return last_run_at + dt.timedelta(minutes=1) - self.now()


class Ending(Nameless):
    """One that knows no instant at all."""

    def remaining_estimate(self, last_run_at: dt.datetime) -> dt.timedelta:
        raise Mute

    is_due = remaining_estimate


@pytest.fixture
def app() -> Celery:
    return Celery("foreign", set_as_current=False)


def entry(app: Celery, when: Any = 30, **fields: Any) -> ScheduleEntry:
    return ScheduleEntry(**{"name": "an-entry", "task": "a.task", "schedule": when, "app": app, **fields})


def test_what_says_what_it_is_is_taken_at_its_word() -> None:
    assert (text_of(KeyError("a")), shown("a")) == ("'a'", "'a'")


def test_what_does_not_is_named_by_its_type() -> None:
    assert text_of(Mute()) == one_line(Mute()) == "Mute, whose text cannot be read"
    assert "Closed object at" in shown(Closed())


def test_a_job_whose_error_has_no_text_ends_no_queue(said: list[Any], queues_end: None) -> None:
    def fail() -> None:
        raise Mute

    done: list[str] = []
    queue = BackgroundQueue("tests-background", Event.RECEIVER_FAILED)
    queue.put(fail, signal="one")
    queue.put(lambda: done.append("next"))
    assert queue.drain(10)
    assert done == ["next"]
    assert [line["reason"] for line in said] == ["Mute: Mute, whose text cannot be read"]


def test_a_receiver_whose_error_has_no_text_keeps_the_signal_from_no_other(
    said: list[Any], queues_end: None, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(**_: Any) -> None:
        raise Mute

    def take(entry: str, **_: Any) -> None:
        got.append(entry)

    got: list[str] = []
    for receiver in (fail, take):
        signals.slot_missed.connect(receiver)
    try:
        with caplog.at_level(logging.CRITICAL, "django.dispatch"):
            signals.send_in_background(signals.slot_missed, entry="a")
            assert signals._background.drain(10)
    finally:
        for receiver in (fail, take):
            signals.slot_missed.disconnect(receiver)
    assert got == ["a"]
    assert [line["signal"] for line in said] == ["slot_missed"]


def test_a_line_of_the_log_is_written_whatever_is_in_it() -> None:
    assert events._spelt(Mute()) == '"Mute, whose text cannot be read"'.replace('"', "'")


def test_a_message_whose_error_has_no_text_is_its_entrys_own_fault_and_holds_up_no_other(app: Celery) -> None:
    def send(message: ScheduleEntry, *, first: bool) -> bool:
        if message.name == "mute":
            raise Mute
        return True

    ledger = Mock()
    ledger.claims.read_paused.return_value = SimpleNamespace(holds=lambda name: False)
    publisher = Publisher(ledger, send, "tests", heartbeat=lambda: None)
    names = ("mute", "other")
    messages = [Message(entry(app, name=name), Slot(NOW, EntryName(name)), is_first=True) for name in names]
    published = publisher.publish(messages, Term(Epoch(1), Side.CODE, "holder"))
    assert [one.name for one in published.entries] == ["other"]
    assert published.own_fault and not published.brokers_fault
    ledger.claims.note_fault.assert_called_once_with(messages[0].slot, "Mute, whose text cannot be read")


def test_a_schedule_that_cannot_be_shown_is_told_from_another_and_has_one_fingerprint_everywhere(app: Celery) -> None:
    one, other = Nameless(), Nameless()
    assert fingerprint(one) != fingerprint(other)
    assert fingerprints(entry(app, one)) == fingerprints(entry(app, other))


@pytest.mark.parametrize("fields", [{"args": (Closed(),)}, {"kwargs": {Closed(): 1}}, {"options": {"x": Closed()}}])
def test_an_entry_with_values_that_cannot_be_shown_has_a_fingerprint(app: Celery, fields: dict[str, Any]) -> None:
    assert fingerprints(entry(app, **fields)).message


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"args": [Closed()]}, "args"),
        ({"kwargs": {"a": Closed()}}, "kwargs"),
        ({"options": {"queue": Closed()}}, "options['queue']"),
        ({"options": {"expires": Closed()}}, "options['expires']"),
        ({"task": Closed()}, "task"),
        ({"when": Ending()}, "schedule"),
    ],
)
def test_what_cannot_be_shown_compared_or_kept_is_refused_by_name(
    app: Celery, fields: dict[str, Any], field: str
) -> None:
    found = convert(entry(app, **fields), "json", {})
    assert isinstance(found, list)
    assert [one.field for one in found] == [field]


def test_an_option_whose_name_is_no_text_is_refused(app: Celery) -> None:
    found = convert(entry(app, options={Closed(): 1}), "json", {})
    assert isinstance(found, list)
    assert [one.reason for one in found] == ["has a name that is no text"]


def test_a_name_that_cannot_be_shown_is_refused(app: Celery) -> None:
    app.conf.beat_schedule = {Closed(): {"task": "a.task", "schedule": 30}}
    with pytest.raises(EntriesRefused, match="no text; give it as a string"):
        code_names(app, Config())


def test_a_schedule_that_raises_is_named_with_what_to_do(app: Celery) -> None:
    [found] = unsendable(entry(app, Ending()))
    assert "does not say when it is due (Mute Mute, whose text cannot be read)" in found.reason


def test_a_schedule_that_raises_later_ends_a_command_with_one_line(app: Celery) -> None:
    said = "does not say what follows on 2026-03-01 00:00:00 UTC (Mute: Mute, whose text cannot be read)."
    with pytest.raises(ScheduleFailed) as raised:
        timetable(entry(app, Ending()).schedule).next_after(NOW)
    assert str(raised.value).endswith(said)
    assert raised.value.remedy
