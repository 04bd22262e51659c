"""Events: through the project's own logging or structlog, at their levels, and never an error of ours."""

import io
import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest
import structlog

from cutover import events
from cutover.events import Event, log
from cutover.types import Side
from demo.processes import ROOT


@pytest.fixture
def unconfigured(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A project that has not configured structlog; what it does in the test is undone."""
    before = structlog.get_config()
    structlog.reset_defaults()
    monkeypatch.setattr(events, "_structured", structlog.stdlib.get_logger(events.LOGGER))
    yield
    structlog.configure(**before)


@pytest.fixture
def printed() -> io.StringIO:
    """What structlog prints, once it has been configured to."""
    return io.StringIO()


@pytest.fixture
def configured(unconfigured: None, printed: io.StringIO) -> None:
    """A project whose structlog prints, and does not know standard logging."""
    structlog.configure(
        processors=[structlog.processors.KeyValueRenderer(key_order=["event"])],
        wrapper_class=structlog.BoundLogger,  # which takes a level's own method alone
        logger_factory=structlog.PrintLoggerFactory(printed),
    )


class Broken(logging.Handler):
    """A handler that fails, as one whose server is away."""

    def emit(self, record: logging.LogRecord) -> None:
        raise RuntimeError("no log today")


@pytest.fixture
def broken() -> Iterator[None]:
    handler, logger = Broken(), logging.getLogger(events.LOGGER)
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)


def test_without_a_configured_structlog_events_go_through_logging_at_their_levels(unconfigured, caplog, capfd):
    with caplog.at_level(logging.INFO, "cutover"):
        log(Event.LEASE_RENEWED, holder="h")
        log(Event.TERM_STARTED, epoch=3, holder="h", side=Side.CODE)
        log(Event.SLOT_MISSED, entry="the daily\none", due_at="", epoch=3, reason="can't 100% know")
    assert [(r.name, r.levelname, r.getMessage()) for r in caplog.records] == [
        ("cutover", "INFO", "cutover.term.started epoch=3 holder=h side=code"),
        (
            "cutover",
            "ERROR",
            "cutover.slot.missed entry='the daily\\none' due_at='' epoch=3 reason=\"can't 100% know\"",
        ),
    ]
    assert caplog.records[0].cutover == {"event": "cutover.term.started", "epoch": 3, "holder": "h", "side": "code"}
    assert capfd.readouterr() == ("", "")


def test_events_of_a_kind_share_one_format_by_which_they_are_grouped(unconfigured, caplog):
    for entry in ("a", "b"):
        log(Event.SLOT_MISSED, entry=entry)
    assert {record.msg for record in caplog.records} == {"cutover.slot.missed entry=%s"}


def test_a_structlog_that_is_configured_later_is_used_from_then_on(unconfigured, printed, caplog):
    log(Event.LEASE_LOST, holder="before")
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(printed))
    log(Event.LEASE_LOST, holder="after")
    assert [record.getMessage() for record in caplog.records] == ["cutover.lease.lost holder=before"]
    assert "after" in printed.getvalue()
    assert "before" not in printed.getvalue()


def test_a_structlog_without_standard_logging_has_every_level_and_the_loggers_own_is_respected(
    configured, printed, caplog
):
    for event in (Event.LEASE_RENEWED, Event.TERM_STARTED, Event.LEASE_LOST, Event.SLOT_MISSED):
        log(event)
    assert printed.getvalue().split() == [
        "event='cutover.lease.renewed'",
        "event='cutover.term.started'",
        "event='cutover.lease.lost'",
        "event='cutover.slot.missed'",
    ]
    with caplog.at_level(logging.CRITICAL, "cutover"):
        log(Event.SLOT_MISSED, entry="quiet")
    assert "quiet" not in printed.getvalue()


def test_a_line_that_cannot_be_logged_ends_nothing_and_is_seen(unconfigured, broken, capfd):
    log(Event.SLOT_MISSED, entry="a")
    assert capfd.readouterr().err == ("cutover.slot.missed entry=a (not logged: RuntimeError('no log today'))\n")


def test_a_processor_that_fails_ends_nothing_and_is_seen(configured, capfd):
    def fail(*_: object) -> None:
        raise KeyError("epoch")

    structlog.configure(processors=[fail])
    log(Event.TERM_STARTED, epoch=3)
    assert capfd.readouterr().err == "cutover.term.started epoch=3 (not logged: KeyError('epoch'))\n"


def test_nowhere_to_write_to_is_no_error_either(unconfigured, broken, monkeypatch):
    monkeypatch.setattr(sys, "__stderr__", None)
    log(Event.SLOT_MISSED, entry="a")


SENTRY = """
import sentry_sdk
from sentry_sdk.transport import Transport

class Captured(Transport):
    def capture_envelope(self, envelope):
        event = envelope.get_event()
        print(event["level"], event["logger"], event["logentry"]["message"], event["logentry"]["params"])

sentry_sdk.init(dsn="https://key@sentry.invalid/1", transport=Captured())
from cutover.events import Event, log
log(Event.LEASE_LOST, holder="h")
log(Event.SLOT_MISSED, entry="daily", reason="broken")
"""


def test_an_error_event_reaches_sentry_and_no_other_does() -> None:
    pytest.importorskip("sentry_sdk")
    done = subprocess.run([sys.executable, "-c", SENTRY], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "error cutover cutover.slot.missed entry=%s reason=%s ['daily', 'broken']\n", done.stderr
