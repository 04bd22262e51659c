"""The standby that rehearses is killed in the middle of a shadow run."""

import re
import time

import pytest

from demo.processes import python
from demo.waiting import wait_until
from tests.support.site import Site

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize("seconds", ["60", "4"])
def test_a_standby_that_is_killed_in_the_middle_fails_the_phase_by_name(sqlite_site: Site, seconds: str) -> None:
    """Nobody takes the rehearsal over: long before its end the command fails, and at its end at the latest."""
    site = sqlite_site
    site.prodserver("legacy-beat")
    beats = {process.pid: process for process in (site.prodserver("beat"), site.prodserver("beat"))}
    wait_until(
        lambda: len([b for b in site.status().get("beats", []) if b["warm"]]) == 3, "three beats are warm", poll_s=0.5
    )
    assert site.cutover("phase1").exit_code == 0
    command = site.start("shadow", python("manage.py", "cutover", "phase2", "--shadow", f"{seconds}s"))
    told = wait_until(lambda: re.search(r"shadow run: \S+:(\d+) rehearses", command.output), "one rehearses")
    killed = beats.pop(int(told[1]))
    killed.kill()
    began = time.monotonic()
    assert command.wait(timeout_s=50) == 1, command.output
    assert time.monotonic() - began < 40
    lines = [line for line in command.output.splitlines() if "is gone" in line]
    assert len(lines) == 1, command.output
    assert f":{killed.pid}, is gone: the shadow run proves nothing." in lines[0]
    assert "Traceback" not in command.output
    assert site.status()["phase"] == 1
    again = site.cutover("phase2", "--shadow", "4s")
    assert again.exit_code == 0, again.output
    [other] = beats
    assert f":{other} rehearses" in again.output
