"""Which clock is the wrong one, as far as three can say."""

import datetime as dt
from typing import Any

import pytest

from cutover.phases.gates import servers


@pytest.mark.parametrize(
    ("database_s", "redis_s", "ahead_s"),
    [
        (18_000, 0, 18_000),
        (18_000, 1, 17_999),
        (-7, 0.5, -7),
        (18_000, 18_000, 0),  # this host's is the wrong one
        (0, 18_000, 0),  # Redis's is
        (5, 10, 0),
        (18_000, None, 0),
        (None, 0, 0),
    ],
)
def test_the_databases_clock_is_wrong_where_two_others_say_so(
    monkeypatch: pytest.MonkeyPatch, database_s: float | None, redis_s: float | None, ahead_s: float
) -> None:
    told = {servers.REDIS: redis_s, servers.DATABASE: database_s}
    apart = {who: dt.timedelta(seconds=seconds) for who, seconds in told.items() if seconds is not None}
    monkeypatch.setattr(servers, "_all_apart", lambda context: apart)
    context: Any = None
    assert servers.database_ahead(context) == dt.timedelta(seconds=ahead_s)
