"""A host project with a directory and an environment of its own, and the processes that it runs."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from demo.processes import Process, Processes

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
    databases: tuple[str, ...] = ("default",)

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
    Kind("routed", databases=("default", "background")),
    Kind("naive"),
    Kind("sentry"),
    Kind("opentelemetry"),
    Kind("embedded", before=(EMBEDDED,), after=(WORKER,)),
)


class Project:
    """One project, running."""

    def __init__(self, kind: Kind, processes: Processes, directory: Path, redis_url: str) -> None:
        self.kind = kind
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
        return self._processes.start(command.split()[-1], command, self.env)

    def manage(self, *arguments: str) -> str:
        """Run a management command, which has to succeed; its output."""
        process = self._processes.start(arguments[0], f"python -m django {' '.join(arguments)}", self.env)
        assert process.wait(60) == 0, f"{arguments}:\n{process.output}"
        return process.output

    def cutover(self, *arguments: str) -> str:
        return self.manage("cutover", *arguments)
