"""Whether a process has ended, by its name: seen on real processes."""

import subprocess
import sys

import pytest

from cutover.workers import processes
from demo.waiting import wait_until

NAME_OF_A_CHILD = "from cutover.workers import processes; print(processes.own_name(), flush=True); input()"

# Elsewhere the process number alone has to do: there is nothing for these two to see.
where_a_beginning_is_told = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says when a process began")


@pytest.fixture
def child():
    with subprocess.Popen(
        [sys.executable, "-c", NAME_OF_A_CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as started:
        yield started


def test_a_process_has_ended_when_it_was_killed_though_its_parent_has_not_noticed(child):
    name = child.stdout.readline().strip()
    assert processes.has_ended(name) is False
    child.kill()
    if sys.platform == "linux":
        wait_until(lambda: processes.has_ended(name), "it is seen to have ended", 5.0)
    child.wait()
    assert processes.has_ended(name) is True


@where_a_beginning_is_told
def test_another_process_of_the_same_number_is_not_taken_for_it(child):
    host, number, began = child.stdout.readline().strip().rsplit(":", 2)
    assert processes.has_ended(f"{host}:{number}:{int(began) - 1}") is True
    child.communicate("\n")


@where_a_beginning_is_told
def test_one_that_is_hidden_is_not_taken_for_ended(child, monkeypatch):
    name = child.stdout.readline().strip()
    monkeypatch.setattr(processes, "_began", lambda pid: None)
    assert processes.has_ended(name) is None
    child.communicate("\n")
    assert processes.has_ended(name) is True


@pytest.mark.parametrize("name", ["", "elsewhere:7:1", "elsewhere/4026531836:7:1"])
def test_what_runs_elsewhere_can_not_be_seen(name):
    assert processes.has_ended(name) is None


NAME = "web-1/e39d6e86/4026531836:7:123:abcd:5.7.0"


@pytest.mark.parametrize(
    ("mark", "shown"),
    [
        (processes.with_node(NAME, "celery@web-1"), "celery@web-1"),
        (processes.with_node(NAME, "mail@elsewhere"), "mail@elsewhere"),
        (processes.with_node(NAME, "nightly"), "nightly"),
        (processes.with_node(NAME, ""), "web-1:7"),
        ("web-1:7:", "web-1:7"),
        ("w", "w"),
    ],
)
def test_a_worker_is_shown_by_the_name_that_celery_gives_it(mark: str, shown: str) -> None:
    assert processes.shown(mark) == processes.shown(f"12@a-server#3 {mark}") == shown


def test_a_worker_on_its_own_host_takes_little_more_of_the_ledger_for_its_name() -> None:
    assert processes.with_node(NAME, "celery@web-1") == f"{NAME}:celery@"
    assert processes.celery_of(processes.with_node(NAME, "celery@web-1")) == "5.7.0"


@pytest.mark.parametrize(
    ("mark", "celery"),
    [
        ("12@a-server#3 host/boot/1:7:123:abcd:5.4.0", "5.4.0"),
        ("host/boot/1:7:123:abcd:5.7.0rc1", "5.7.0rc1"),
        ("12@a-server#3 host/boot/1:7:123:abcd", ""),
        ("", ""),
    ],
)
def test_a_mark_gives_the_celery_that_ran_it_where_its_worker_did(mark: str, celery: str) -> None:
    assert processes.celery_of(mark) == celery
