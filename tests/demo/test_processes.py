"""What ends with the block that started it."""

from pathlib import Path

import psutil

from demo.processes import Processes, python
from demo.waiting import wait_until

LAUNCHER = """
import signal, subprocess, sys, time
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
print(child.pid, flush=True)
try:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    child.wait()
finally:
    time.sleep(0.5)
    child.kill()
    child.wait()
"""


def test_a_launcher_behind_a_shell_gets_the_time_to_end_its_children(tmp_path: Path) -> None:
    """As honcho's, they run in sessions of their own: what kills the shell's group does not reach them."""
    script = tmp_path / "launcher.py"
    script.write_text(LAUNCHER)
    with Processes(tmp_path / "logs") as processes:
        shell = processes.start(
            "shell", ["bash", "-c", f"{' '.join(python(str(script)))}; true"], {"PATH": "/usr/bin:/bin"}
        )
        wait_until(lambda: shell.output.strip(), "the launcher has a child")
        child = psutil.Process(int(shell.output))
    assert not child.is_running()
