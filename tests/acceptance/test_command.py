"""``manage.py cutover`` as an operator types it: what it says, where, and with which exit code."""

import datetime as dt
import json
import re
import signal
import socket
import sys
import tempfile
from dataclasses import dataclass
from typing import Any

import pytest

from demo.processes import python
from demo.schedule import SELDOM
from demo.services import HOST, Valkey, free_port
from demo.waiting import wait_until
from tests.support import seldom
from tests.support.site import Site

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

SUBCOMMANDS = ("plan", "phase1", "phase2", "phase3", "phase4", "rollback", "status")


@dataclass
class Answer:
    """What one command said and did."""

    code: int
    out: str
    err: str

    @property
    def crosses(self) -> list[str]:
        """The names of the gates that do not hold."""
        return re.findall(r"^✗ ([^:]+):", self.out, re.MULTILINE)

    @property
    def error(self) -> str:
        """The one line on stderr, progress aside."""
        [line] = [line for line in self.err.splitlines() if not line.startswith("... ")]
        return line


def cutover(site: Site, *arguments: str, **env: str) -> Answer:
    command = python("manage.py", "cutover", *arguments)
    with tempfile.TemporaryFile() as errors:
        process = site.processes.start("cutover", command, {**site.env, **env}, errors=errors)
        code = process.wait(timeout_s=90)
        errors.seek(0)
        answer = Answer(code, process.log.read_bytes().decode(), errors.read().decode())
    assert "Traceback" not in answer.out + answer.err
    return answer


def document(answer: Answer) -> dict[str, Any]:
    found = json.loads(answer.out)
    assert found["exit_code"] == answer.code
    return found


def test_phase1_names_a_worker_that_has_no_run_guard(sqlite_site: Site) -> None:
    old = sqlite_site.start(
        "old-worker",
        "celery -A tests.platform.release_a_celery worker -l INFO",
        DJANGO_SETTINGS_MODULE="tests.platform.release_a",
        RELEASE_A_SCHEDULE="demo.schedule.beat_schedule",
    )
    wait_until(lambda: " ready." in old.output, "the old release's worker is ready")
    refused = cutover(sqlite_site, "phase1", "--no-code-beat")
    assert (refused.code, refused.crosses) == (3, ["workers"]), refused.out + refused.err
    assert "runs demo.tasks.note" in refused.out
    assert old.stop() == 0, old.output
    assert cutover(sqlite_site, "phase1", "--no-code-beat").code == 0


def test_from_the_plan_to_the_proof_and_back(site: Site) -> None:
    plan = cutover(site, "plan")
    assert plan.code == 0
    daily = r"user-digest-daily: .*\n +At 08:00.*; next due .* 08:00:00.*; its row is equal, disabled"
    assert re.search(daily, plan.out)
    for process in ("worker", "legacy-beat", "beat"):
        site.prodserver(process)
    wait_until(lambda: len(site.status().get("beats", [])) == 2, "both beats are up", poll_s=0.5)
    for phase, following in (("phase1", "phase2"), ("phase2", "phase3"), ("phase3", "phase4")):
        answer = cutover(site, phase)
        assert answer.code == 0, answer
        assert answer.crosses == []
        assert f"Next: python manage.py cutover {following}\n" in answer.out
        assert "Undo: python manage.py cutover rollback\n" in answer.out
        again = cutover(site, phase)
        assert (again.code, "already" in again.out) == (0, True)
    [gap_ms] = re.findall(r"time without a leader: (\d+) ms", answer.out)
    assert int(gap_ms) < 1000
    assert "phase4" in cutover(site, "phase4", "--slots", "100000").out
    seldom = [f"--waive={name}" for name in SELDOM]
    proof = cutover(site, "phase4", "--wait", "75", *seldom)
    assert proof.code == 0, proof
    assert "may now be removed" in proof.out
    assert "Waived by name, without a proof: " in proof.out
    assert "healthy" in cutover(site, "status", "--check").out.lower()
    back = cutover(site, "rollback")
    assert back.code == 0, back
    assert document(cutover(site, "status", "--json"))["side"] == "code"
    assert "Nothing was changed" in cutover(site, "rollback").out


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["phase5"], r"did you mean `python manage.py cutover phase\d`"),
        (["rolback"], "did you mean `python manage.py cutover rollback`"),
        (["xyzzy"], "there are init, plan, phase1"),
    ],
)
def test_a_misspelt_phase_is_answered_with_the_nearest(sqlite_site: Site, typed: list[str], said: str) -> None:
    answer = cutover(sqlite_site, *typed)
    assert (answer.code, answer.out) == (2, "")
    assert re.search(said, answer.error)


@pytest.mark.parametrize("typed", [[], ["phase4", "--slots", "0"], ["phase4", "--slots", "x"], ["phase3", "--adopt"]])
def test_wrong_usage_ends_with_2(sqlite_site: Site, typed: list[str]) -> None:
    answer = cutover(sqlite_site, *typed)
    assert (answer.code, answer.out) == (2, "")


