"""prodserver's ARGS as a celery command line; each mistake is one line."""

import os
import sys
from typing import Any

import pytest
from celery.bin.worker import worker as worker_command
from django.core.management.base import CommandError
from django_prodserver.backends import base

from cutover.backends import CeleryWorker, CodeBeat, DatabaseBeat
from cutover.schedulers import DatabaseScheduler

APP = "prayer_room_api.celery.app"


def line(backend: type = CeleryWorker, **args: Any) -> list[str]:
    return backend(APP=APP, ARGS=args).prep_server_args()


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ({}, []),
        ({"loglevel": "info"}, ["--loglevel=info"]),
        ({"concurrency": 2}, ["--concurrency=2"]),
        ({"without-gossip": True}, ["--without-gossip"]),
        ({"without-gossip": None}, ["--without-gossip"]),
        ({"without-gossip": False}, []),
        ({"queues": "a,b"}, ["--queues=a,b"]),
        ({"exclude-queues": ("a", "b")}, ["--exclude-queues=a", "--exclude-queues=b"]),
        ({"hostname": "w@%h", "time-limit": 1.5}, ["--hostname=w@%h", "--time-limit=1.5"]),
    ],
    ids=str,
)
def test_options_become_the_workers_command_line(args, expected):
    assert line(**args) == expected


@pytest.mark.parametrize("backend", [CeleryWorker, CodeBeat, DatabaseBeat])
def test_the_command_line_is_understood_by_the_command_itself(backend):
    backend.command.make_context("celery", line(backend, loglevel="info"), obj=None, resilient_parsing=True)


@pytest.mark.parametrize(
    ("backend", "scheduler"),
    [(CodeBeat, "cutover.schedulers:CodeScheduler"), (DatabaseBeat, "cutover.schedulers:DatabaseScheduler")],
)
def test_a_beat_runs_under_the_lease_whatever_the_settings_say(backend, scheduler):
    assert line(backend) == [f"--scheduler={scheduler}"]
    assert line(backend, scheduler=scheduler, loglevel="info") == [f"--scheduler={scheduler}", "--loglevel=info"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"concurency": 2}, "celery worker has no option --concurency; did you mean 'concurrency'?"),
        ({"log_level": "info"}, "no option --log_level; did you mean 'loglevel'?"),
        ({"--loglevel": "info"}, "no option ----loglevel; did you mean 'loglevel'?"),
        ({"xyz": 2}, "celery worker has no option --xyz."),
        ({5: 2}, "celery worker has no option --5."),
        ({"loglevel": None}, "['ARGS'] has 'loglevel': None, but --loglevel takes a value."),
        ({"concurrency": True}, "--concurrency takes a value"),
        ({"without-gossip": "yes"}, "--without-gossip takes no value: use True or False"),
        ({"without-gossip": 1}, "--without-gossip takes no value: use True or False"),
    ],
    ids=str,
)
def test_a_wrong_option_is_said_in_one_line(args, said):
    refused(said, APP=APP, ARGS=args)


class OwnRows(DatabaseScheduler):
    """A scheduler of a project's own, under the lease."""


def test_a_scheduler_that_derives_from_ours_is_run():
    named = f"{__name__}:OwnRows"
    assert line(DatabaseBeat, scheduler=named) == [f"--scheduler={named}"]
    for backend, other in ((CodeBeat, named), (DatabaseBeat, "django"), (DatabaseBeat, "no.such:Scheduler")):
        with pytest.raises(CommandError, match=r"runs under the lease with 'cutover.*derives from it, or leave"):
            line(backend, scheduler=other)


def test_another_scheduler_is_refused():
    with pytest.raises(CommandError, match="CodeBeat runs under the lease"):
        line(CodeBeat, scheduler="celery.beat:PersistentScheduler")


