"""Two demos of one clone would empty each other's directory: the second says so, and a dead one is in nobody's way."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo import __main__ as demo
from demo import services
from demo.alone import TAKEN, TakenError, alone_in
from demo.processes import ROOT

HOLD = """
import subprocess, sys, time
from pathlib import Path
from demo.alone import alone_in
with alone_in(Path(sys.argv[1])):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    print(child.pid, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "var" / "demo"


@pytest.fixture
def other(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has the directory, and has started one that outlives it."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(directory)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        yield process
        process.kill()
    os.kill(child, signal.SIGKILL)


def test_the_second_says_who_is_there_and_what_to_do(directory: Path, other: subprocess.Popen[str]) -> None:
    with pytest.raises(TakenError) as told, alone_in(directory):
        pass
    assert str(told.value) == (
        f"process {other.pid} runs in {directory} already: wait until it has ended, end it (kill {other.pid}), "
        "or use another clone"
    )


def test_a_killed_one_leaves_it_to_the_next_though_what_it_started_lives_on(
    directory: Path, other: subprocess.Popen[str]
) -> None:
    other.kill()
    other.wait()
    with alone_in(directory):
        assert directory.with_name("demo.lock").read_text() == f"{os.getpid()}\n"
    with alone_in(directory):
        pass


@pytest.mark.usefixtures("other")
def test_a_second_demo_touches_nothing_of_the_first(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    directory.mkdir()
    (directory / "of the first").touch()
    monkeypatch.setattr(demo, "DIRECTORY", directory)
    monkeypatch.setattr(demo, "interrupt_on_termination", lambda: None)
    assert demo.main([]) == TAKEN
    assert (directory / "of the first").exists()
    assert capsys.readouterr().err.startswith("python -m demo: process ")


@pytest.mark.usefixtures("other")
def test_nor_do_second_services(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    directory.with_name("services.lock").symlink_to(directory.with_name("demo.lock"))
    monkeypatch.setattr(services, "ROOT", directory.parent.parent)
    monkeypatch.setattr(services, "interrupt_on_termination", lambda: None)
    with pytest.raises(SystemExit) as ended:
        services.main()
    assert ended.value.code == TAKEN
    assert capsys.readouterr().err.startswith("python -m demo.services: process ")
