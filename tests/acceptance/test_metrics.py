"""Real processes expose what they do: a scrape of beat and worker is what the broker and the tasks saw."""

import datetime as dt
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from celery import Celery

from cutover import clock
from demo.census import Handed, Run, read_runs
from demo.services import HOST, free_port
from demo.waiting import wait_until
from tests.faults.schedule import WITNESSED
from tests.faults.tasks import FAILED, RETRIED
from tests.support.scrape import Samples, scraped
from tests.support.scrape import of as samples
from tests.support.site import Site

pytestmark = pytest.mark.acceptance


@pytest.fixture
def ports(sqlite_site: Site) -> dict[str, int]:
    """The ports on which the site's beat and worker expose metrics."""
    chosen = {place: free_port() for place in ("beat", "worker")}
    sqlite_site.env |= {f"{place.upper()}_METRICS_PORT": str(port) for place, port in chosen.items()}
    sqlite_site.env["DJANGO_SETTINGS_MODULE"] = "tests.support.metrics_settings"
    sqlite_site.env["TMPDIR"] = str(sqlite_site.directory)  # a worker that is killed leaves its numbers there
    return chosen


def test_a_scrape_of_beat_and_worker_is_what_the_broker_and_the_tasks_saw(
    sqlite_site: Site, ports: dict[str, int]
) -> None:
    site = sqlite_site
    site.env |= {"CODE_SCHEDULE": "tests.faults.schedule.witnessed", "CELERY_IMPORTS": "demo.tasks,tests.faults.tasks"}

    def of(place: str) -> Samples:
        return scraped(f"http://{HOST}:{ports[place]}/metrics")

    def runs() -> list[Run]:
        return [run for run in read_runs(site.runs) if not run.label.startswith("tests.")]

    with site.monitor() as monitor:

        def sent() -> list[Handed]:
            return [one for one in monitor.handed if not one.retries and str(beat.pid) in one.origin]

        def quiet() -> tuple[list[Handed], Samples] | None:
            """What the beat has sent, and a scrape of it, where nothing was sent meanwhile."""
            before, found = sent(), of("beat")
            is_quiet = len(before) == len(sent()) == found.get(("cutover_slots_total", "published"))
            return (before, found) if is_quiet else None

        beat, worker = site.prodserver("legacy-beat"), site.prodserver("worker")
        wait_until(lambda: len({run.label for run in runs()}) == len(WITNESSED), "a run of each entry has begun")
        send_again(site, sent()[0])
        beat.send(signal.SIGSTOP)
        asleep_until = clock.now() + dt.timedelta(seconds=2.5)
        wait_until(lambda: clock.now() > asleep_until, "slots were missed")
        sent_before = len(sent())
        beat.send(signal.SIGCONT)
        wait_until(lambda: len(sent()) > sent_before + len(WITNESSED), "the beat goes on")
        handed, of_beat = wait_until(quiet, "a scrape while nothing is sent has what the broker has had")
        beat.send(signal.SIGSTOP)
        wait_until(lambda: _ended(of("worker")) == len(runs()) == len(sent()), "every run has been counted")
        of_worker = of("worker")
    missed = missed_of(handed)
    assert missed.total()
    counted = {outcome: count for (outcome,), count in samples(of_beat, "cutover_slots_total").items() if count}
    assert counted == {"claimed": len(handed), "published": len(handed), "missed": missed.total()}
    assert samples(of_beat, "cutover_slots_missed_total") == {(entry,): count for entry, count in missed.items()}
    late = sum(one.late.total_seconds() for one in handed)
    assert abs(of_beat["cutover_slot_delay_seconds_sum",] - late) < 1 + 0.1 * len(handed)
    assert of_beat["cutover_slot_delay_seconds_count",] == len(handed)
    assert of_beat["cutover_leader", "code"] == 1
    labels = Counter(run.label if run.label in (FAILED, RETRIED) else "succeeded" for run in runs())
    assert samples(of_worker, "cutover_run_duration_seconds_count") == {(how,): count for how, count in labels.items()}
    assert of_worker["cutover_run_delay_seconds_count",] == len(runs())
    assert of_worker["cutover_runs_deduplicated_total",] == 1
    assert "(not logged" not in worker.output + beat.output


def send_again(site: Site, one: Handed) -> None:
    """Hand the broker a further message of a slot."""
    assert one.slot
    named = {"cutover_entry": one.slot.entry, "cutover_due_at": one.slot.due_at.isoformat(), "cutover_epoch": 1}
    with Celery("sender", broker=site.env["REDIS_URL"], set_as_current=False) as app:
        app.send_task(one.task, (one.slot.entry,), task_id=one.task_id, headers=named)


def missed_of(handed: list[Handed]) -> Counter[str]:
    """How many slots of each entry were not sent, of those before its latest one."""
    found = Counter[str]()
    slots = {one.slot for one in handed if one.slot}
    begin = min(slot.due_at - WITNESSED[slot.entry] for slot in slots)
    for entry, every in WITNESSED.items():
        own = [slot.due_at for slot in slots if slot.entry == entry]
        if count := (max(own) - begin) // every - len(own):
            found[entry] = count
    return found


@pytest.mark.long
def test_what_a_killed_process_of_the_pool_has_counted_stays_and_a_beat_within_a_worker_has_a_port_of_its_own(
    sqlite_site: Site, ports: dict[str, int]
) -> None:
    def of(place: str) -> Samples:
        return scraped(f"http://{HOST}:{ports[place]}/metrics")

    site = sqlite_site
    command = f"celery -A prayer_room_api worker -B -c 2 -s {site.directory / 'schedule'}"
    worker = site.start("worker", command, CELERY_BEAT_SCHEDULER="cutover.schedulers:CodeScheduler")
    wait_until(lambda: _ended(of("worker")) > 9, "both of the pool's processes have run some")
    assert of("beat")["cutover_leader", "code"] == 1
    kept = {Path(path).parent: child for child, path in _files(worker.pid) if path.endswith(f"_{child.pid}.db")}
    [(directory, victim)] = kept.items()
    before = len(read_runs(site.runs))
    victim.kill()
    wait_until(lambda: _ended(of("worker")) > before + 9, "the others go on")
    ran = len(read_runs(site.runs))
    assert ran - 1 <= _ended(of("worker")), "but for the one at whose end it may have been killed"
    assert directory.is_dir()
    # Where one of the pool was killed, billiard may have another wait for 30 s until what it has run is heard of.
    worker.stop(60.0)
    assert not directory.exists()


def _files(worker: int) -> Iterator[tuple[psutil.Process, str]]:
    for child in psutil.Process(worker).children():
        yield from ((child, file.path) for file in child.open_files() if "cutover-metrics-" in file.path)


def _ended(found: Samples) -> float:
    return sum(samples(found, "cutover_run_duration_seconds_count").values())
