"""The slot in log records: inside a run, in every kind of pool, and nowhere after it."""

import contextvars
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from cutover import logs

RUN = ("daily", "2026-11-27T06:00:00+00:00", 3, "the-id")
SAID = {
    "cutover_entry": "daily",
    "cutover_due_at": "2026-11-27T06:00:00+00:00",
    "cutover_epoch": 3,
    "cutover_slot": "the-id",
}


@pytest.fixture
def configured() -> Iterator[None]:
    before = structlog.get_config()
    structlog.configure(processors=[structlog.contextvars.merge_contextvars])
    yield
    structlog.configure(**before)
    structlog.contextvars.clear_contextvars()


def record() -> dict[str, Any]:
    made = logging.LogRecord("a", logging.INFO, "p", 1, "m", (), None)
    assert logs.SlotFilter().filter(made)
    return {name: value for name, value in vars(made).items() if name.startswith("cutover_")}


def test_a_record_inside_says_the_slot_and_outside_none_so_that_a_format_may_name_it() -> None:
    outside = {"cutover_entry": "", "cutover_due_at": "", "cutover_epoch": None, "cutover_slot": ""}
    assert record() == outside
    with logs.of_slot(*RUN):
        assert record() == SAID
    assert record() == outside


def test_a_record_that_says_a_slot_already_keeps_it() -> None:
    made = logging.makeLogRecord({"cutover_slot": "of another process", "cutover_entry": "x"})
    with logs.of_slot(*RUN):
        logs.SlotFilter().filter(made)
    assert (made.cutover_slot, made.cutover_entry) == ("of another process", "x")


def test_structlogs_context_has_it_and_what_was_bound_before_is_back_after(configured: None) -> None:
    structlog.contextvars.bind_contextvars(cutover_entry="the project's own", other=1)
    with pytest.raises(SystemExit), logs.of_slot(*RUN):
        assert structlog.contextvars.get_contextvars() == {**SAID, "other": 1}
        raise SystemExit
    assert structlog.contextvars.get_contextvars() == {"cutover_entry": "the project's own", "other": 1}


def test_a_structlog_that_nobody_configured_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(structlog, "is_configured", lambda: False)
    with logs.of_slot(*RUN):
        assert structlog.contextvars.get_contextvars() == {}


def test_a_project_that_clears_the_context_has_a_processor(configured: None) -> None:
    with logs.of_slot(*RUN):
        structlog.contextvars.clear_contextvars()
        assert logs.add_slot(None, "info", {"event": "x"}) == {"event": "x", **SAID}
        assert logs.add_slot(None, "info", {"cutover_entry": "own"})["cutover_entry"] == "own"
    assert logs.add_slot(None, "info", {"event": "x"}) == {"event": "x"}
    assert structlog.contextvars.get_contextvars() == {}


def test_runs_at_the_same_time_do_not_see_each_other() -> None:
    seen: dict[str, Any] = {}
    together = threading.Barrier(2)

    def run(name: str) -> None:
        with logs.of_slot(name, "", 1, name):
            together.wait(10)
            seen[name] = record()["cutover_entry"]
            together.wait(10)
        seen[f"after {name}"] = record()["cutover_entry"]

    threads = [threading.Thread(target=run, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {"a": "a", "b": "b", "after a": "", "after b": ""}


def test_a_run_within_a_run_leaves_the_outer_one_as_it_was() -> None:
    with logs.of_slot("outer", "", 1, "1"):
        with logs.of_slot("inner", "", 1, "2"):
            assert record()["cutover_entry"] == "inner"
        assert record()["cutover_entry"] == "outer"


def test_a_run_that_ends_in_another_context_leaves_nothing_there() -> None:
    def begin_and_end_elsewhere() -> None:
        run = logs.of_slot(*RUN)
        run.__enter__()
        other = contextvars.copy_context()
        other.run(run.__exit__, None, None, None)
        assert other.run(record)["cutover_entry"] == ""

    contextvars.copy_context().run(begin_and_end_elsewhere)  # what is left where it began is not the next test's
