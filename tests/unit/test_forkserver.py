"""Forked commands end, and speak, as those of an interpreter of their own do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.forkserver import ForkServer

SECRET = {"SECRET_KEY": "a-key-of-more-than-fifty-characters-for-one-test-only", "REDIS_URL": "redis://127.0.0.1:1/0"}


def forked(server: ForkServer, directory: Path, *words: str, **env: str) -> tuple[int, str, str]:
    """A command's exit code, and what it wrote to stdout and stderr."""
    files = directory / "stdout", directory / "stderr"
    with files[0].open("wb") as output, files[1].open("wb") as errors:
        command = server.start([sys.executable, *words], {"PATH": os.environ["PATH"], **env}, output, errors)
        assert command is not None
        return command.wait(60), files[0].read_text(), files[1].read_text()


@pytest.mark.parametrize(
    "end",
    [
        "",
        "sys.exit()",
        "sys.exit(3)",
        "sys.exit(-1)",
        "sys.exit('the reason')",
        "raise ValueError('a fault')",
        "raise KeyboardInterrupt",
        "os.kill(os.getpid(), 15)",
    ],
)
def test_a_command_ends_as_one_that_was_started_does(fork_server: ForkServer, tmp_path: Path, end: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import atexit, os, sys, threading, time\n"
        "sys.stdout.reconfigure(line_buffering=False, write_through=False)\n"
        "atexit.register(print, 'at its exit')\n"
        "def late():\n"
        "    threading.main_thread().join()\n"
        "    print('a thread after it')\n"
        "threading.Thread(target=late).start()\n"
        f"print('said', sys.argv[1:])\n{end}\n"
    )
    usual = subprocess.run([sys.executable, script, "a", "b"], capture_output=True, text=True, timeout=60)
    code, output, errors = forked(fork_server, tmp_path, str(script), "a", "b")
    assert (code, output) == (usual.returncode, usual.stdout)
    assert errors.splitlines()[-1:] == usual.stderr.splitlines()[-1:]


def test_commands_of_a_prepared_site_speak_each_for_itself(fork_server: ForkServer, tmp_path: Path) -> None:
    env = {**SECRET, "DATABASE_URL": f"sqlite:///{tmp_path / 'none.sqlite3'}"}
    for _ in range(2):
        code, output, errors = forked(fork_server, tmp_path, "manage.py", "cutover", "--version", **env)
        assert (code, errors) == (0, "")
        assert output.strip()
    code, output, errors = forked(fork_server, tmp_path, "manage.py", "cutover", "phase9", **env)
    assert (code, output) == (2, "")
    assert "phase9" in errors


def test_a_site_that_cannot_be_prepared_says_so_itself(fork_server: ForkServer, tmp_path: Path) -> None:
    for _ in range(2):
        code, output, errors = forked(fork_server, tmp_path, "manage.py", "cutover", "status", REDIS_URL="")
        assert (code, output) == (1, "")
        assert "SECRET_KEY" in errors
