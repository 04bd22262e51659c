"""What goes wrong before and around a cutover: one clear line, the right exit code, and nothing is lost."""

import contextlib
import re
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from demo.processes import ROOT, Process
from demo.services import HOST
from demo.waiting import wait_until
from tests.servers import Postgres
from tests.support.site import Site

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

STOCK_BEAT = "celery -A tests.platform.release_a_celery beat -l INFO"
BEFORE_PHASE_3 = ("phase1", "phase2")


def finding(command: Process, gate: str) -> tuple[str, str]:
    """A refused command's line on a gate, and its remedy."""
    assert command.exit_code == 3, command.output
    assert "Traceback" not in command.output
    [found] = re.findall(rf"^(?:✗|NO) {gate}: (.*)\n    -> (.*)$", command.output, re.MULTILINE)
    return found


def typed_into(reader: str, site: Site, command: str, **env: str) -> tuple[int, str, str]:
    """Type ``manage.py cutover COMMAND READER``: the command's exit code, what the reader read, what came to stderr."""
    line = f"{sys.executable} manage.py cutover {command} {reader}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", line], cwd=ROOT, env={**site.env, **env}, capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stdout, done.stderr


def release_a(site: Site) -> dict[str, str]:
    """What makes a process one of the release before `cutover` came."""
    return {
        "DJANGO_SETTINGS_MODULE": "tests.platform.release_a",
        "RELEASE_A_SCHEDULE": "tests.platform.schedule.beat_schedule",
        "CELERY_BEAT_SCHEDULE_FILENAME": str(site.directory / "schedule-of-release-a"),
    }


@contextlib.contextmanager
def brought_to_phase_3(site: Site) -> Iterator[list[Process]]:
    """Both sides' beats and a worker run, and phase 2 is done."""
    processes = [site.prodserver(name) for name in ("worker", "legacy-beat", "beat")]
    wait_until(lambda: len(site.status().get("beats", [])) == 2, "both beats are up", poll_s=0.5)
    for phase in BEFORE_PHASE_3:
        command = site.cutover(phase)
        assert command.exit_code == 0, command.output
    yield processes


def test_a_beat_of_the_release_before_still_runs_when_phase_3_is_typed(sqlite_site: Site) -> None:
    with brought_to_phase_3(sqlite_site):
        old = sqlite_site.start("release-a", STOCK_BEAT, **release_a(sqlite_site))
        wait_until(lambda: sqlite_site.status()["unmanaged_beats"], "a worker has heard it", poll_s=0.5)
        detail, remedy = finding(sqlite_site.cutover("phase3"), "unmanaged beats")
        assert f"{old.pid}@" in detail
        assert remedy.startswith("stop it, or start it with a scheduler of cutover.schedulers")
        status = sqlite_site.status()
        assert (status["side"], status["phase"]) == ("code", 2)


def test_a_deploy_that_failed_half_way_leaves_nobody_to_switch_to(sqlite_site: Site) -> None:
    with brought_to_phase_3(sqlite_site) as (_, _, new):
        assert new.stop() == 0, new.output
        detail, remedy = finding(sqlite_site.cutover("phase3"), "database standby")
        assert detail == "no warm beat stands by"
        assert "prodserver beat" in remedy
        status = sqlite_site.status()
        assert (status["side"], status["phase"], status["healthy"]) == ("code", 2, True)


def test_a_port_that_is_taken_is_one_line(sqlite_site: Site) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        web = sqlite_site.prodserver("web", WEB_BIND=f"{HOST}:{port}")
        assert web.wait() == 1, web.output
    [line] = [line for line in web.output.splitlines() if '"error"' in line]
    assert f"Cannot listen at {HOST} port {port}: Address already in use. Stop what listens there, or bind" in line
    assert "Traceback" not in web.output


def test_a_port_that_is_none_is_one_line(sqlite_site: Site) -> None:
    web = sqlite_site.prodserver("web", WEB_BIND=f"{HOST}:99999")
    assert web.wait() == 1, web.output
    [line] = [line for line in web.output.splitlines() if '"error"' in line]
    assert f"Cannot listen at {HOST} port 99999: bind(): port must be 0-65535" in line
    assert "Traceback" not in web.output


def test_a_database_user_that_does_not_exist_is_one_line(sqlite_site: Site, postgres: Postgres) -> None:
    sqlite_site.env["DATABASE_URL"] = postgres.url("postgres").replace(f"//{Postgres.USER}@", "//stranger:a-secret@")
    detail, remedy = finding(sqlite_site.cutover("phase1"), "migrations")
    assert 'role "stranger" does not exist' in detail
    assert remedy == "start the database, or fix DATABASES"
    for command in ("plan", "phase2", "phase3", "phase4", "rollback"):
        refused = sqlite_site.cutover(command)
        [line] = refused.output.splitlines()
        assert refused.exit_code == 3
        assert line.endswith(" -> start the database, or fix DATABASES")
        assert "a-secret" not in line


