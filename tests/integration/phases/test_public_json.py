"""`--json` has the keys that docs/public-api.md names, in every command."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from cutover.models import Cutover
from cutover.observe import status
from cutover.observe.report import compose
from cutover.phases import phase2, phase3, phase3_command, phase4, plan, probe, replay, rollback
from cutover.phases.context import Context
from cutover.phases.report import Report
from cutover.types import ProbeRole, Side
from demo.processes import ROOT
from demo.waiting import wait_until
from tests.integration.phases.conftest import Beat

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(120),
    # The keys do not depend on the database: one will do.
    pytest.mark.django_db(transaction=True),
    pytest.mark.parametrize("alias", ["default"], indirect=True),
]

PAGE = (ROOT / "docs" / "public-api.md").read_text()
BY_NAME = {"unsendable", "unknown_tasks", "fates", "versions", "settings"}
"""Their keys are entries."""


def documented(command: str) -> set[str]:
    """The keys in that command's row; `missed` has those of a slot."""
    [row] = re.findall(rf"^\| `{re.escape(command)}` \| (`.*) \|$", PAGE.split("## `--json`")[1], re.MULTILINE)
    keys = set(re.findall(r"`([\w.\[\]]+)`", row))
    return keys | {key.replace("slots[]", "missed[]") for key in keys if key.startswith("slots[]")}


def spelt(data: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """Every key, as the page spells it."""
    for name, value in data.items():
        key = f"{before}{name}"
        if isinstance(value, Mapping) and name not in BY_NAME:
            yield from spelt(value, f"{key}.")
        elif isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
            yield from (inner for one in value for inner in spelt(one, f"{key}[]."))
        else:
            yield key


def check(command: str, report: Report) -> None:
    """Nothing is there that is not documented, and everything that has no list or part around it is there."""
    promised, found = documented(command), set(spelt(report.data))
    empty = {key for key in found if any(name.startswith((f"{key}.", f"{key}[].")) for name in promised)}
    assert found - empty - promised == set()
    assert {key for key in promised if not re.search(r"[.\[]", key)} - found == set()


def test_every_command_has_the_keys_that_are_documented(
    context: Callable[[], Context], beat: Callable[[Side], Beat], schedule: dict[str, dict[str, Any]]
) -> None:
    Cutover.objects.using(context().alias).update(phase=1)
    schedule["ticking"]["schedule"] = 2  # soon due, yet few in the day ahead that `plan` looks through
    schedule["refused"] = {"task": "demo.tasks.note", "schedule": 3600, "args": (object(),)}
    check("plan", plan.run(context()))
    del schedule["refused"]
    with beat(Side.CODE), beat(Side.DATABASE):
        check("phase2 --dry-run", phase2.run(context(), dry_run=True))
        check("phase2", phase2.run(context()))
        wait_until(lambda: status.run(context()).data["slots"], "the first slot")
        check("status", status.run(context()))
        check("status --entry", status.run(context(), entry="ticking"))
        check("status --role", probe.run(context(), ProbeRole.ANY))
        check("replay", replay.run(context()))
        check("phase3 --dry-run", phase3_command.run(context(), dry_run=True))
        check("phase3", phase3.run(context()))
        check("rollback --dry-run", rollback.run(context(), dry_run=True))
        check("phase4", phase4.run(context()))
        check("report", compose.run(context()))
        check("rollback", rollback.run(context()))
