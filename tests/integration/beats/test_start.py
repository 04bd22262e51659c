"""A beat that could never send ends at its start: one line, no traceback, and not zero."""

from types import SimpleNamespace

import pytest
from pytest_django import Settings

from cutover.beats import start
from cutover.schedulers import CodeScheduler, DatabaseScheduler
from prayer_room_api.celery import app

pytestmark = pytest.mark.integration

BOTH, CODE = (CodeScheduler, DatabaseScheduler), (CodeScheduler,)
WRONG = (
    ({"LAESE": 15}, "CUTOVER has no setting 'LAESE'; did you mean 'LEASE'?", BOTH),
    ({"LEASE": "soon"}, "CUTOVER['LEASE'] must be a timedelta or seconds, not 'soon'", BOTH),
    ({"LEASE": 1}, "CUTOVER['LEASE'] must be at least 3 s, not 1 s", BOTH),
    ({"DATABASE": "nowhere"}, "DATABASES['nowhere'], which CUTOVER['DATABASE'] names, cannot be used", BOTH),
    ({"REDIS_ALIAS": "nowhere"}, "CUTOVER['REDIS_ALIAS'] = 'nowhere' must name a CACHES entry", BOTH),
    ({"REDIS_URL": "http://somewhere"}, "CUTOVER['REDIS_URL'] is no URL of Redis", BOTH),
    ({"CODE_SCHEDULE": "no.such"}, "CUTOVER['CODE_SCHEDULE'] = 'no.such' cannot be imported", CODE),
)
CASES = [
    pytest.param(values, said, kind, id=f"{values}-{kind.side}") for values, said, kinds in WRONG for kind in kinds
]


@pytest.mark.parametrize(("values", "said", "kind"), CASES)
def test_a_setting_with_which_it_could_never_send(
    settings: Settings, tmp_path: object, values: dict[str, object], said: str, kind: type
) -> None:
    settings.CUTOVER = values
    with pytest.raises(SystemExit) as ended:
        kind(app=app, schedule_filename=f"{tmp_path}/schedule")
    assert str(ended.value).startswith(said)
    assert "\n" not in str(ended.value)


@pytest.mark.parametrize(("values", "said", "kind"), CASES)
def test_such_a_beat_ends_the_worker_that_it_is_embedded_in(
    settings: Settings, values: dict[str, object], said: str, kind: type
) -> None:
    settings.CUTOVER = values
    worker, named = SimpleNamespace(app=app), f"cutover.schedulers:{kind.__name__}"
    with pytest.raises(SystemExit) as ended:
        start.require_embedded(worker, {"beat": True, "scheduler": named})
    assert str(ended.value).startswith(said)
    start.require_embedded(worker, {"beat": False, "scheduler": named})
    start.require_embedded(worker, {"beat": True, "scheduler": "celery.beat:PersistentScheduler"})


def test_a_redis_that_is_away_ends_no_beat(settings: Settings) -> None:
    settings.CUTOVER = {"REDIS_URL": "redis://127.0.0.1:1/0"}
    for kind in BOTH:
        kind.require_startable(app)


def test_a_code_scheduler_that_was_made_lazily_is_set_up_when_it_enters() -> None:
    scheduler = CodeScheduler(app=app, lazy=True)
    assert scheduler._source(ledger := object()).ledger is ledger  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("typed", "env", "said"),
    [
        ("beat -S cutover.schedulers:CodeScheduler", {"WRONG_CUTOVER": '{"LAESE": 1}'}, "did you mean 'LEASE'?"),
        ("worker -B -S cutover.schedulers:DatabaseScheduler", {"WRONG_CUTOVER": '{"LEASE": "x"}'}, "not 'x'"),
        ("beat -S cutover.schedulers:DatabaseScheduler", {"WITHOUT_APP": "cutover"}, "cutover is not in INSTALLED"),
        ("worker", {"WITHOUT_APP": "django_celery_beat"}, "django_celery_beat is not in INSTALLED_APPS: add it"),
    ],
    ids=str,
)
def test_the_process_says_so_in_one_line(room, typed: str, env: dict[str, str], said: str) -> None:
    settings = {"DJANGO_SETTINGS_MODULE": "tests.support.wrong_cutover", **env}
    process = room.start("started", f"celery -A prayer_room_api {typed}", **settings)
    assert process.wait(60) == 1, process.output
    assert said in process.output
    assert "Traceback" not in process.output
