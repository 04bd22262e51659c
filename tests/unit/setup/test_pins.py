"""The requirements leave Django and celery where they are."""

import pytest
from packaging.requirements import Requirement

from cutover.setup.pins import requirements, version


def pinned(django: str, celery: str = "5.7.0", *, redis: bool = True, gunicorn: bool = True) -> dict[str, Requirement]:
    lines = requirements({"Django": django, "celery": celery}, redis_broker=redis, gunicorn=gunicorn)
    found = [Requirement(line.partition(" #")[0]) for line in lines if not line.startswith("#")]
    return {requirement.name: requirement for requirement in found}


@pytest.mark.parametrize(("django", "higher"), [("5.1.15", "5.2"), ("5.2.8", "6.0"), ("6.0", "6.1")])
def test_django_stays_where_it_is(django: str, higher: str) -> None:
    wanted = pinned(django)
    assert django in wanted["Django"].specifier
    assert higher not in wanted["Django"].specifier
    assert ("django-redis" in wanted) == (django < "5.2"), "7 wants Django 5.2"


def test_celery_says_which_redis_it_takes() -> None:
    assert pinned("5.2", "5.4.0")["celery"].extras == {"redis"}
    assert "5.5.0" not in pinned("5.2", "5.4.0")["celery"].specifier
    assert pinned("5.2", redis=False)["celery"].extras == set()


def test_celery_5_4_has_a_kombu_that_takes_its_redis() -> None:
    assert "5.5.0" not in pinned("5.2", "5.4.0")["kombu"].specifier
    assert "kombu" not in pinned("5.2", "5.5.0")
    assert "kombu" not in pinned("5.2", "5.4.0", redis=False)


def test_a_gunicorn_that_loses_no_request() -> None:
    assert "27.0.0" not in pinned("5.2")["gunicorn"].specifier
    assert "gunicorn" not in pinned("5.2", gunicorn=False)


def test_a_django_that_no_celery_beat_admits_is_said() -> None:
    lines = list(requirements({"Django": "6.1", "celery": "5.7.0"}, redis_broker=True, gunicorn=True))
    assert any(line.startswith("# django-celery-beat 2.9 wants Django below 6.1") for line in lines)


def test_a_version_is_its_leading_numbers() -> None:
    assert [version(text) for text in ("5.2.19", "6.1b1", "5.7.0rc1", "5.2.dev3")] == [
        (5, 2, 19),
        (6, 1),
        (5, 7, 0),
        (5, 2),
    ]
