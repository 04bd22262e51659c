"""What is counted and exposed, without a server: each meter, the files of a pool, the limit of series, the port."""

import datetime as dt
import os
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.mmap_dict import MmapedDict, mmap_key

from cutover import clock, metrics
from cutover.events import Event
from cutover.observe.conditions import Condition, Finding
from cutover.observe.entries import EntryRecord
from cutover.observe.metrics import exposition, start
from cutover.observe.metrics.beat import OUTCOMES, BeatMeter
from cutover.observe.metrics.catalogue import METRICS
from cutover.observe.metrics.samples import Site
from cutover.observe.metrics.site import Overview, Reading, Server
from cutover.observe.metrics.worker import MOST_FILES, Files, WorkerMeter
from cutover.schedulers import CodeScheduler
from cutover.types import EntryName, Epoch, RunOutcome, Side, Slot
from demo.processes import ROOT
from demo.services import HOST, free_port
from demo.waiting import wait_until
from tests.support.lives import NOW, SECOND, life
from tests.support.scrape import Samples, collected, names, of, parsed, scraped

DURATION = "cutover_run_duration_seconds"


@pytest.fixture(autouse=True)
def meters() -> Iterator[None]:
    """The process counts nothing after a test."""
    before = metrics.beat, metrics.worker
    yield
    metrics.beat, metrics.worker = before
    start._collectors.clear()


@pytest.fixture
def ports(settings: Any) -> dict[str, int]:
    settings.CUTOVER = {**settings.CUTOVER, "METRICS_PORT": {"beat": free_port(), "worker": free_port()}}
    return settings.CUTOVER["METRICS_PORT"]


