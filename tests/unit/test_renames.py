"""Which name an entry has, had, and has been given, by the setting RENAMED."""

import pytest

from cutover.renames import NO_RENAMES, Renames
from cutover.types import EntryName

A, B, C, OTHER = (EntryName(name) for name in ("a", "b", "c", "other"))
RENAMES = Renames({A: B, B: C, EntryName("x"): EntryName("y")})


@pytest.mark.parametrize(
    ("name", "there", "present"),
    [
        (A, {C}, C),
        (A, {B, C}, B),
        (A, {A, C}, A),
        (C, {A, B}, None),
        (A, {OTHER}, None),
        (OTHER, {OTHER}, OTHER),
    ],
)
def test_a_name_is_of_the_first_entry_on_its_way_that_is_there(name, there, present):
    assert RENAMES.present(name, there) == present


def test_an_entry_has_its_names_of_before_the_latest_first():
    assert (RENAMES.before(C), RENAMES.before(A), RENAMES.before(OTHER)) == ([B, A], [], [])


def test_an_entry_has_the_names_that_it_was_given_since_the_earliest_first():
    assert (RENAMES.since(A), RENAMES.since(C), RENAMES.since(OTHER)) == ([B, C], [], [])


def test_without_the_setting_each_name_is_its_own():
    assert (NO_RENAMES.present(A, {A}), NO_RENAMES.before(A), NO_RENAMES.since(A)) == (A, [], [])
