"""The whole migration, release by release, under HTTP load, with slots every second.

Where a platform replaces all types at once (Dokku, Heroku), release A's beat is stopped before release B comes, in a
window in which nothing is due: two beats of which one knows no lease would double where a worker without the guard is
left. What falls due meanwhile is sent late by B's beat, which goes on from A's schedule file. With a release between,
whose workers have the guard and whose beat is the stock one, B's beat comes beside that one, and nothing is late.
Where types are rolled one by one (Kubernetes), the workers come first, and no window is needed; on the way back they
go last.
"""

import contextlib
import datetime as dt
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from demo.census import Monitor, read_runs
from demo.load import Load
from demo.processes import Process, Processes
from demo.schedule import SELDOM
from demo.services import HOST, Valkey
from demo.site import Site
from demo.waiting import wait_until
from tests.support.pulse import pulse

from .fleet import Deploy, Fleet, Release
from .rules import Rules
from .schedule import CALM, INTERVALS
from .verdict import Verdict, judge

HERE = Path(__file__).parent
A, BETWEEN = "A-stock", "between-stock"
ENDED = re.compile(r"Task \S+\[([-0-9a-f]+)\] succeeded")
RATE, SHORT_RATE = 25.0, 8.0
"""Requests a second, and where not all is played."""


@dataclass(frozen=True)
class Result:
    """What one platform's rehearsal came to."""

    platform: str
    deploys: list[Deploy]
    verdict: Verdict
    requests: int
    failed: list[str]

    @property
    def passed(self) -> bool:
        return not (self.verdict.missed or self.verdict.doubled or self.failed) and bool(self.requests)