@pytest.mark.parametrize("typed", ["phase2", "phase3", "phase4"])
def test_a_phase_out_of_order_is_refused_and_names_the_one_to_type(sqlite_site: Site, typed: str) -> None:
    answer = cutover(sqlite_site, typed)
    assert (answer.code, answer.crosses) == (3, ["order"])
    assert "Next: python manage.py cutover phase1\n" in answer.out


def test_a_checked_plan_ends_with_2_for_changes_and_1_for_every_error(sqlite_site: Site) -> None:
    assert cutover(sqlite_site, "plan", "--check").code == 2
    assert document(cutover(sqlite_site, "plan", "--check", "--json"))["outcome"] == "changes"
    assert cutover(sqlite_site, "plan").code == 0
    for typed, code in ((["plan", "--check", "--wrong"], 1), (["plan", "--chec", "--json=x"], 1), (["plan", "--x"], 2)):
        wrong = cutover(sqlite_site, *typed)
        assert (wrong.code, wrong.out) == (code, "")
    elsewhere = {"CODE_SCHEDULE": "demo.schedule.no_such_schedule"}
    assert cutover(sqlite_site, "plan", "--check", **elsewhere).code == 1
    assert document(cutover(sqlite_site, "plan", "--check", "--json", **elsewhere))["outcome"] == "failed"
    away = {"DATABASE_URL": f"postgres://nobody@{HOST}:{free_port()}/none"}
    assert cutover(sqlite_site, "plan", "--check", **away).code == 1


@pytest.mark.long
def test_a_leap_that_waits_is_seen_and_ordered_about_from_other_processes(sqlite_site: Site) -> None:
    site = sqlite_site
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(hours=5)  # the longest window begins then
    site.env |= {"CODE_SCHEDULE": "tests.support.seldom.daily", seldom.HOUR: str(soon.hour)}
    assert cutover(site, "phase1", "--no-code-beat").code == 0
    assert cutover(site, "phase2").code == 0
    waiting = site.start("waits", f"{sys.executable} manage.py cutover phase3 --force --quiet")
    wait_until(lambda: (site.status().get("quiet_wait") or {}).get("leaps_at"), "it waits", poll_s=0.5, timeout_s=60)
    assert "the switch waits for" in waiting.output
    assert "waits for a quiet window" in cutover(site, "status").out
    later = cutover(site, "phase3", "--postpone", "10m")
    assert (later.code, "waits for" in later.out) == (0, True), later
    assert cutover(site, "phase3", "--call-off").code == 0
    assert waiting.wait(timeout_s=60) == 3
    assert waiting.output.splitlines()[-1].startswith("cutover: Called off by ")
    again = site.start("waits-again", f"{sys.executable} manage.py cutover phase3 --force --quiet")
    wait_until(lambda: (site.status().get("quiet_wait") or {}).get("leaps_at"), "it waits", poll_s=0.5, timeout_s=60)
    again.send(signal.SIGINT)
    assert again.wait(timeout_s=60) == 130
    assert again.output.splitlines()[-1].startswith("cutover: Interrupted. Phase 2 is done; the code side is active.")
    assert cutover(site, "phase3", "--now").code == 3
    assert site.status()["quiet_wait"] is None


def test_a_setting_that_does_not_exist_is_one_line(sqlite_site: Site) -> None:
    answer = cutover(sqlite_site, "plan", CODE_SCHEDULE="demo.schedule.no_such_schedule")
    assert answer.code == 2
    assert "CODE_SCHEDULE" in answer.error


def test_every_subcommand_speaks_json_and_nothing_else(sqlite_site: Site) -> None:
    for name in SUBCOMMANDS:
        answer = cutover(sqlite_site, name, "--json")
        found = document(answer)
        assert found["command"] == name
        assert {"outcome", "checks", "lines", "next", "undo", "error"} <= found.keys()
        assert isinstance(found["next"], str), "no key of a phase's own data takes the place of the document's"
        assert answer.err == ""


def test_marks_are_plain_where_the_terminal_has_no_others(sqlite_site: Site) -> None:
    answer = cutover(sqlite_site, "phase1", PYTHONIOENCODING="ascii")
    assert answer.code == 3
    assert re.search(r"^ok migrations: ", answer.out, re.MULTILINE)
    assert re.search(r"^NO code beat: .*\n    -> ", answer.out, re.MULTILINE)


@pytest.mark.long
def test_names_that_the_terminal_cannot_write_stop_no_command(sqlite_site: Site) -> None:
    plain = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "CODE_SCHEDULE": "tests.support.accents.beat_schedule"}
    for typed, code in (
        (["plan"], 0),
        (["phase1", "--no-code-beat"], 0),
        (["phase2"], 0),
        (["phase3"], 3),
        (["status"], 0),
    ):
        answer = cutover(sqlite_site, *typed, **plain)
        assert answer.code == code, answer
        assert (answer.out + answer.err).isascii()
        if typed == ["plan"]:
            assert "t?glich ?" in answer.out


