"""``cutover status --check --role`` as a platform asks it: exit code and one line, of real processes."""

import signal
import time

import pytest

from demo.waiting import wait_until
from tests.support.site import Site

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]


def probe(site: Site, role: str) -> tuple[int | None, str]:
    process = site.cutover("status", "--check", "--role", role)
    [line] = process.output.splitlines()
    return process.exit_code, line


def test_beat_and_worker_of_this_host_are_judged(sqlite_site: Site) -> None:
    site = sqlite_site
    for role in ("any", "leader", "standby", "worker"):
        code, line = probe(site, role)
        assert (code, line.split(" ")[0]) == (1, "Unhealthy"), line
    worker, leader = site.prodserver("worker"), site.prodserver("legacy-beat")
    wait_until(lambda: probe(site, "leader")[0] == 0, "the beat leads")
    wait_until(lambda: probe(site, "worker")[0] == 0, "the worker answers")
    assert "answers" in probe(site, "worker")[1]
    assert "nothing is overdue" in probe(site, "any")[1]
    leader.send_to_group(signal.SIGSTOP)
    wait_until(lambda: probe(site, "any")[0] == 1, "a frozen beat fails", timeout_s=40)
    leader.send_to_group(signal.SIGCONT)
    worker.send_to_group(signal.SIGSTOP)
    code, line = probe(site, "worker")
    worker.send_to_group(signal.SIGCONT)
    assert (code, "has answered" in line) == (1, True), line


def test_a_standby_of_the_side_that_is_not_active_passes_its_check(sqlite_site: Site) -> None:
    sqlite_site.prodserver("beat")
    wait_until(lambda: probe(sqlite_site, "standby")[0] == 0, "the beat stands by")
    code, line = probe(sqlite_site, "any")
    assert code == 0
    assert "stands by" in line
    assert probe(sqlite_site, "leader")[0] == 1


def test_a_probe_is_bounded_where_redis_is_away(sqlite_site: Site) -> None:
    sqlite_site.env["REDIS_URL"] = "redis://127.0.0.1:1/0"
    began = time.monotonic()
    assert [probe(sqlite_site, role)[0] for role in ("any", "standby", "worker")] == [0, 1, 1]
    assert time.monotonic() - began < 45


@pytest.mark.parametrize("arguments", [["--role", "any"], ["--check", "--role", "boss"]])
def test_wrong_usage(sqlite_site: Site, arguments: list[str]) -> None:
    assert sqlite_site.cutover("status", *arguments).exit_code == 2