class Rehearsal:
    """One platform, one site, from release A to D and back."""

    def __init__(self, rules: Rules, processes: Processes, directory: Path, tell: Callable[[str], None]) -> None:
        self._rules = rules
        self._tell = tell
        self._directory = directory
        self._valkey = Valkey(processes, directory / "valkey")
        self._site = Site(processes, directory, self._valkey.url)
        self._site.env["CODE_SCHEDULE"] = "tests.platform.schedule.beat_schedule"
        calm = "calm" if not rules.one_type_at_a_time else "beat_schedule"
        old = {
            "DJANGO_SETTINGS_MODULE": "tests.platform.release_a",
            "RELEASE_A_SCHEDULE": f"tests.platform.schedule.{calm}",
        }
        self._a = Release(A, HERE / "Procfile.a", old)
        self._between = Release(BETWEEN, HERE / "Procfile.guarded-workers")
        # A type that is new starts at zero on Dokku and Heroku: there B has the beat already that C's rollback needs.
        b = Path("Procfile.before" if rules.one_type_at_a_time else "deploy/Procfile.code-side")
        self._b = Release("B", b)
        self._c = Release("C", Path("deploy/Procfile.both-sides"))
        self._d = Release("D", Path("Procfile"), {"CODE_SCHEDULE": ""})

    def run(self, whole: bool) -> Result:
        """Play it: all of it, or from A to C and back to B."""
        with contextlib.ExitStack() as stack:
            self._valkey.start()
            stack.callback(self._valkey.stop)
            self._manage(self._a, "migrate", "--noinput", "--verbosity=0")
            self._fleet = Fleet(self._site, self._rules)
            stack.callback(self._fleet.close)
            self._monitor = stack.enter_context(Monitor(HOST, self._valkey.port))
            absences = stack.enter_context(pulse())
            self._deploy(self._a)
            load = stack.enter_context(Load(*self._fleet.address, rate=RATE if whole else SHORT_RATE))
            began = self._watch(2.0)
            b_began, b_ended, ended = self._play(whole)
            load.stop()
            self._fleet.scale_to_zero("beat")
            self._watch(3.0)
            since, until = dict.fromkeys(INTERVALS, began), dict.fromkeys(INTERVALS, ended)
            if not self._rules.one_type_at_a_time:  # only B, C and D have the busy entries there
                since |= dict.fromkeys(INTERVALS.keys() - CALM.keys(), b_began)
                until |= dict.fromkeys(INTERVALS.keys() - CALM.keys(), b_ended)
            runs = read_runs(self._site.runs)
            verdict = judge(INTERVALS, self._monitor.handed, runs, since, until, absences, self._ended_unguarded())
            for kind in ("legacy-beat", "worker", "web"):
                self._fleet.scale_to_zero(kind)
        return Result(self._rules.name, self._fleet.deploys, verdict, load.tally.total, load.tally.failures)

    def _play(self, whole: bool) -> tuple[dt.datetime, dt.datetime, dt.datetime]:
        """The releases; since when, and until when, release B or a later one sent; and the end."""
        b_began = self._from_a_to_b()
        self._cutover("phase1", "phase2")
        if whole:
            self._tell("deploy of C fails half-way")
            self._fleet.deploy_half_way(self._c)
        self._deploy(self._c)
        self._cutover("phase3")
        if whole:
            self._cutover("phase4")
            self._deploy(self._d)
            self._watch(3.0)
            self._deploy(self._c)  # the way back begins with a beat of the code side that stands by
        self._cutover("rollback")
        self._from_c_to_b()
        if not whole:
            ended = self._watch(6.0)
            return b_began, ended, ended
        self._deploy(self._c)
        self._cutover("phase3", "rollback")
        self._from_c_to_b()
        b_ended = self._watch(4.0)
        self._from_b_to_a()
        return b_began, b_ended, self._watch(25.0)

    def _from_a_to_b(self) -> dt.datetime:
        """Returns since when all entries are sent without a pause."""
        if self._rules.one_type_at_a_time:
            self._deploy(self._b, "worker", "web")
            self._wait_until_the_file_is_made_up_for()
            self._deploy(self._b, "beat")
            return self._watch(3.0)
        self._wait_for_the_window()
        self._fleet.scale_to_zero("beat")
        if not self._rules.guards_first:
            self._deploy(self._b)
            return self._watch(3.0)
        self._deploy(self._between)
        since = self._watch(3.0)
        self._wait_until_the_file_is_made_up_for()
        self._deploy(self._b)
        self._watch(3.0)
        return since

    def _from_c_to_b(self) -> None:
        """Never without a beat of the active side: B's come before C's go."""
        self._deploy(self._b, "worker", "web", "beat", "legacy-beat")

    def _from_b_to_a(self) -> None:
        if self._rules.one_type_at_a_time:
            self._deploy(self._a, "beat", "web", "worker")
            return
        self._wait_for_the_window()
        self._fleet.scale_to_zero("beat")
        self._deploy(self._a)

    def _wait_for_the_window(self) -> None:
        """Return when both calm entries have just run, and nothing but what runs every second is due for a while."""
        self._wait_until_the_calm_have_run("the quiet window has begun")

    def _wait_until_the_file_is_made_up_for(self) -> None:
        """The runbooks' eight minutes between the last worker without the guard and the first beat of ours, cut short.

        A running stock beat's schedule file does not tell yet what such a worker ran last. Once a guarded one has run
        the next slot of each entry, the ledger tells more than the file.
        """
        self._wait_until_the_calm_have_run("guarded workers have run every entry")

    def _wait_until_the_calm_have_run(self, what: str) -> None:
        before = len(read_runs(self._site.runs))
        wait_until(
            lambda: CALM.keys() <= {run.label for run in read_runs(self._site.runs)[before:]}, what, timeout_s=45
        )

    def _ended_unguarded(self) -> set[str]:
        """The task ids of all runs that ended in a worker of release A."""
        logs = (self._directory / "logs").glob(f"{A}-worker*.log")
        return {task_id for log in logs for task_id in ENDED.findall(log.read_text())}

    def _deploy(self, release: Release, *order: str) -> None:
        self._tell(f"deploy {release.name}")
        self._fleet.deploy(release, *([order] if order else []))

    def _cutover(self, *phases: str) -> None:
        for phase in phases:
            self._tell(f"cutover {phase}")
            self._manage(self._c, "cutover", phase, *self._options(phase))

    def _options(self, phase: str) -> Sequence[str]:
        if phase == "phase1":  # A's beat was seen to end; else it counts as running for two minutes more
            status = self._manage(self._b, "cutover", "status", "--json")
            return [f"--stopped={beat['origin']}" for beat in json.loads(status.output)["unmanaged_beats"]]
        return ("--wait", "75", *(f"--waive={name}" for name in SELDOM)) if phase == "phase4" else ()

    def _manage(self, release: Release, *arguments: str) -> Process:
        words = " ".join(arguments)
        process = self._site.start("-".join(arguments[:2]), f"python manage.py {words}", **release.env)
        if process.wait(120):
            raise RuntimeError(f"manage.py {words} ended with {process.exit_code}:\n{process.output}")
        return process

    def _watch(self, seconds: float) -> dt.datetime:
        """Let the site live on; returns the instant after that."""
        until = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)
        wait_until(lambda: dt.datetime.now(dt.UTC) >= until, "the site has lived on", seconds + 5)
        return until
