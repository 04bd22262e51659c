"""The log: one JSON object a line, and nothing in it that is nobody's business."""

import json

import pytest


@pytest.fixture
def logged(manage):
    """What a piece of code writes to the log of a production process."""

    def run(code: str) -> list[dict]:
        answer = manage("shell", "-v", "0", "-c", code, SECRET_KEY="x")
        assert answer.returncode == 0, answer.stderr
        return [json.loads(line) for line in answer.stderr.splitlines()]

    return run


def test_both_kinds_of_logger_end_in_the_same_log(logged):
    event, record = logged("""
import logging, structlog
structlog.get_logger("cutover").info("lease.acquired", epoch=3)
logging.getLogger("django.request").warning("Not Found: %s", "/x", extra={"status_code": 404})
""")

    assert (event["event"], event["epoch"], event["logger"]) == ("lease.acquired", 3, "cutover")
    assert (record["event"], record["level"], record["status_code"]) == ("Not Found: /x", "warning", 404)


def test_neither_arguments_nor_locals_are_logged(logged):
    (record,) = logged("""
import logging
def fail(password):
    raise RuntimeError("no")
try:
    fail("hunter2")
except RuntimeError:
    logging.getLogger("celery.app.trace").exception("failed", extra={"data": {"args": "('hunter2',)"}})
""")

    assert record["exception"][0]["exc_type"] == "RuntimeError"
    assert "hunter2" not in json.dumps(record)
