"""A host project with a directory and an environment of its own, and the processes that it runs."""

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from demo.processes import ROOT, Process, Processes
from tests.hosts.pasting import Piece, paste, pieces

LEGACY_BEAT = "python -m django prodserver legacy-beat"
NEW_BEAT = "python -m django prodserver beat"
WORKER = "python -m django prodserver worker"
READY = "cutover.standby.started"


@dataclass(frozen=True)
class Kind:
    """What a project is, and by which commands it runs before and after."""

    name: str
    before: tuple[str, ...] = (WORKER, LEGACY_BEAT)
    after: tuple[str, ...] = (NEW_BEAT,)

    @property
    def folder(self) -> Path:
        return Path(__file__).parent / self.name

    @property
    def settings(self) -> str:
        return f"tests.hosts.{self.name}.settings"


EMBEDDED = "celery -A tests.hosts.embedded.celery:app worker -B -l INFO -n code@%h"
KINDS = (
    Kind("package"),
    Kind("classy"),
    Kind("elsewhere"),
    Kind("lock_only"),
    Kind("custom_user"),
    Kind("routed"),
    Kind("naive"),
    Kind("sentry"),
    Kind("opentelemetry"),
    Kind("url_only"),
    Kind("results"),
    Kind("pooled"),
    Kind("unix_socket"),
    Kind("own_scheduler"),
    Kind("embedded", before=(EMBEDDED,), after=(WORKER,)),
)


class Project:
    """One project, running."""

    def __init__(self, kind: Kind, processes: Processes, directory: Path, redis_url: str) -> None:
        self.kind = kind
        self.root = ROOT
        self._processes = processes
        self.runs = directory / "runs.jsonl"
        self.env = {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
            "HOME": str(directory),
            "PYTHONUNBUFFERED": "1",
            "DJANGO_SETTINGS_MODULE": kind.settings,
            "HOST_DIRECTORY": str(directory),
            "REDIS_URL": redis_url,
            "DEMO_RUNS_FILE": str(self.runs),
        }

    def start(self, command: str) -> Process:
        return self._processes.start(command.split()[-1], command, self.env, cwd=self.root)

    def manage(self, *arguments: str) -> str:
        """Run a management command, which has to succeed; its output."""
        command = f"python -m django {' '.join(arguments)}"
        process = self._processes.start(arguments[0], command, self.env, cwd=self.root)
        assert process.wait(60) == 0, f"{arguments}:\n{process.output}"
        return process.output

    def cutover(self, *arguments: str) -> str:
        return self.manage("cutover", *arguments)


class Newcomer(Project):
    """A copy of a host project, in which nothing is from us but the app's name: ``init`` is to say what to add."""

    def __init__(self, kind: Kind, processes: Processes, directory: Path, redis_url: str) -> None:
        super().__init__(kind, processes, directory, redis_url)
        self.root = directory / "project"
        folder = self.root / "tests" / "hosts" / kind.name
        shutil.copytree(kind.folder, folder, ignore=shutil.ignore_patterns("__pycache__"))
        if (folder / "Procfile").exists():
            (folder / "Procfile").rename(self.root / "Procfile")
        self.env["PYTHONPATH"] = os.pathsep.join(map(str, (self.root, ROOT)))

    def asked(self) -> list[Piece]:
        """What ``init`` says is to be added."""
        return pieces(self.cutover("init", "--json"))

    def put_in(self) -> list[Piece]:
        """Do what ``init`` says, and nothing else."""
        added = self.asked()
        for piece in added:
            paste(self.root, piece)
        return added