@pytest.mark.parametrize(
    ("process", "said"),
    [
        ({}, "it is missing"),
        ({"APP": ""}, "it is missing"),
        ({"APP": None}, "it is missing"),
        ({"APP": "prayer_room_api"}, "'prayer_room_api' cannot be imported"),
        ({"APP": "prayer_room_api.celery:app"}, "cannot be imported"),
        ({"APP": "no.such.app"}, "cannot be imported"),
        ({"APP": "prayer_room_api.celery.os"}, "is a module"),
        ({"APP": 5}, "must be the dotted path"),
        ({"APP": APP, "ARGS": ["--loglevel=info"]}, "['ARGS'] must be a dictionary of celery options"),
        ({"APP": APP, "ARGS": None}, "['ARGS'] must be a dictionary of celery options"),
    ],
    ids=str,
)
def test_a_wrong_process_is_said_in_one_line(process, said):
    refused(said, **process)


def test_a_wrong_setting_of_cutover_is_said_in_one_line(settings):
    settings.CUTOVER = {"LAESE": 1}
    refused("did you mean 'LEASE'?", APP=APP)


def test_the_process_is_said_by_its_name(settings):
    processes = {
        "beat": {"BACKEND": "b", "APP": APP},
        "mail worker": {"BACKEND": "w", "APP": APP, "ARGS": {"quues": "m"}},
    }
    settings.PRODUCTION_PROCESSES = processes
    refused("PRODUCTION_PROCESSES['mail worker']['ARGS'] has 'quues'", **processes["mail worker"])
    refused("PRODUCTION_PROCESSES[...]['APP'] must be", APP="")


def test_a_database_that_the_settings_do_not_have_is_said_before_the_process_starts(settings):
    settings.CUTOVER = {"DATABASE": "nowhere"}
    with pytest.raises(CommandError, match=r"^DATABASES\['nowhere'\], which CUTOVER\['DATABASE'\] names, cannot"):
        CodeBeat(APP=APP).start_server()


def refused(said: str, **process: Any) -> None:
    with pytest.raises(CommandError) as raised:
        CeleryWorker(**process)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("arguments", [["--loglevel=chatty"], ["--no-such-option"], ["--concurrency=many"]])
def test_what_celery_refuses_is_said_in_one_line_with_its_exit_code(arguments):
    with pytest.raises(CommandError, match=r"^celery worker: ") as raised:
        CeleryWorker(APP=APP).start_server(*arguments)
    assert raised.value.returncode == 2
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("pool", ["gevent", "eventlet"])
def test_with_a_pool_of_greenlets_celerys_own_command_takes_the_process_over(monkeypatch, pool):
    """Python's library is replaced before anything else is imported there; later no task would ever run."""
    begun: list[tuple[list[str], str]] = []
    monkeypatch.setattr(sys, "path", ["/of/manage.py", *sys.path])
    monkeypatch.setenv("PYTHONPATH", "/their/own")
    monkeypatch.setattr(CeleryWorker.command, "main", pytest.fail)

    def execve(program: str, command: list[str], env: dict[str, str]) -> None:
        begun.append((command, env["PYTHONPATH"]))
        raise SystemExit

    monkeypatch.setattr(os, "execve", execve)
    worker = CeleryWorker(APP=APP, ARGS={"pool": pool, "concurrency": 50})
    with pytest.raises(SystemExit):
        worker.start_server(*worker.prep_server_args())
    command = [sys.executable, "-m", "celery", "--app", "prayer_room_api.celery:app", "worker"]
    path = os.pathsep.join(["/of/manage.py", "/their/own"])
    assert begun == [([*command, f"--pool={pool}", "--concurrency=50"], path)]


def test_every_backend_is_of_each_kind_that_the_installed_prodserver_runs():
    kinds = [base.BaseServerBackend, getattr(base, "BaseWorkerBackend", base.BaseServerBackend)]
    assert all(issubclass(backend, kind) for backend in (CeleryWorker, CodeBeat, DatabaseBeat) for kind in kinds)


def test_every_long_option_of_the_worker_can_be_given():
    for parameter in worker_command.params:
        for option in parameter.opts:
            if option.startswith("--") and parameter.name != "help":
                value = True if getattr(parameter, "is_flag", False) else "1"
                assert line(**{option[2:]: value})
