"""How an operator says from when until when slots are to be replayed."""

import datetime as dt
from argparse import ArgumentTypeError

import pytest

from cutover import clock
from cutover.management.option_types import moment


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
    assert moment(said) == at


def test_some_time_ago_is_said_as_for_a_report(monkeypatch):
    now = dt.datetime(2026, 11, 26, 10, tzinfo=dt.UTC)
    monkeypatch.setattr(clock, "now", lambda: now)
    assert moment("24h") == now - dt.timedelta(days=1)


@pytest.mark.parametrize("said", ["", "yesterday", "2026-13-01", "0h", "400d"])
def test_what_is_neither_is_said_in_one_line(said):
    with pytest.raises(ArgumentTypeError, match="is no time ago, such as 12h or 7d, and no instant"):
        moment(said)
