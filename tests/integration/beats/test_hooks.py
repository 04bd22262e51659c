"""What hangs on celery's schedulers keeps working: agents that wrap them, receivers of ``beat_init``, subclasses."""

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

import pytest
from celery import signals
from celery.beat import ScheduleEntry, Scheduler, Service
from celery.schedules import schedule
from django_celery_beat.models import PeriodicTask, PeriodicTasks
from django_celery_beat.schedulers import ModelEntry

from cutover.models import Fence, Slot
from cutover.schedulers import CodeScheduler, DatabaseScheduler
from demo.waiting import wait_until
from prayer_room_api.celery import app as celery_app
from tests.integration.beats.test_scheduler import Beat, every, row, rows, sent  # noqa: F401

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("nothing_left", "rows")]


@pytest.fixture
def broker_messages(redis_client: Any) -> Iterator[Any]:
    """What the broker has in its queue, one message by its entry."""

    def read() -> dict[str, dict[str, Any]]:
        found = [json.loads(raw) for raw in redis_client.lrange("celery", 0, -1)]
        return {message["headers"]["cutover_entry"]: message for message in found}

    redis_client.delete("celery")
    yield read
    redis_client.delete("celery")


def beating(kind: type[DatabaseScheduler]) -> Beat:
    return Beat(lambda: kind(app=celery_app))


