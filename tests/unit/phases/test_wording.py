"""Instants, spans, lists and errors, as every message has them."""

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from django.test import override_settings

from cutover.phases.wording import SHOWN, inline, instant, listed, one_line, span, to_the_second

NOON = dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC)


def test_an_instant_names_its_zone_and_has_fractions_only_where_there_are_some() -> None:
    assert instant(NOON) == "2026-07-01 12:00:00 UTC"
    assert instant(NOON, ZoneInfo("Europe/London")) == "2026-07-01 13:00:00 BST"
    with override_settings(TIME_ZONE="Europe/London"):
        assert instant(NOON) == "2026-07-01 13:00:00 BST", "the site's own, unless said"
    assert instant(NOON + dt.timedelta(seconds=0.5)) == "2026-07-01 12:00:00.500000 UTC"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (0.25, "0.2 s"),
        (119, "119 s"),
        (120, "2 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (86_400, "24 h"),
        (91_800, "25 h 30 min"),
        (172_740, "47 h 59 min"),
        (190_859, "2 days 5 h"),
        (604_800, "7 days"),
    ],
)
def test_a_span_has_one_or_two_units_and_no_day_is_lost(seconds: float, said: str) -> None:
    assert span(dt.timedelta(seconds=seconds)) == said


def test_a_long_list_ends_with_how_many_there_are_more() -> None:
    assert listed(range(SHOWN))[-1] == f"  {SHOWN - 1}"
    assert listed(range(SHOWN + 3))[SHOWN - 1 :] == [f"  {SHOWN - 1}", "  and 3 more"]
    assert inline(["a", "b"]) == "a; b"
    assert inline([]) == ""


def test_an_error_is_one_line_also_when_it_has_no_text() -> None:
    assert one_line(ValueError("a\n  b")) == "a b"
    assert one_line(TimeoutError()) == "TimeoutError"


def test_of_what_is_done_nobody_needs_the_fraction_of_a_second() -> None:
    at = dt.datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=dt.UTC)
    assert to_the_second(at, dt.UTC) == "2026-01-02 03:04:05 UTC"
    assert instant(at, dt.UTC) == "2026-01-02 03:04:05.678901 UTC"
