"""The settings, read as a deploy reads them: by a process of its own, with an environment of its own."""

import json

import pytest

KEY = "a-key-of-a-length-that-is-fit-for-production-0123456789-abcdefghij"


@pytest.fixture
def setting(manage):
    """Evaluate an expression on the settings ``s`` that an environment leads to."""

    def evaluate(expression: str, **environment: str):
        code = f"import json; from django.conf import settings as s; print(json.dumps({expression}))"
        answer = manage("shell", "-v", "0", "-c", code, SECRET_KEY=KEY, **environment)
        assert answer.returncode == 0, answer.stderr
        return json.loads(answer.stdout)

    return evaluate


@pytest.mark.parametrize("command", ["check", "migrate"])
def test_a_missing_key_is_said_in_one_line(manage, command):
    answer = manage(command)

    assert answer.returncode == 1
    assert answer.stderr.splitlines() == [
        "Set the environment variable SECRET_KEY to a long random string, or DEBUG=1 for development."
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "a-secret"),
        ("DATABASE_URL", "postgres://u:a-secret@host:port/name"),
        ("EMAIL_URL", "a-secret"),
        ("CONN_MAX_AGE", "long"),
        ("PORT", "http"),
        ("PORT", "65536"),
        ("WORKER_CONCURRENCY", "many"),
        ("TIME_ZONE", "Mars/Olympus"),
        ("LOG_LEVEL", "chatty"),
    ],
)
def test_a_wrong_value_is_said_in_one_line_that_does_not_repeat_it(manage, name, value):
    answer = manage("check", SECRET_KEY=KEY, **{name: value})

    assert answer.returncode == 1
    [line] = answer.stderr.splitlines()
    assert line.startswith(f"The environment variable {name} must be ")
    assert value not in line
    assert "a-secret" not in line


def test_debugging_needs_no_key(manage):
    assert manage("check", DEBUG="1").returncode == 0


def test_the_deploy_checks_are_clean(manage):
    answer = manage("check", "--deploy", "--fail-level", "WARNING", SECRET_KEY=KEY)

    assert answer.returncode == 0, answer.stderr


def test_the_environment_reaches_celery_and_cutover(setting):
    names = "[s.CELERY_BROKER_URL, s.CELERY_IMPORTS, s.CUTOVER['CODE_SCHEDULE'], s.CELERY_TIMEZONE]"

    values = setting(
        names,
        CELERY_BROKER_URL="amqp://broker//",
        CELERY_IMPORTS="json,csv",
        CODE_SCHEDULE="elsewhere.schedule",
        TIME_ZONE="Europe/London",
    )

    assert values == ["amqp://broker//", ["json", "csv"], "elsewhere.schedule", "Europe/London"]


@pytest.mark.parametrize(("url", "option"), [("redis://h/0", "socket_timeout"), ("amqp://h//", "confirm_publish")])
def test_each_broker_gets_its_own_options(setting, url, option):
    assert option in setting("s.CELERY_BROKER_TRANSPORT_OPTIONS", CELERY_BROKER_URL=url)


def test_a_plain_http_site_can_be_had(setting):
    names = "[s.SECURE_SSL_REDIRECT, s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE, s.SECURE_HSTS_SECONDS]"

    assert setting(names, SECURE_SSL_REDIRECT="0") == [False, False, False, 0]


@pytest.mark.parametrize("url", ["filemail:///var/mail", "filemail:////var/mail"])
def test_a_file_mailbox_is_an_absolute_path(setting, url):
    assert setting("s.EMAIL_FILE_PATH", EMAIL_URL=url) == "/var/mail"