def test_what_watches_celerys_tick_and_apply_entry_sees_one_within_the_other(monkeypatch):
    """As Datadog does: it wraps both, and takes the entry as the first positional argument."""
    inside, seen = [], []
    tick, apply_entry = Scheduler.tick, Scheduler.apply_entry

    def watched_tick(self: Any, *args: Any, **kwargs: Any) -> Any:
        inside.append("tick")
        try:
            return tick(self, *args, **kwargs)
        finally:
            inside.pop()

    def watched_apply_entry(self: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append((args[0].name, len(args), [*kwargs], [*inside]))
        return apply_entry(self, *args, **kwargs)

    monkeypatch.setattr(Scheduler, "tick", watched_tick)
    monkeypatch.setattr(Scheduler, "apply_entry", watched_apply_entry)
    row("a")
    with beating(DatabaseScheduler):
        wait_until(lambda: len(sent("a")) >= 2, "it is sent")
    assert set(map(repr, seen)) == {repr(("a", 1, ["producer"], ["tick"]))}
    assert len(seen) == len(sent("a"))


@pytest.mark.parametrize("kind", [CodeScheduler, DatabaseScheduler])
def test_the_schedule_is_filled_before_beat_init_and_what_is_put_on_an_entry_then_is_sent(
    kind, monkeypatch, tmp_path, broker_messages
):
    """As Cronitor does: it registers what it finds there, and puts headers on it."""
    if kind is CodeScheduler:
        Fence.objects.update(side="code")
        entry = {"task": "demo.tasks.note", "schedule": 1.0, "args": ("a",)}
        monkeypatch.setattr("cutover.schedules.project.code_schedule", lambda *_: {"a": entry})
    else:
        row("a")
    found: list[str] = []

    def register(sender: Service, **_: Any) -> None:
        for name, entry in sender.scheduler.schedule.items():
            found.append(name)
            entry.options = {**entry.options, "headers": {**(entry.options.get("headers") or {}), "registered": name}}

    service = Service(celery_app, scheduler_cls=kind, schedule_filename=str(tmp_path / "schedule"))
    signals.beat_init.connect(register)
    try:
        signals.beat_init.send(sender=service)
    finally:
        signals.beat_init.disconnect(register)
    assert "a" in found
    with Beat(lambda: service.scheduler):
        wait_until(lambda: sent("a"), "it is sent")
        wait_until(lambda: broker_messages().get("a"), "it is in the queue")
    assert broker_messages()["a"]["headers"]["registered"] == "a"


def test_a_schedule_that_cannot_be_read_yet_is_empty_and_stops_no_beat(monkeypatch):
    from cutover.errors import LedgerUnavailable

    row("a")

    def away(*_: Any, **__: Any) -> None:
        raise LedgerUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr("cutover.beats.sources.rows.version_of", away)
        scheduler = DatabaseScheduler(app=celery_app)
        assert scheduler.schedule == {}
    assert list(scheduler.schedule) == ["a"]


class OfShopModels(DatabaseScheduler):
    """One that hides rows by the query."""

    def enabled_models_qs(self) -> Any:
        return super().enabled_models_qs().exclude(description="hidden")


class OfShopList(DatabaseScheduler):
    """One that hides rows from the list, and changes another on its way."""

    def enabled_models(self) -> list[PeriodicTask]:
        found = [model for model in super().enabled_models() if model.description != "hidden"]
        for model in found:
            model.headers = json.dumps({"shop": "1"})
        return found


class OfShopSchedule(DatabaseScheduler):
    """One that takes entries out of the finished schedule, changes some, and adds one of its own."""

    def all_as_schedule(self) -> dict[str, ScheduleEntry]:
        found = super().all_as_schedule()
        for name in [name for name, entry in found.items() if entry.model.description == "hidden"]:
            del found[name]
        for entry in found.values():
            entry.options["headers"]["shop"] = "1"
        found["own"] = ScheduleEntry(
            name="own", task="demo.tasks.note", schedule=schedule(1), args=("own",), app=self.app
        )
        return found


def test_what_a_subclass_makes_of_the_schedule_is_there_before_beat_init_too():
    row("shown")
    row("hidden", description="hidden")
    assert sorted(OfShopSchedule(app=celery_app).schedule) == ["own", "shown"]


class ShopEntry(ModelEntry):
    def __init__(self, model: PeriodicTask, app: Any = None) -> None:
        super().__init__(model, app=app)
        self.options["headers"]["shop"] = "1"


class OfShopEntry(OfShopModels):
    Entry = ShopEntry


class ShopTask(PeriodicTask):
    class Meta:
        app_label = "django_celery_beat"
        proxy = True


class OfShopModel(OfShopModels):
    Model = ShopTask


@pytest.mark.parametrize(
    ("kind", "marked"),
    [(OfShopModels, False), (OfShopList, True), (OfShopSchedule, True), (OfShopEntry, True), (OfShopModel, False)],
)
def test_a_subclass_decides_which_rows_there_are_and_what_is_sent_of_them(kind, marked, broker_messages):
    row("shown")
    row("hidden", description="hidden")
    with beating(kind) as beat:
        wait_until(lambda: beat.failure or sent("shown"), "what it shows is sent")
        wait_until(lambda: broker_messages().get("shown"), "it is in the queue")
        assert sorted(set(beat.scheduler.schedule) - {"own"}) == ["shown"]
        if kind is OfShopSchedule:
            wait_until(lambda: sent("own"), "what it adds is sent")
        # Nobody has touched a column that decides when or what is sent.
        PeriodicTask.objects.filter(name="shown").update(description="hidden")
        wait_until(lambda: "shown" not in beat.scheduler.schedule, "what is hidden from now on is out")
        PeriodicTask.objects.filter(name="hidden").update(description="")
        wait_until(lambda: sent("hidden"), "what is shown from now on is sent")
    assert min(sent("hidden")) > max(sent("shown"))
    assert ("shop" in broker_messages()["shown"]["headers"]) is marked
    assert PeriodicTask.objects.get(name="shown").total_run_count == len(sent("shown"))


def test_a_subclass_that_says_of_changes_itself_is_asked_again_then():
    asked: list[dt.datetime] = []

    class Changes(PeriodicTasks):
        class Meta:
            app_label = "django_celery_beat"
            proxy = True

        @classmethod
        def last_change(cls) -> Any:
            asked.append(dt.datetime.now(dt.UTC))
            return asked[-1]

    kind = type("OfShopChanges", (DatabaseScheduler,), {"Changes": Changes})
    row("a")
    with beating(kind) as beat:
        wait_until(lambda: beat.failure or sent("a"), "it is sent")
    assert asked


def test_a_model_of_another_table_is_refused_by_name():
    kind = type("OfShop", (DatabaseScheduler,), {"Model": Slot, "__module__": "shop.beat"})
    with pytest.raises(SystemExit, match=r"shop\.beat\.OfShop has a Model that is no PeriodicTask"):
        kind(app=celery_app)


@pytest.mark.parametrize("side", [CodeScheduler, DatabaseScheduler])
@pytest.mark.parametrize("whose", ["scheduler", "entry"])
def test_one_that_decides_itself_what_is_due_is_refused_by_name(side, whose, tmp_path):
    def is_due(self: Any, *args: Any) -> Any:
        return False, 5.0

    own = {"is_due": is_due, "__module__": "shop.beat"}
    overrides = own if whose == "scheduler" else {"Entry": type("Deciding", (side.Entry,), own)}
    kind = type("Deciding", (side,), overrides)
    with pytest.raises(SystemExit, match=r"shop\.beat\.Deciding has its own is_due"):
        kind(app=celery_app, schedule_filename=str(tmp_path / "schedule"))


class PerTenant:
    """As the mixin of a multi-tenant package."""

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:
        for _tenant in ("one", "two"):
            self.apply_async(entry, producer=producer, advance=False)  # type: ignore[attr-defined]


class TenantScheduler(PerTenant, CodeScheduler):
    """One that a process is started with."""


def test_a_beat_that_is_refused_says_why_in_one_line_and_ends_with_one(room):
    process = room.start("beat", f"celery -A prayer_room_api beat -S {__name__}:TenantScheduler")
    assert process.wait(60) == 1
    assert "TenantScheduler sends several messages for one entry, but a slot has one" in process.output
    assert "Traceback" not in process.output


@pytest.mark.parametrize("side", [CodeScheduler, DatabaseScheduler])
def test_a_mixin_that_sends_to_each_tenant_is_refused_at_start(side, tmp_path):
    kind = type("TenantScheduler", (PerTenant, side), {"__module__": "shop.beat"})
    kind(app=celery_app, lazy=True)  # celery's banner
    with pytest.raises(SystemExit, match=r"shop\.beat\.TenantScheduler sends several messages for one entry"):
        kind(app=celery_app, schedule_filename=str(tmp_path / "schedule"))


def test_an_entry_class_of_the_code_sides_subclass_is_used(monkeypatch, tmp_path):
    class Entry(ScheduleEntry):
        def __init__(self, *args: Any, tenant: str = "", **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.tenant = tenant

    kind = type("OfShop", (CodeScheduler,), {"Entry": Entry})
    entry = {"task": "demo.tasks.note", "schedule": 1.0, "args": ("a",), "tenant": "one"}
    monkeypatch.setattr("cutover.schedules.project.code_schedule", lambda *_: {"a": entry})
    Fence.objects.update(side="code")
    with Beat(lambda: kind(app=celery_app, schedule_filename=str(tmp_path / "schedule"))) as beat:
        wait_until(lambda: beat.failure or sent("a"), "it is sent")
        assert beat.scheduler.schedule["a"].tenant == "one"


def test_a_subclass_that_leaves_out_what_ours_does_is_refused_by_name(tmp_path):
    def setup_schedule(self: Any) -> None:
        self.data = {}

    kind = type("OfShop", (CodeScheduler,), {"setup_schedule": setup_schedule, "__module__": "shop.beat"})
    with pytest.raises(SystemExit, match=r"shop\.beat\.OfShop\.setup_schedule must call that of super"):
        kind(app=celery_app, schedule_filename=str(tmp_path / "schedule"))
