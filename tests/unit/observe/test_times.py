"""How instants and spans of time are put on a screen."""

import datetime as dt

import pytest

from cutover.observe.times import brief, relative, signed

NOW = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 ms"),
        (0.24, "240 ms"),
        (-0.24, "-240 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7_199, "119 min"),
        (7_200, "2 h"),
        (172_799, "47 h"),
        (172_800, "2 d"),
    ],
)
def test_a_span_is_said_in_one_unit(seconds: float, said: str) -> None:
    assert brief(dt.timedelta(seconds=seconds)) == said


@pytest.mark.parametrize(("seconds", "said"), [(0, "+0 ms"), (0.04, "+40 ms"), (-90, "-90 s"), (7_200, "+2 h")])
def test_a_delay_is_said_with_one_sign(seconds: float, said: str) -> None:
    assert signed(dt.timedelta(seconds=seconds)) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "now"), (-0.4, "now"), (3, "in 3 s"), (-3.4, "3 s ago"), (720, "in 12 min"), (-18_000, "5 h ago")],
)
def test_an_instant_is_said_from_now(seconds: float, said: str) -> None:
    assert relative(NOW + dt.timedelta(seconds=seconds), NOW) == said