def test_a_database_that_was_not_migrated(site: Site) -> None:
    undone = site.manage("migrate", "cutover", "zero", "--verbosity=0")
    assert undone.exit_code == 0, undone.output
    for name in ("plan", "phase2", "phase3", "phase4", "rollback"):
        answer = cutover(site, name)
        assert answer.code == 3
        assert "manage.py migrate" in answer.error
    assert cutover(site, "phase1").crosses == ["migrations"]
    assert "manage.py migrate" in cutover(site, "status").out
    assert cutover(site, "status", "--check").code == 1


def test_a_database_that_is_away(sqlite_site: Site) -> None:
    away = {"DATABASE_URL": f"postgres://nobody@{HOST}:{free_port()}/none"}
    for name in ("plan", "phase2", "phase3", "phase4", "rollback"):
        answer = cutover(sqlite_site, name, **away)
        assert answer.code == 3
        assert "database" in answer.error
        assert document(cutover(sqlite_site, name, "--json", **away))["error"]
    assert cutover(sqlite_site, "phase1", **away).crosses == ["migrations"]
    status = cutover(sqlite_site, "status", **away)
    assert status.code == 0
    assert "Problem: The database" in status.out
    assert "Leader    nobody" in status.out
    assert cutover(sqlite_site, "status", "--check", **away).code == 1


def test_redis_that_is_away(sqlite_site: Site) -> None:
    away = {"REDIS_URL": f"redis://{HOST}:{free_port()}/0"}
    assert cutover(sqlite_site, "phase1", **away).crosses == ["redis", "broker", "code beat"]
    status = cutover(sqlite_site, "status", **away)
    assert status.code == 0
    assert "Problem: Redis gives no answer" in status.out
    assert "No phase is done yet" in status.out
    assert cutover(sqlite_site, "status", "--check", **away).code == 1


def test_redis_that_is_no_place_for_a_lease(sqlite_site: Site, own_valkey: Valkey, valkey: Valkey) -> None:
    there = {"REDIS_URL": own_valkey.url, "CELERY_BROKER_URL": valkey.url}
    with own_valkey.client() as client:
        client.config_set("maxmemory", "100mb")
        client.config_set("maxmemory-policy", "allkeys-lru")
        evicting = cutover(sqlite_site, "phase1", **there)
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1")
        full = cutover(sqlite_site, "phase1", **there)
        seen = cutover(sqlite_site, "status", **there)
        client.config_set("maxmemory", "0")
        client.replicaof(HOST, str(valkey.port))
        replica = cutover(sqlite_site, "phase1", **there)
    assert "allkeys-lru" in evicting.out
    assert "out of memory" in full.out
    assert "Not healthy: Redis is out of memory: raise maxmemory or free some. (and" in seen.out
    assert "read-only" in replica.out
    assert all("redis" in answer.crosses for answer in (evicting, full, replica))


def test_a_broker_that_is_away_or_does_not_answer(sqlite_site: Site) -> None:
    gone = cutover(sqlite_site, "phase1", CELERY_BROKER_URL=f"redis://{HOST}:{free_port()}/0")
    with socket.create_server((HOST, 0)) as mute:
        url = f"redis://{HOST}:{mute.getsockname()[1]}/0"
        silent = cutover(sqlite_site, "phase1", CELERY_BROKER_URL=url)
    assert gone.crosses == silent.crosses == ["broker", "code beat"]
    assert "no answer within 5 s" in silent.out


def test_the_second_operator_reads_of_the_first_and_ctrl_c_says_where_things_stand(sqlite_site: Site) -> None:
    site = sqlite_site
    patient = {"DJANGO_SETTINGS_MODULE": "tests.support.fault_settings", "CUTOVER_TAKEOVER_TIMEOUT": "100"}
    site.env |= patient  # the first one waits for its leader for as long as the second one takes
    assert cutover(site, "phase1", "--no-code-beat").code == 0
    assert cutover(site, "phase2").code == 0
    first = site.start("phase3", f"{sys.executable} manage.py cutover phase3 --force")
    wait_until(lambda: site.status()["side"] == "database", "the first one has switched and waits for a leader")
    second = cutover(site, "rollback", "--force")
    assert second.code == 3
    assert re.fullmatch(r"cutover: \S+@\S+ with phase3 since .* UTC \(pid \d+\) is at work; .*", second.error)
    assert f"(pid {first.pid})" in second.error
    first.send(signal.SIGINT)
    assert first.wait() == 130
    assert first.output.splitlines()[-1] == (
        "cutover: Interrupted. Phase 3 has switched and is not finished: run phase3 again, or rollback."
    )
    assert cutover(site, "rollback", "--force", CUTOVER_TAKEOVER_TIMEOUT="4").code == 0


def test_status_is_shown_again_until_ctrl_c(sqlite_site: Site) -> None:
    watch = sqlite_site.start("watch", f"{sys.executable} manage.py cutover status --watch")
    wait_until(lambda: watch.output.count("Leader    nobody") >= 2, "it was shown twice")
    watch.send(signal.SIGINT)
    assert watch.wait() == 0
    assert "Traceback" not in watch.output
