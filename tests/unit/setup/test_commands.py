"""Lines of Procfiles, as they stand in projects, and what prodserver is to be told of each."""

import pytest

from cutover.setup import commands
from cutover.setup.commands import Kind, process, with_scheduler


@pytest.mark.parametrize(
    ("command", "kind", "args"),
    [
        ("celery -A shop worker -l INFO", Kind.WORKER, {"loglevel": "INFO"}),
        (
            "celery -A shop.celery:app worker --loglevel=info -c 4 -Q mail,default",
            Kind.WORKER,
            {"loglevel": "info", "concurrency": "4", "queues": "mail,default"},
        ),
        ("python -m celery -A shop worker -E -n w@%h", Kind.WORKER, {"task-events": True, "hostname": "w@%h"}),
        ("exec poetry run celery -A shop worker -c $WORKERS", Kind.WORKER, {"concurrency": "$WORKERS"}),
        ("celery -A shop worker -B", Kind.WORKER, {"beat": True, "scheduler": commands.DATABASE_SCHEDULER}),
        ("celery -A shop beat -s /storage/beat -S a.b:C", Kind.BEAT, {"schedule": "/storage/beat"}),
        ("/app/bin/gunicorn shop.wsgi -w 3 --preload", Kind.WEB, {"workers": 3, "preload": True}),
        ("gunicorn shop.wsgi:application --bind 0.0.0.0:$PORT --log-file -", Kind.WEB, {"error-logfile": "-"}),
        ("gunicorn shop.wsgi -b 127.0.0.1:9000", Kind.WEB, {"bind": "127.0.0.1:9000"}),
        ("python manage.py migrate --noinput", Kind.OTHER, {}),
        ("daphne shop.asgi:application", Kind.OTHER, {}),
        ("celery -A shop flower", Kind.OTHER, {}),
        ("celery -A worker beat -l INFO", Kind.BEAT, {"loglevel": "INFO"}),
        ("celery --app worker worker -c 2", Kind.WORKER, {"concurrency": "2"}),
    ],
)
def test_a_line_is_read(command: str, kind: Kind, args: dict[str, object]) -> None:
    found = process("name", command)
    assert (found.kind, dict(found.args), found.strange) == (kind, args, "")


@pytest.mark.parametrize(
    ("command", "folder", "args"),
    [
        ("celery --workdir backend -A shop beat -s ../var/beat", "backend", {"schedule": "var/beat"}),
        ("celery -A shop --workdir=backend worker -S state", "backend", {"statedb": "backend/state"}),
        ("cd backend && celery -A shop beat -s beat", "backend", {"schedule": "backend/beat"}),
        ("cd 'back'; celery -A shop beat -s beat", "back", {"schedule": "back/beat"}),
        ("cd src && celery --workdir app -A shop beat --pidfile=", "src/app", {"pidfile": ""}),
        (
            "cd backend && celery -A shop beat -s /storage/beat -f -",
            "backend",
            {"schedule": "/storage/beat", "logfile": "-"},
        ),
        ("celery -A shop --workdir /srv/shop beat -s $DATA/beat", "/srv/shop", {"schedule": "$DATA/beat"}),
    ],
)
def test_files_are_named_from_where_the_line_is_typed(command: str, folder: str, args: dict[str, object]) -> None:
    """prodserver runs there: another schedule file would have every entry begin anew."""
    found = process("name", command)
    assert (found.folder, dict(found.args)) == (folder, args)


@pytest.mark.parametrize(
    ("command", "python"),
    [
        ("celery -A shop worker", "python"),
        ("REMAP_SIGTERM=SIGQUIT celery -A shop beat", "REMAP_SIGTERM=SIGQUIT python"),
        ("exec poetry run celery -A shop worker -B", "exec poetry run python"),
        (
            "bin/start-pgbouncer newrelic-admin run-program gunicorn a.b",
            "bin/start-pgbouncer newrelic-admin run-program python",
        ),
        ("python3 -X dev -m celery -A celery beat", "python3 -X dev"),
        ("/app/.venv/bin/celery -A shop worker", "/app/.venv/bin/python"),
        ('LABEL="a celery" "$HOME"/run celery -A shop worker', 'LABEL="a celery" "$HOME"/run python'),
        ("python manage.py migrate && gunicorn shop.wsgi", "python manage.py migrate && python"),
        ("cd back && exec celery -A shop beat", "exec python"),
        (
            "cd back && ./wait; python manage.py migrate && celery -A shop beat",
            "(cd back && ./wait; python manage.py migrate) && python",
        ),
    ],
)
def test_what_stands_before_a_program_stays_before_prodserver(command: str, python: str) -> None:
    """Else a deploy would lose its migrations, its variables, or what watches it."""
    assert process("name", command).python == python