@pytest.fixture
def exposed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What would have been exposed."""
    found = list[tuple[Any, ...]]()
    monkeypatch.setattr(start, "expose", lambda *given: found.append(given))
    return found


def slot(entry: str = "a", ago: dt.timedelta = dt.timedelta(0)) -> Slot:
    return Slot(NOW - ago, EntryName(entry))


def seen(records: list[EntryRecord]) -> Overview:
    return Overview(0, 0, Side.CODE, records, {"b": "t"}, {"claimed": 3}, 0)


def site(records: list[EntryRecord], limit: int = 10) -> Samples:
    """The samples of a site that has these entries."""
    up = {Server.DATABASE: True, Server.REDIS: True}
    reading = Reading(
        0, up=up, side=Side.CODE, epoch=4, is_led=True, standbys={Side.CODE: 0}, paused=["a"], overview=seen(records)
    )
    return collected(Site(SimpleNamespace(latest=lambda: reading), limit))


def record(name: str, *found: Condition, **told: Any) -> EntryRecord:
    return EntryRecord(EntryName(name), Side.CODE, life(**told), NOW, tuple(map(Finding, found)))


def test_a_beat_counts_its_slots_by_outcome_their_delay_and_its_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)
    meter = BeatMeter(Side.CODE)
    idle = collected(meter)
    assert idle["cutover_leader", "code"] == 0
    assert of(idle, "cutover_slots_total") == {(outcome,): 0 for outcome in OUTCOMES.values()}
    assert {"claimed", "published", "missed", "swept", "resent"} < set(OUTCOMES.values())
    assert not of(idle, "cutover_epoch")
    meter.turned(Epoch(7))
    for ago in (0, 2, 3):
        meter.slot(Event.SLOT_CLAIMED, slot(ago=ago * SECOND))
        meter.slot(Event.SLOT_PUBLISHED, slot(ago=ago * SECOND))
    meter.slot(Event.SLOT_PUBLISHED, slot(ago=-SECOND))
    meter.slot(Event.SLOT_MISSED, slot("b"), 4)
    told = collected(meter)
    assert (told["cutover_leader", "code"], told["cutover_epoch",]) == (1, 7)
    assert told["cutover_last_turn_timestamp_seconds",] == NOW.timestamp()
    assert (told["cutover_slots_total", "claimed"], told["cutover_slots_total", "published"]) == (3, 4)
    assert told["cutover_slots_total", "missed"] == 5, "with those that were passed over"
    assert of(told, "cutover_slots_missed_total") == {("b",): 5}
    buckets = of(told, "cutover_slot_delay_seconds_bucket")
    assert (buckets["0.05",], buckets["2.5",], buckets["5.0",], buckets["+Inf",]) == (2, 3, 4, 4)
    assert told["cutover_slot_delay_seconds_sum",] == 5
    meter.turned(None)
    assert (collected(meter)["cutover_leader", "code"], collected(meter)["cutover_epoch",]) == (0, 7)


def test_a_worker_counts_starts_ends_and_what_it_drops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)
    registry = CollectorRegistry()
    meter = WorkerMeter(registry)
    assert collected(registry)[f"{DURATION}_count", "failed"] == 0, "so that the first one is seen to be an increase"
    meter.started(NOW - 3 * SECOND)
    meter.ended(RunOutcome.FAILED, 7.0)
    meter.deduplicated()
    told = collected(registry)
    assert (told["cutover_run_delay_seconds_sum",], told["cutover_runs_deduplicated_total",]) == (3, 1)
    assert told[f"{DURATION}_bucket", "10.0", "failed"] == told[f"{DURATION}_count", "failed"] == 1


def test_what_ended_processes_have_counted_is_kept_in_one_file(tmp_path: Path) -> None:
    own = os.getpid()
    ended = [process for process in range(4_200_000, 4_200_000 + MOST_FILES)]  # above the kernel's highest
    for process in (own, *ended):
        numbers = MmapedDict(str(tmp_path / f"counter_{process}.db"))
        name = "cutover_runs_deduplicated_total"
        numbers.write_value(mmap_key("cutover_runs_deduplicated", name, [], [], "help"), 2.0, 0.0)
        numbers.close()
    kept, others = Files(tmp_path, own=True), Files(tmp_path, own=False)
    expected = {("cutover_runs_deduplicated_total",): 2.0 * (1 + MOST_FILES)}
    assert collected(others) == expected
    assert len([*tmp_path.iterdir()]) == 1 + MOST_FILES, "another machine's processes may be alive"
    assert collected(kept) == collected(kept) == expected
    assert {file.name for file in tmp_path.iterdir()} == {f"counter_{own}.db", "counter_0.db"}


def test_series_of_entries_end_at_the_limit_and_those_of_what_is_wrong_do_not() -> None:
    records = [record("z", Condition.MISSED), record("a"), record("b"), record("c", Condition.MISSED_EARLIER)]
    told = site(records, limit=2)
    assert set(of(told, "cutover_entry_info")) == {("a", "code", ""), ("b", "code", "t"), ("z", "code", "")}
    assert of(told, "cutover_entry_condition") == {("missed", "z"): 1}
    assert (told["cutover_entries",], told["cutover_epoch",], told["cutover_led", "code"]) == (4, 4, 1)
    assert of(told, "cutover_slots_stuck") == {("claimed",): 3, ("published",): 0}


def test_when_an_entry_ran_last_is_known_while_its_latest_slot_waits_for_a_worker() -> None:
    records = [record("a")]
    collector = Site(SimpleNamespace(latest=lambda: Reading(0, overview=seen(records))), 1)
    ran_at = of(collected(collector), "cutover_entry_last_run_timestamp_seconds")
    records[:] = [record("a", started_at=None)]
    assert of(collected(collector), "cutover_entry_last_run_timestamp_seconds") == ran_at != {}


def test_what_is_not_known_has_no_sample() -> None:
    reading = Reading(0, up={Server.DATABASE: False})
    assert collected(Site(SimpleNamespace(latest=lambda: reading), 1)) == {("cutover_up", "database"): 0}


def test_every_metric_of_the_catalogue_is_exposed_with_its_labels_and_no_other() -> None:
    registry = CollectorRegistry()
    meter, worker = BeatMeter(Side.CODE), WorkerMeter(registry)
    meter.turned(Epoch(1))
    meter.slot(Event.SLOT_MISSED, slot())
    worker.deduplicated()
    told = {**collected(meter), **collected(registry), **site([record("a", Condition.MISSED)])}
    assert {name for name in names(told) if not name.endswith("_created")} == METRICS.keys()


def test_an_entrys_name_is_whatever_it_is() -> None:
    registry = CollectorRegistry()
    registry.register(BeatMeter(Side.CODE))
    meter = BeatMeter(Side.CODE)
    name = 'a "b" \\ \n {c="d"} é'
    meter.slot(Event.SLOT_MISSED, slot(name))
    registry = CollectorRegistry()
    registry.register(meter)
    assert of(parsed(generate_latest(registry).decode()), "cutover_slots_missed_total") == {(name,): 1}


def test_nobody_counts_without_the_setting(exposed: list[Any]) -> None:
    start.begin_beat(SimpleNamespace(scheduler=object.__new__(CodeScheduler)))
    start.begin_worker(SimpleNamespace(pool_cls="prefork"))
    start.begin_process()
    start.expose_worker()
    assert (type(metrics.beat), type(metrics.worker)) == (metrics.BeatMeter, metrics.WorkerMeter)
    assert exposed == []


def test_nothing_imports_the_package_before_it_is_told_to_count() -> None:
    imports = re.compile(r"^(?:from|import) prometheus_client", re.MULTILINE)
    assert [file for file in (ROOT / "cutover").rglob("*.py") if imports.search(file.read_text())] == []


def test_a_beat_under_the_lease_counts_and_an_unmanaged_one_does_not(exposed: list[Any], ports: dict[str, int]) -> None:
    start.begin_beat(SimpleNamespace(scheduler=object()))
    assert exposed == []
    start.begin_beat(SimpleNamespace(scheduler=object.__new__(CodeScheduler)))
    assert exposed == [(metrics.beat, "0.0.0.0", ports["beat"])]


def test_a_pool_of_threads_counts_in_memory(exposed: list[Any], ports: dict[str, int]) -> None:
    start.begin_worker(SimpleNamespace(pool_cls="threads"))
    start.expose_worker()
    metrics.worker.deduplicated()
    [(collector, _, port)] = exposed
    assert port == ports["worker"]
    assert collected(collector)["cutover_runs_deduplicated_total",] == 1


@pytest.mark.parametrize("directory", [None, ""])
def test_a_pool_of_processes_whose_project_keeps_numbers_in_memory_says_what_to_set(
    directory: str | None,
    exposed: list[Any],
    ports: dict[str, int],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.delenv(start.DIRECTORY, raising=False)
    if directory is not None:
        monkeypatch.setenv(start.DIRECTORY, directory)
    assert "prometheus_client" in sys.modules
    start.begin_worker(SimpleNamespace(pool_cls="prefork"))
    start.begin_process()
    start.expose_worker()
    assert (exposed, type(metrics.worker)) == ([], metrics.WorkerMeter)
    assert "set PROMETHEUS_MULTIPROC_DIR to an empty directory" in caplog.text


def test_a_directory_without_a_name_is_none(
    exposed: list[Any], ports: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(start.DIRECTORY, "")
    monkeypatch.delitem(sys.modules, "prometheus_client")
    start.begin_worker(SimpleNamespace(pool_cls="prefork"))
    directory = Path(os.environ[start.DIRECTORY])
    assert directory.is_dir()
    directory.rmdir()


def test_a_directory_that_cannot_be_used_is_said_and_no_process_of_the_pool_fails(
    exposed: list[Any], ports: dict[str, int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError("No such file or directory")

    monkeypatch.setenv(start.DIRECTORY, "/no/such")
    monkeypatch.setattr(WorkerMeter, "__init__", refuse)
    start.begin_worker(SimpleNamespace(pool_cls="prefork"))
    start.begin_process()
    start.expose_worker()
    assert "PROMETHEUS_MULTIPROC_DIR cannot be used: No such file" in caplog.text
    assert (exposed, type(metrics.worker)) == ([], metrics.WorkerMeter)


def test_an_address_that_can_be_none_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    said = list[str]()
    monkeypatch.setattr(exposition, "log", lambda event, **keys: said.append(f"{event} {keys['reason']}"))
    monkeypatch.setattr(exposition.time, "sleep", lambda _: sys.exit())
    with pytest.raises(SystemExit):
        exposition._serve(BeatMeter(Side.CODE), "a..b", free_port())
    [line] = said
    assert "no metrics on a..b:" in line


def test_a_port_that_another_has_is_said_once_and_taken_when_it_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said, servers = list[Event](), list[Any]()

    def started(*given: Any) -> None:
        servers.append(start_http_server(*given)[0])

    monkeypatch.setattr("prometheus_client.start_http_server", started)
    monkeypatch.setattr(exposition, "log", lambda event, **_: said.append(event))
    monkeypatch.setattr(exposition, "RETRY_S", 0.01)
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        exposition.expose(BeatMeter(Side.CODE), HOST, port)
        wait_until(lambda: said, "the port is refused")
    wait_until(lambda: len(said) == 2, "the port is served")
    assert said == [Event.METRICS_FAILED, Event.METRICS_EXPOSED]
    assert scraped(f"http://{HOST}:{port}/metrics")["cutover_leader", "code"] == 0
    servers[0].shutdown()
    servers[0].server_close()
