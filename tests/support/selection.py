"""Which tests the short run takes and which the rest, and in which order."""

import itertools
import os

import pytest

LONGEST = (
    "tests/integration/phases/test_switch.py::test_killed_at_any_statement_the_switch_and",
    "tests/demo/test_drills.py::",
    "tests/platform/test_rehearsal.py::",
    "tests/integration/phases/test_guard.py::test_a_guard_killed_at_any_statement",
    "tests/parts/test_install.py::",
    "tests/parts/test_tls.py::test_the_whole_cutover",
    "tests/integration/phases/test_killed.py::",
    "tests/integration/phases/test_quiet.py::test_killed_at_any_statement",
    "tests/hosts/test_two_releases.py::",
    "tests/acceptance/test_beats.py::",
    "tests/demo/test_benchmarks.py::",
    "tests/parts/test_rabbitmq.py::",
    "tests/acceptance/test_readme.py::test_commands_work",
    "tests/integration/phases/test_shadow.py::test_crontabs_are_rehearsed_too",
    "tests/parts/test_mariadb.py::",
    "tests/integration/phases/test_cadence.py::test_a_day_is_a_day",
    "tests/acceptance/test_command.py::test_from_the_plan_to_the_proof_and_back",
    "tests/faults/test_pause.py::",
    "tests/hosts/test_hosts.py::test_a_project_goes_through_all_phases_and_back",
    "tests/parts/test_acl.py::",
    "tests/parts/test_sentinel.py::",
    "tests/hosts/test_agents.py::",
    "tests/faults/test_backlog.py::",
    "tests/hosts/test_stray_beat.py::",
    "tests/faults/test_check_ins.py::",
    "tests/integration/phases/test_switch.py::test_killed_at_any_statement",
    "tests/model/test_protocol.py::",
    "tests/faults/test_census.py::",
    "tests/faults/test_alerts.py::",
    "tests/acceptance/test_command.py::test_a_database_that_is_away",
    "tests/integration/phases/test_unsendable.py::test_edits_that_cannot_be_sent",
    "tests/faults/test_renames.py::",
    "tests/faults/test_shadow.py::",
    "tests/acceptance/test_stranger.py::",
    "tests/acceptance/test_command.py::",
    "tests/hosts/test_hosts.py::",
)
"""Tests that take long, the longest first: workers that began with short ones would wait for each other at the end."""
ON_ONE_DATABASE = (
    "tests/integration/phases/",
    "tests/integration/beats/",
    "tests/integration/workers/",
    "tests/integration/observe/",
    "tests/acceptance/",
)
"""What the short run does not try on SQLite too: the ledger's own tests are, and a host project lives there."""


def is_left_out(item: pytest.Item) -> bool:
    """Whether the short run leaves the test to the rest."""
    return item.get_closest_marker("long") is not None or _is_repeated(item)


def _is_repeated(item: pytest.Item) -> bool:
    """Whether it is a test on SQLite, of those that the short run tries on one database."""
    if not item.nodeid.startswith(ON_ONE_DATABASE):
        return False
    callspec = getattr(item, "callspec", None)
    return callspec is not None and (callspec.params.get("alias"), callspec.params.get("database_url")) in (
        ("default", None),
        (None, "sqlite"),
    )


def longest_first(items: list[pytest.Item]) -> None:
    """Begin each worker's share with some of the longest tests; a share is a stretch of the items (``worksteal``)."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers == 1:
        return
    # A dict: what two prefixes fit comes once, in the order of the first.
    longest = list({item: None for prefix in LONGEST for item in items if item.nodeid.startswith(prefix)})
    others = iter([item for item in items if not item.nodeid.startswith(LONGEST)])
    ordered: list[pytest.Item] = []
    left = len(items)
    for number in range(workers):
        size = left // (workers - number)
        left -= size
        begins_with = longest[number::workers]
        ordered += [*begins_with, *itertools.islice(others, max(0, size - len(begins_with)))]
    items[:] = [*ordered, *others]
