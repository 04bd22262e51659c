"""What production installs is enough: the packages that the image gets, and none that only the tests bring."""

import os
import re
import shlex
import subprocess
import venv
from pathlib import Path

import pytest

from demo.processes import ROOT
from tests.parts.conftest import Journey
from tests.support.site import Site

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(480)]

WHERE = "import cutover, pathlib; print(pathlib.Path(cutover.__file__).parent)"


@pytest.fixture
def installed(tmp_path: Path, journey: Journey) -> Path:
    """The programs of an environment made as the Dockerfile makes it."""
    [command] = re.findall(r"^RUN (pip install .*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    venv.create(tmp_path / "venv", with_pip=True)
    programs = tmp_path / "venv" / "bin"
    subprocess.run([programs / "python", "-m", *shlex.split(command), "--quiet"], cwd=ROOT, check=True)
    return programs


def test_a_site_as_the_image_installs_it_goes_through_the_cutover(
    installed: Path, journey: Journey, sqlite_site: Site
) -> None:
    sqlite_site.env["PATH"] = os.pathsep.join([str(installed), sqlite_site.env["PATH"]])
    found = sqlite_site.run("python", "-I", "-c", WHERE)
    package = Path(found.output.strip())
    assert package.is_relative_to(installed.parent)
    assert _files(package) == _files(ROOT / "cutover")
    journey(sqlite_site)


def _files(package: Path) -> set[Path]:
    return {
        file.relative_to(package) for file in package.rglob("*") if file.is_file() and "__pycache__" not in file.parts
    }
