"""Instants as an operator types them, also on the days on which clocks are changed."""

import datetime as dt
from zoneinfo import ZoneInfo

import pytest

from cutover.errors import ConfigurationError
from cutover.phases.typed import instant_by

BERLIN = ZoneInfo("Europe/Berlin")
WEEK = dt.timedelta(days=7)
NOON = dt.datetime(2026, 6, 1, 12, 0, tzinfo=dt.UTC)  # 14:00 there
SPRING = dt.datetime(2026, 3, 28, 22, 0, tzinfo=dt.UTC)  # 23:00; at 02:00 the clocks are put to 03:00
AUTUMN = dt.datetime(2026, 10, 24, 22, 0, tzinfo=dt.UTC)  # 00:00; at 03:00 they are put back to 02:00


def utc(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(f"{text}+00:00")


@pytest.mark.parametrize(
    ("text", "now", "wanted"),
    [
        ("90s", NOON, "2026-06-01T12:01:30"),
        ("2h", NOON, "2026-06-01T14:00"),
        ("15:00", NOON, "2026-06-01T13:00"),
        ("6:30", NOON, "2026-06-02T04:30"),
        ("14:00", NOON, "2026-06-02T12:00"),
        ("2026-06-03T02:30", NOON, "2026-06-03T00:30"),
        ("2026-06-03 02:30+00:00", NOON, "2026-06-03T02:30"),
        ("02:30", SPRING, "2026-03-29T01:30"),  # left out: shown as 03:30
        ("2026-03-29T02:30", SPRING, "2026-03-29T01:30"),
        ("03:30", SPRING, "2026-03-29T01:30"),
        ("02:30", AUTUMN, "2026-10-25T00:30"),  # the first of both
        ("02:30", utc("2026-10-25T00:45"), "2026-10-25T01:30"),  # the second
        ("2026-10-25T02:30", utc("2026-10-25T00:45"), "2026-10-25T01:30"),
        ("02:30", utc("2026-10-25T01:45"), "2026-10-26T01:30"),
    ],
)
def test_what_is_typed_is_an_instant(text: str, now: dt.datetime, wanted: str) -> None:
    assert instant_by(text, now, BERLIN, WEEK) == utc(wanted)


@pytest.mark.parametrize("text", ["", "soon", "25:00", "12:60", "10", "-5m", "2026-13-01T00:00", "0s", "8d"])
def test_what_is_none_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        instant_by(text, NOON, BERLIN, WEEK)
    assert repr(text) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_is_past_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="has to be between now"):
        instant_by("2026-06-01T13:59", NOON, BERLIN, WEEK)