@pytest.mark.parametrize(
    ("command", "python"),
    [
        ("celery -A shop worker", ["python"]),
        ("REMAP_SIGTERM=SIGQUIT celery -A shop beat", ["python"]),
        ("exec poetry run celery -A shop worker -B", ["poetry", "run", "python"]),
        ("A=1 uv run --no-sync celery -A shop worker", ["uv", "run", "--no-sync", "python"]),
        ("poetry run python manage.py migrate && celery -A shop beat", ["python"]),
        ("poetry run ./migrate; exec pipenv run celery -A shop beat", ["pipenv", "run", "python"]),
        ("bin/start-pgbouncer newrelic-admin run-program celery -A shop worker", ["python"]),
        ("python3 -X dev -m celery -A celery beat", ["python3"]),
        ("/app/.venv/bin/celery -A shop worker", ["/app/.venv/bin/python"]),
        ('"$HOME"/.venv/bin/celery -A shop worker', ["python"]),
        ("./anything", ["python"]),
    ],
)
def test_a_python_of_its_environment_is_started_without_a_shell(command: str, python: list[str]) -> None:
    assert process("name", command).interpreter == python


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("celery -A shop worker --concurency 4", "--concurency"),
        ("gunicorn shop.wsgi --no-such-option -w 2", "cannot be read: unrecognized arguments: --no-such-option"),
        ("gunicorn shop.wsgi -w $N", "cannot be read: argument -w/--workers: invalid int value: '$N'"),
        ("gunicorn 'shop.wsgi", "No closing quotation"),
    ],
)
def test_a_line_that_cannot_be_read_says_why(command: str, said: str) -> None:
    assert said in process("name", command).strange


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        ("celery -A shop beat", "celery -A shop beat"),
        ("celery -A shop beat -S a.b:C -l INFO", "celery -A shop beat -l INFO"),
        ("celery -A shop beat --scheduler=a.b:C", "celery -A shop beat"),
        ("celery -A shop beat --scheduler 'a.b:C'", "celery -A shop beat"),
    ],
)
def test_the_old_beat_keeps_its_command_but_for_the_scheduler(command: str, wanted: str) -> None:
    code = "cutover.schedulers:CodeScheduler"
    assert with_scheduler(process("beat", command), code) == f"{wanted} --scheduler {code}"
    stock = "a.b:C" if "a.b:C" in command else "celery.beat:PersistentScheduler"
    assert with_scheduler(process("beat", command)) == f"{wanted} --scheduler {stock}"


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        ("celery -A shop beat 2>&1 | tee log", "celery -A shop beat --scheduler {} 2>&1 | tee log"),
        (
            "cd celery && celery -A shop beat -s 'a;b' >>log",
            "cd celery && celery -A shop beat -s 'a;b' --scheduler {} >>log",
        ),
        ("celery -A shop worker -B -S state", "celery -A shop worker -B -S state --scheduler {}"),
    ],
)
def test_the_scheduler_is_an_option_of_celery_and_of_nothing_else_in_the_line(command: str, wanted: str) -> None:
    assert with_scheduler(process("beat", command), "a.b:C") == wanted.format("a.b:C")


@pytest.mark.parametrize(
    ("command", "unseen"),
    [
        ("celery -A shop worker -l INFO & celery -A shop beat", [Kind.BEAT]),
        ("sh -c 'celery -A shop worker -B'", [Kind.WORKER, Kind.BEAT]),
        ("celery -A shop worker -B 2>&1 | tee log", [Kind.BEAT]),
        ("celery -A shop worker -B", []),
        ("celery -A shop worker -Q beat,mail -n worker@%h", []),
        ("while true; do celery -A shop beat; done", [Kind.BEAT]),
        ("(celery -A shop worker&)", [Kind.WORKER]),
        ("celery -A beat.worker beat", []),
        ("celery -A worker beat", []),
        ("celery -A shop flower", []),
    ],
)
def test_what_a_line_starts_besides_is_not_taken_for_nothing(command: str, unseen: list[Kind]) -> None:
    """Of a beat that nobody sees a second one would be added beside it."""
    assert commands.unseen(process("name", command)) == unseen


def test_a_procfile_is_read_in_its_order() -> None:
    found = commands.read("# old\nweb: gunicorn shop.wsgi\n\nclock:  celery -A shop beat\nrelease: true\n")
    assert [(one.name, one.kind) for one in found] == [
        ("web", Kind.WEB),
        ("clock", Kind.BEAT),
        ("release", Kind.OTHER),
    ]
