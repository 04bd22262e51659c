"""The demonstration's prayer room, with what tests ask of it."""

import json
import re
import shlex
from typing import Any

from honcho.environ import parse_procfile

from demo import site
from demo.census import Monitor
from demo.processes import ROOT, Process
from demo.services import HOST


class Site(site.Site):
    """A prayer room of one test."""

    def prodserver(self, name: str, **env: str) -> Process:
        """Start one of ``PRODUCTION_PROCESSES``, the new way: web, worker, beat or legacy-beat."""
        return self.start(name, f"python manage.py prodserver {shlex.quote(name)}", **env)

    def bare(self, name: str, **env: str) -> Process:
        """Start a process of ``Procfile.before``, the old way: web, worker or beat."""
        commands = parse_procfile((ROOT / "Procfile.before").read_text()).processes
        return self.start(f"bare-{name}", commands[name], **env)

    def cutover(self, *arguments: str) -> Process:
        """Run ``manage.py cutover`` to its end."""
        return self.manage("cutover", *arguments)

    def status(self) -> dict[str, Any]:
        """What ``cutover status --json`` says."""
        process = self.cutover("status", "--json")
        assert process.exit_code == 0, process.output
        return json.loads(process.output)

    def monitor(self) -> Monitor:
        """A new record of what the broker is handed while its ``with`` block runs."""
        return Monitor(HOST, int(self.env["REDIS_URL"].split(":")[-1].split("/")[0]))


def has_standby(status: str) -> bool:
    """Whether a beat of the database side stands by, as ``cutover status`` prints it."""
    return re.search(r"^Standby .*\(database\)", status, re.MULTILINE) is not None
