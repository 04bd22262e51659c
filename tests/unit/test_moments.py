"""How an operator says from when until when slots are to be replayed, and to when a wait is postponed."""

import datetime as dt
from argparse import ArgumentTypeError

import pytest

from cutover import clock
from cutover.errors import ConfigurationError
from cutover.management.commands.cutover import _moment
from cutover.phases.typed import postponed


@pytest.mark.parametrize(
    ("said", "at"),
    [
        ("2026-11-26T10:00+00:00", dt.datetime(2026, 11, 26, 10, tzinfo=dt.UTC)),
        ("2026-11-26T10:00:30.5+01:00", dt.datetime(2026, 11, 26, 9, 0, 30, 500_000, tzinfo=dt.UTC)),
        ("2026-07-01T10:00", dt.datetime(2026, 7, 1, 9, tzinfo=dt.UTC)),
        ("2026-07-01", dt.datetime(2026, 6, 30, 23, tzinfo=dt.UTC)),
    ],
)
def test_an_instant_is_said_as_iso_has_it_in_the_projects_time_zone_where_it_names_none(settings, said, at):
    settings.TIME_ZONE = "Europe/London"
    assert _moment(said) == at


def test_some_time_ago_is_said_as_for_a_report(monkeypatch):
    now = dt.datetime(2026, 11, 26, 10, tzinfo=dt.UTC)
    monkeypatch.setattr(clock, "now", lambda: now)
    assert _moment("24h") == now - dt.timedelta(days=1)


@pytest.mark.parametrize("said", ["", "yesterday", "2026-13-01", "0h", "400d"])
def test_what_is_neither_is_said_in_one_line(said):
    with pytest.raises(ArgumentTypeError, match="is no time ago, such as 12h or 7d, and no instant"):
        _moment(said)


NOW = dt.datetime(2026, 11, 26, 1, tzinfo=dt.UTC)
PLANNED = NOW + dt.timedelta(hours=2)


@pytest.mark.parametrize(
    ("said", "at"),
    [
        ("10m", PLANNED + dt.timedelta(minutes=10)),
        ("90", PLANNED + dt.timedelta(seconds=90)),
        ("02:30", NOW.replace(hour=2, minute=30)),
        ("2026-11-27T02:30", NOW.replace(day=27, hour=2, minute=30)),
    ],
)
def test_a_wait_is_postponed_by_a_length_from_when_it_was_to_end_or_to_a_time(said, at):
    assert postponed(said, PLANNED, NOW, dt.UTC, dt.timedelta(days=7)) == at


@pytest.mark.parametrize("said", ["", "soon", "0m", "8d", "-10m", "2026-11-25T02:30"])
def test_to_what_no_wait_can_be_postponed_is_said(said):
    with pytest.raises(ConfigurationError):
        postponed(said, PLANNED, NOW, dt.UTC, dt.timedelta(days=7))
