"""What a beat has loaded is out of the way of garbage collections, once, and again when much has come."""

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cutover.beats.garbage import ENOUGH, PutAway

OBJECTS = 10_000


@pytest.fixture
def is_looked_through() -> Iterator[Callable[[], bool]]:
    """Makes objects; whether a full collection still goes through them is answered after what is done in between."""
    kept: list[Any] = []
    gc.disable()

    def answer() -> bool:
        found = {id(each) for each in gc.get_objects()}
        return any(id(each) in found for each in kept)

    kept += ([number] for number in range(OBJECTS))
    yield answer
    gc.enable()


@pytest.mark.parametrize(
    ("loads", "is_left"),
    [((), True), ((0,), True), ((1,), False), ((ENOUGH,), False)],
    ids=["nothing loaded", "an empty schedule", "one entry", "many"],
)
def test_the_first_entries_are_put_away(is_looked_through: Callable[[], bool], loads: tuple[int, ...], is_left: bool):
    put_away = PutAway()
    for entries in loads:
        put_away.loaded(entries)
    assert is_looked_through() is is_left


@pytest.mark.parametrize(("more", "is_left"), [(0, True), (ENOUGH - 1, True), (ENOUGH, False)])
def test_what_comes_later_is_put_away_when_it_is_much(more: int, is_left: bool, request: pytest.FixtureRequest):
    put_away = PutAway()
    put_away.loaded(3)
    is_looked_through = request.getfixturevalue("is_looked_through")
    put_away.loaded(3 + more)
    assert is_looked_through() is is_left
