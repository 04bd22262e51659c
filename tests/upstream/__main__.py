"""Runs the tests of celery's beat and of django-celery-beat, from their source archives, on our schedulers.

Of the versions that are installed. Exits with 1 when a test fails that docs/differences.md does not list, or passes
though it does.
"""

import os
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path

from tests.upstream.suites import SUITES, Suite

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = "[pytest]\npython_classes = test_*\n"


def main() -> int:
    """Run every suite; 0 when each came out as it is listed."""
    with tempfile.TemporaryDirectory() as directory:
        return max(run(suite, Path(directory) / suite.distribution) for suite in SUITES)


def run(suite: Suite, directory: Path) -> int:
    """Run one suite in a directory of its own."""
    directory.mkdir()
    name = f"{suite.distribution}=={version(suite.distribution)}"
    print(f"The tests of {name} on our schedulers:", flush=True)
    fetch = ["pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest", str(directory), name]
    subprocess.run([sys.executable, "-m", *fetch], check=True)
    [archive] = directory.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(directory, filter="data")
    [source] = [path for path in directory.iterdir() if path.is_dir()]
    (source / "ours.ini").write_text(CONFIGURATION)
    plugins = ["-p", "tests.upstream.plugin", "-p", "no:cacheprovider", *_only_django(suite)]
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(source)]),
        "DJANGO_SETTINGS_MODULE": "tests.upstream.settings",
        "UPSTREAM": suite.distribution,
    }
    command = ["pytest", "-q", "-c", "ours.ini", "--rootdir=.", "-W", "ignore", *plugins, suite.tests]
    return subprocess.run([sys.executable, "-m", *command], cwd=source, env=env, check=False).returncode


def _only_django(suite: Suite) -> list[str]:
    """Celery's own tests forbid the threads and databases that pytest-django brings."""
    return ["-p", "no:django"] if suite.distribution == "celery" else []


if __name__ == "__main__":
    sys.exit(main())
