"""A site is broken while a real Prometheus scrapes its processes: the alerts of ``deploy/`` fire, and end again.

Scraped and judged every second. What the rules wait for (`for: 1m`) is shortened to a second; nothing else is changed.
"""

import json
import re
import shutil
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from demo.processes import ROOT, Process, Processes
from demo.services import HOST, free_port
from demo.waiting import wait_until
from tests.support.scrape import scraped
from tests.support.site import Site

pytestmark = [
    pytest.mark.faults,
    pytest.mark.long,
    pytest.mark.skipif(
        shutil.which("prometheus") is None, reason="prometheus is not installed: apt install prometheus"
    ),
]

RULES = ROOT / "deploy" / "prometheus" / "rules.yaml"
PLACES = ("beat-a", "beat-b", "worker", "web")
SECONDS = 60.0
"""How long an alert may take to come or go."""


class Watch:
    """A Prometheus that scrapes each place's port."""

    def __init__(self, processes: Processes, folder: Path, ports: dict[str, int]) -> None:
        self._url = f"{HOST}:{free_port()}"
        (folder / "rules.yaml").write_text(re.sub(r"for: \w+", "for: 1s", RULES.read_text()))
        jobs = [
            {"job_name": name.partition("-")[0] + name[5:], "static_configs": [{"targets": [f"{HOST}:{port}"]}]}
            for name, port in ports.items()
        ]
        often = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config = {"global": often, "rule_files": ["rules.yaml"], "scrape_configs": jobs}
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
        told = [f"--config.file={folder / 'prometheus.yaml'}", f"--storage.tsdb.path={folder / 'tsdb'}"]
        processes.start("prometheus", ["prometheus", *told, f"--web.listen-address={self._url}"], {"PATH": "/usr/bin"})

    def firing(self) -> set[str]:
        """The names of the alerts that fire now."""
        with suppress(OSError), urllib.request.urlopen(f"http://{self._url}/api/v1/alerts", timeout=5) as answer:
            alerts = json.load(answer)["data"]["alerts"]
            return {one["labels"]["alertname"] for one in alerts if one["state"] == "firing"}
        return {"Prometheus gives no answer"}

    def wait_for(self, *names: str) -> set[str]:
        """Return what fires once these do."""
        return wait_until(lambda: found if {*names} <= (found := self.firing()) else None, f"{names} fire", SECONDS)

    def wait_without(self, *names: str) -> None:
        """Return once these do not fire, or nothing at all does."""
        wait_until(
            lambda: not ({*names} & found if names else found) if (found := self.firing()) is not None else None,
            f"{names or 'all alerts'} have ended",
            SECONDS,
        )


@pytest.fixture
def ports(sqlite_site: Site) -> dict[str, int]:
    """Where each process of the site is scraped."""
    chosen = {name: free_port() for name in PLACES}
    sqlite_site.env |= {
        "DJANGO_SETTINGS_MODULE": "tests.support.metrics_settings",
        "WORKER_METRICS_PORT": str(chosen["worker"]),
        "PORT": str(chosen["web"]),
        "TMPDIR": str(sqlite_site.directory),
        "WEB_CONCURRENCY": "1",
        "ALLOWED_HOSTS": HOST,
        "SECURE_SSL_REDIRECT": "0",
    }
    return chosen


@pytest.fixture
def watch(processes: Processes, tmp_path: Path, sqlite_site: Site, ports: dict[str, int]) -> Iterator[Watch]:
    """Scrapes the site, whose worker and web process run."""
    sqlite_site.prodserver("worker")
    sqlite_site.prodserver("web")
    return Watch(processes, tmp_path, ports)


def test_alerts_fire_when_leaders_die_slots_are_missed_and_a_beat_knows_no_lease(
    sqlite_site: Site, watch: Watch, ports: dict[str, int]
) -> None:
    def start(name: str) -> Process:
        folder = sqlite_site.directory / name
        folder.mkdir(exist_ok=True)
        kept = {"CELERY_BEAT_SCHEDULE_FILENAME": str(folder / "schedule")}
        return sqlite_site.prodserver("legacy-beat", BEAT_METRICS_PORT=str(ports[name]), **kept)

    first, second = start("beat-a"), start("beat-b")
    wait_until(lambda: {"standby", "leader"} <= roles(sqlite_site), "one leads, the other stands by")
    watch.wait_without()

    first.kill()
    wait_until(lambda: scraped(f"http://{HOST}:{ports['beat-b']}").get(("cutover_leader", "code")), "the other leads")
    watch.wait_without()
    second.kill()
    found = watch.wait_for("CutoverNoLeader", "CutoverBeatMetricsAbsent", "CutoverEntryOverdue")
    assert "CutoverSiteMetricsAbsent" not in found

    stock = sqlite_site.start(
        "stock",
        "celery -A prayer_room_api beat",
        CELERY_BEAT_SCHEDULER="celery.beat:PersistentScheduler",
        CELERY_IMPORTS="demo.tasks,tests.faults.old_release",
        CELERY_BEAT_SCHEDULE_FILENAME=str(sqlite_site.directory / "schedule-of-the-stock-beat"),
    )
    watch.wait_for("CutoverUnmanagedBeat", "CutoverNoLeader")
    stock.stop()

    start("beat-a")
    watch.wait_for("CutoverSlotsMissed")
    watch.wait_without("CutoverNoLeader", "CutoverBeatMetricsAbsent", "CutoverEntryOverdue")


def roles(site: Site) -> set[str]:
    return {beat["role"] for beat in site.status()["beats"]}