def test_an_address_that_is_no_redis_is_one_line(sqlite_site: Site) -> None:
    sqlite_site.env["REDIS_URL"] = "http://127.0.0.1/0"
    detail, remedy = finding(sqlite_site.cutover("phase1"), "redis")
    assert "redis://, rediss://, unix://" in detail
    assert remedy == "fix the setting"


def test_a_platforms_own_word_in_app_is_not_taken_for_the_celery_app(sqlite_site: Site) -> None:
    beat = sqlite_site.prodserver("beat", APP="prayer-room")
    wait_until(lambda: "cutover.standby.started" in beat.output, "the beat stands by")
    assert beat.stop() == 0, beat.output


@pytest.mark.parametrize(
    ("command", "buffered"),
    [
        *(("plan", ""), ("status --watch", ""), ("status --json --watch", "1")),
        *(pytest.param(command, "1", marks=pytest.mark.long) for command in ("plan --json", "status")),
    ],
)
def test_a_reader_that_has_seen_enough_is_no_error(sqlite_site: Site, command: str, buffered: str) -> None:
    code, read, err = typed_into("| head -n 1", sqlite_site, command, PYTHONUNBUFFERED=buffered)
    assert (code, len(read.splitlines())) == (0, 1)
    assert [line for line in err.splitlines() if not line.startswith("... ")] == []


@pytest.mark.parametrize(
    ("command", "code", "closed"),
    [
        *(("status", 0, ">&-"), ("phase4 --slots x", 2, ">&- 2>&-")),
        pytest.param("plan", 0, ">&- 2>&- <&-", marks=pytest.mark.long),
        pytest.param("--help", 0, ">&-", marks=pytest.mark.long),
    ],
)
def test_a_stream_that_is_closed_is_no_error(sqlite_site: Site, command: str, code: int, closed: str) -> None:
    """As a daemon's are."""
    ended, read, err = typed_into(closed, sqlite_site, command)
    assert (ended, read, "Traceback" in err) == (code, "", False)


@pytest.mark.parametrize("buffered", ["", "1"])
def test_a_full_disk_is_one_line(sqlite_site: Site, buffered: str) -> None:
    code, read, err = typed_into("> /dev/full", sqlite_site, "status", PYTHONUNBUFFERED=buffered)
    assert (code, read, err) == (1, "", "cutover: Standard output cannot be written: No space left on device.\n")


@pytest.mark.parametrize(
    ("command", "code", "reader"),
    [
        *(("--help", 0, "| true"), ("phase4 --slots x", 2, "2>&1 | true")),  # where each of them writes
        pytest.param("--help", 0, "2>&1 | true", marks=pytest.mark.long),
        pytest.param("phase4 --slots x", 2, "| true", marks=pytest.mark.long),
        *(pytest.param("plan --help", 0, reader, marks=pytest.mark.long) for reader in ("| true", "2>&1 | true")),
        *(pytest.param("xyzzy", 2, reader, marks=pytest.mark.long) for reader in ("| true", "2>&1 | true")),
    ],
)
def test_help_and_usage_that_nobody_reads_are_no_error(sqlite_site: Site, command: str, code: int, reader: str) -> None:
    ended, _, err = typed_into(reader, sqlite_site, command, PYTHONUNBUFFERED="")
    assert (ended, "Broken pipe" in err, "Traceback" in err) == (code, False, False)


def test_a_phase_goes_on_when_nobody_reads_what_it_says(sqlite_site: Site) -> None:
    for command, code in (("phase1 --no-code-beat", 0), ("phase2", 0), ("phase3", 3), ("rolback", 2)):
        assert typed_into("2>&1 | true", sqlite_site, command) == (code, "", "")
    assert sqlite_site.status()["phase"] == 2


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["phase2", "--shadow", "10x"], "'10x' is no time from 1s to a week, such as 90s, 15m or 2h"),
        (["phase2", "--shadow", "0"], "'0' is no time from 1s to a week"),
        (["phase4", "--wait", "-5"], "'-5' is no whole number of at least 1"),
        (["phase4", "--slots", "ten"], "'ten' is no whole number of at least 1"),
        (["status", "--check", "--role", "boss"], "'boss' (choose from "),
    ],
)
def test_a_wrong_option_says_what_is_right(sqlite_site: Site, typed: list[str], said: str) -> None:
    refused = sqlite_site.cutover(*typed)
    assert refused.exit_code == 2
    assert said in refused.output.splitlines()[-1]
