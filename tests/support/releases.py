"""Other releases of a package beside the installed one: each in a directory that goes into ``PYTHONPATH``."""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from demo.processes import ROOT

CACHE = ROOT / "var" / "cache"


def directory_of(*requirements: str, alone: bool = False) -> Path:
    """A directory that holds these releases, ``alone`` or with all that they need; kept for the next run.

    Skips the test where they cannot be downloaded.
    """
    directory = CACHE / re.sub(r"[^\w.]+", "-", " ".join(requirements))
    if directory.exists():
        return directory
    CACHE.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=CACHE))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", str(made)]
    installation = subprocess.run(
        [*pip, *(["--no-deps"] if alone else []), *requirements], capture_output=True, text=True
    )
    if installation.returncode:
        shutil.rmtree(made)
        pytest.skip(f"{requirements} cannot be downloaded: {installation.stderr.strip().splitlines()[-1]}")
    try:
        made.rename(directory)
    except OSError:  # another process was quicker
        shutil.rmtree(made)
    return directory
