"""The deploy files: valid by their schemas, and every command in them is one that this project has."""

import configparser
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from django.conf import settings
from django.core.management import get_commands, load_command_class

from cutover.phases.probe import WITHIN_S
from cutover.types import ProbeRole
from demo.processes import ROOT

MANIFESTS = sorted((ROOT / "deploy" / "kubernetes").glob("*.yaml"))
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
STARTUP_S = 3
"""What Django takes to start, before a probe's own time begins."""


def documents() -> Iterator[tuple[Path, dict[str, Any]]]:
    for file in MANIFESTS:
        yield from ((file, document) for document in yaml.safe_load_all(file.read_text()))


def containers() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    for _, document in documents():
        if document["kind"] in {"Deployment", "Job"}:
            pod = document["spec"]["template"]["spec"]
            yield from ((document["metadata"]["name"], pod, container) for container in pod["containers"])


def commands() -> Iterator[list[str]]:
    for _, _, container in containers():
        yield container["command"]
        for name, part in container.items():
            if name.endswith("Probe") and "exec" in part:
                yield part["exec"]["command"]
    for checks in json.loads((ROOT / "app.json").read_text())["healthchecks"].values():
        yield from (check["command"] for check in checks if "command" in check)
    for unit in UNITS:
        _, interpreter, *arguments = parsed(unit)["Service"]["ExecStart"].split()
        yield [Path(interpreter).name, *arguments]
    [line] = re.findall(r"^CMD (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    yield json.loads(line)


def parsed(unit: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment]
    parser.read(unit)
    return parser


@pytest.mark.parametrize("version", ["1.29", "1.33"])
@pytest.mark.parametrize(
    ("file", "document"), list(documents()), ids=lambda part: part.stem if isinstance(part, Path) else part["kind"]
)
def test_a_manifest_is_valid(file: Path, document: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("command", list(commands()), ids=" ".join)
def test_a_command_is_one_that_there_is(command: list[str]) -> None:
    assert command[:2] == ["python", "manage.py"]
    name, *arguments = command[2:]
    if name == "prodserver":
        assert arguments[0] in settings.PRODUCTION_PROCESSES
    else:
        parser = load_command_class(get_commands()[name], name).create_parser("manage.py", name)
        parser.parse_args(arguments)


def test_each_process_type_has_a_check_that_a_standby_passes() -> None:
    app = json.loads((ROOT / "app.json").read_text())
    assert app["healthchecks"].keys() == settings.PRODUCTION_PROCESSES.keys()
    for name in ("beat", "legacy-beat"):
        [check] = app["healthchecks"][name]
        assert check["command"][-1] == ProbeRole.STANDBY
        assert check["timeout"] > WITHIN_S + STARTUP_S
    # One quantity would set every type that is not listed to zero.
    assert "formation" not in app


def test_probes_have_the_time_they_need_and_no_standby_is_restarted() -> None:
    for name, pod, container in containers():
        assert pod["securityContext"]["runAsNonRoot"] is True
        for kind, part in container.items():
            if kind.endswith("Probe") and "exec" in part:
                assert part["timeoutSeconds"] > WITHIN_S + STARTUP_S
                assert part["periodSeconds"] >= part["timeoutSeconds"]
        if name.endswith("beat"):
            assert container["livenessProbe"]["exec"]["command"][-1] == ProbeRole.ANY
            assert container["readinessProbe"]["exec"]["command"][-1] == ProbeRole.STANDBY


def test_old_and_new_pods_overlap_and_end_in_their_own_time() -> None:
    deployments = {document["metadata"]["name"]: document for _, document in documents() if "strategy" in str(document)}
    assert len(deployments) == 4
    for name, deployment in deployments.items():
        assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
        assert deployment["spec"]["replicas"] == 2, name
        assert "terminationGracePeriodSeconds" in deployment["spec"]["template"]["spec"]


def test_the_image_is_built_apart_runs_as_nobody_special_and_ends_on_sigterm() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert sum(line.startswith("FROM ") for line in lines) == 2
    assert "USER 10001" in lines
    assert "STOPSIGNAL SIGTERM" in lines
    assert not [line for line in lines if line.startswith("EXPOSE")], "Dokku would open that port instead of 80"
    sources = [line.split()[-2] for line in lines if line.startswith("COPY ") and "--from" not in line]
    assert all((ROOT / source).exists() for source in sources)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_ends_its_process_as_a_platform_does(unit: Path) -> None:
    service = parsed(unit)["Service"]
    assert (service["KillSignal"], service["KillMode"]) == ("SIGTERM", "mixed")
    assert int(service["TimeoutStopSec"]) >= 15
    assert service["User"] != "root"


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_keeps_to_the_release_that_it_was_started_from(unit: Path, tmp_path: Path) -> None:
    (tmp_path / "releases" / "b" / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / "releases" / "b" / ".venv" / "pyvenv.cfg").write_text(f"home = {Path(sys.base_prefix) / 'bin'}\n")
    (tmp_path / "releases" / "b" / ".venv" / "bin" / "python").symlink_to(Path(sys.executable).resolve())
    (tmp_path / "current").symlink_to("releases/b")
    words = parsed(unit)["Service"]["ExecStart"].split()
    assert words[2] == "manage.py"
    asked = [*words[:2], "-c", "import sys; print(sys.prefix)"]
    answer = subprocess.run(asked, cwd=tmp_path / "current", capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == str(tmp_path / "releases" / "b" / ".venv")


def test_the_units_environment_names_what_the_settings_read() -> None:
    lines = (ROOT / "deploy" / "systemd" / "prayer-room.env.example").read_text().splitlines()
    names = {line.split("=")[0] for line in lines if not line.startswith("#")}
    read = set(re.findall(r'env\.\w+\(\s*"(\w+)"', (ROOT / "prayer_room_api" / "settings.py").read_text()))
    assert names
    assert names <= read


def test_the_web_units_address_outlives_its_process() -> None:
    socket = parsed(ROOT / "deploy" / "systemd" / "prayer-room-web.socket")
    assert socket["Socket"]["ListenStream"]
    assert socket["Install"]["WantedBy"] == "sockets.target"
    unit = parsed(ROOT / "deploy" / "systemd" / "prayer-room-web.service")["Unit"]
    assert unit["Requires"] == "prayer-room-web.socket"
    assert unit["Requires"] in unit["After"].split()
