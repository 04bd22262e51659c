"""Waits after failures: doubling, bounded, spread."""

import pytest

from cutover.backoff import Backoff

SOME = Backoff(first_s=0.5, most_s=10.0)


def after(failures: int) -> Backoff:
    backoff = SOME
    for _ in range(failures):
        backoff = backoff.failed()
    return backoff


@pytest.mark.parametrize(
    ("failures", "wait_s"), [(0, 0.0), (1, 0.5), (2, 1.0), (3, 2.0), (5, 8.0), (6, 10.0), (5_000, 10.0)]
)
def test_waits_double_up_to_the_most(failures, wait_s):
    assert after(failures).wait_s(1.0) == wait_s


def test_jitter_spreads_from_half_to_the_whole():
    assert [after(2).wait_s(jitter) for jitter in (0.0, 0.5, 1.0)] == [0.5, 0.75, 1.0]


def test_a_success_begins_again():
    assert after(4).succeeded() == SOME
