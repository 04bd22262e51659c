"""The platforms' runbooks: what cannot be run here is at least typed right, and in the order that was rehearsed."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import get_commands, load_command_class

from cutover.setup import releases
from demo.processes import ROOT
from tests.support.documents import blocks

PLATFORMS = ["dokku", "heroku", "kubernetes", "systemd"]
MADE = set(releases.procfiles([], ()))
PHASES = ["phase1", "phase2", "phase3", "phase4"]


def typed(platform: str) -> list[list[str]]:
    """The arguments of every ``manage.py`` in a runbook's blocks."""
    scripts = [block.script for block in blocks(ROOT / "runbooks" / f"{platform}.md")]
    return [shlex.split(found) for script in scripts for found in re.findall(r"python manage\.py ([^;&|\n]*)", script)]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_command_is_one_that_there_is(platform: str) -> None:
    for name, *arguments in typed(platform):
        parser = load_command_class(get_commands()[name], name).create_parser("manage.py", name)
        parser.parse_args(arguments)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_phases_come_in_the_rehearsals_order(platform: str) -> None:
    phases = [arguments[1] for arguments in typed(platform) if arguments[0] == "cutover"]
    assert [phase for phase in phases if phase in PHASES] == PHASES
    rollbacks = [at for at, phase in enumerate(phases) if phase == "rollback"]
    assert all(at > phases.index("phase4") for at in rollbacks)
    assert "cutover rollback" in (ROOT / "runbooks" / f"{platform}.md").read_text()


@pytest.mark.parametrize("platform", PLATFORMS)
def test_what_a_runbook_names_is_there(platform: str) -> None:
    text = (ROOT / "runbooks" / f"{platform}.md").read_text()
    for path in re.findall(r"\bdeploy/[\w/.@-]+\w", text):
        assert (ROOT / path).exists(), path
    for path in re.findall(r"procfile-path ([\w./-]+)|cp (\S*Procfile\S*?);? |(Procfile\.[\w-]+)", text):
        assert "".join(path) in {"Procfile", *MADE}, "`cutover init --write` makes it"
    for link in re.findall(r"\]\(((?!http)[^)#]+)\)", text):
        assert (ROOT / "runbooks" / link).exists(), link
    for unit in re.findall(r"prayer-room-(web|worker|beat|legacy-beat)\b", text):
        assert unit in settings.PRODUCTION_PROCESSES


KUBECTL = """#!/bin/sh
case "$*" in
    *"-f -") sed -n "s|^  name: prayer-room-|$1 |p; s|.*image: .*/prayer-room:|$1 :|p" | head -n 2 | paste -sd " " ;;
    *) echo "$*" ;;
esac >>"$TYPED"
"""


def test_on_kubernetes_each_release_comes_whole_and_c_before_the_rollback(tmp_path: Path) -> None:
    (tmp_path / "kubectl").write_text(KUBECTL)
    (tmp_path / "kubectl").chmod(0o755)
    script = "\n".join(["set -eu", *(block.script for block in blocks(ROOT / "runbooks" / "kubernetes.md"))])
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "TYPED": str(tmp_path / "typed")}
    subprocess.run(["bash", "-c", script], cwd=ROOT, env=env, check=True)

    images: dict[str, str] = {}
    at: dict[str, dict[str, str]] = {}
    for line in (tmp_path / "typed").read_text().splitlines():
        if match := re.fullmatch(r"(?:apply|create) ([\w-]+) \w+ :(\w+)|set image .*/prayer-room-(.*) .*:(\w+)", line):
            kind, tag = match[1] or match[3], match[2] or match[4]
            images[kind] = tag
        elif match := re.fullmatch(r"delete -f deploy/kubernetes/([\w-]+)\.yaml", line):
            del images[match[1]]
        elif match := re.search(r"cutover (\w+)", line):
            at[match[1]] = dict(images)
    del images["migrate"]
    everything = ["beat", "legacy-beat", "migrate", "web", "worker"]
    assert at["phase1"] == dict.fromkeys(["legacy-beat", "migrate", "web", "worker"], "b")
    assert at["phase3"] == at["phase4"] == dict.fromkeys(everything, "c")
    assert at["status"] == dict.fromkeys(["beat", "migrate", "web", "worker"], "d")
    assert at["rollback"] == dict.fromkeys(everything, "c") | {"migrate": "d"}
    assert images == dict.fromkeys(["legacy-beat", "web", "worker"], "b")


SYSTEMD = {"curl", "cp", "install", "ln", "mv", "sleep", "systemctl", "systemd-run"}


def test_under_systemd_each_release_comes_whole_and_c_before_the_rollback(tmp_path: Path) -> None:
    for name in SYSTEMD:
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{name} $*" >>"$TYPED"\n')
        (tmp_path / name).chmod(0o755)
    found = blocks(ROOT / "runbooks" / "systemd.md")
    script = "\n".join(["set -eu", *(block.script for block in found if block.not_run)])
    # Nothing but these is to be found: this host is not to be changed.
    env = {"PATH": str(tmp_path), "TYPED": str(tmp_path / "typed")}
    subprocess.run(["/bin/bash", "-c", script], cwd=ROOT, env=env, check=True)

    release, units, at = "", {}, {}
    for line in (tmp_path / "typed").read_text().splitlines():
        if match := re.fullmatch(r"ln .*/releases/(\w+) \S+", line):
            release = match[1]
        elif match := re.fullmatch(r"systemctl (enable --now|restart|disable --now) (prayer-room-.*)", line):
            for unit in match[2].replace("prayer-room-", "").split():
                if match[1] == "disable --now":
                    del units[unit]
                else:
                    assert match[1] != "restart" or unit in units, f"{unit} was never enabled"
                    units[unit] = release
        elif match := re.search(r"cutover (phase\d|rollback|status --check$)", line):
            at[match[1]] = dict(units)
    everywhere, code, database = {"worker", "web"}, {"legacy-beat@1", "legacy-beat@2"}, {"beat@1", "beat@2"}
    for then in (*at.values(), units):
        then.pop("web.socket")
    assert at["phase1"] == at["phase2"] == dict.fromkeys(everywhere | code, "b")
    assert at["phase3"] == at["phase4"] == at["rollback"] == dict.fromkeys(everywhere | code | database, "c")
    assert at["status --check"] == dict.fromkeys(everywhere | database, "d")
    assert units == dict.fromkeys(everywhere | code, "b")


OF_THE_DEMO = re.compile(r"prayer_room_api|prayer room|deploy/Procfile|\b10001\b|Dockerfile`")


@pytest.mark.parametrize("page", sorted((ROOT / "runbooks").glob("*.md")), ids=lambda page: page.stem)
def test_a_runbook_names_nothing_that_only_the_demo_has(page: Path) -> None:
    assert [line for line in page.read_text().splitlines() if OF_THE_DEMO.search(line)] == []


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_platforms_page_says_where_redis_comes_from_and_which_setting_is_to_be_read(platform: str) -> None:
    text = (ROOT / "runbooks" / f"{platform}.md").read_text()
    assert re.search(r"\*\*Redis(\.\*\*|\*\*)", text)
    assert "`REDIS_URL`" in text
    assert "cutover init" in text
    assert "cutover.entries.begun" in text
