"""How the web process takes its SIGTERM; with gunicorn itself in tests/platform/test_web.py."""

import json

import pytest

KEY = "a-key-of-a-length-that-is-fit-for-production-0123456789-abcdefghij"
SCRIPT = """
import json, os, signal, time
from prayer_room_api import webstart
heard = []
signal.signal(signal.SIGTERM, lambda number, frame: heard.append(time.monotonic()))
webstart.when_ready(None)
worker = os.fork()
if not worker:  # in the instant before it has handlers of its own
    time.sleep(10)
    os._exit(1)
os.kill(worker, signal.SIGTERM)
status = os.waitpid(worker, 0)[1]
by_the_worker = len(heard)
began = time.monotonic()
for again in range(2):
    os.kill(os.getpid(), signal.SIGTERM)
while not heard:
    time.sleep(0.01)
print(json.dumps([status == 0, by_the_worker, heard[0] - began]))
"""


@pytest.mark.parametrize("drain_s", [0, 1])
def test_a_new_worker_ends_at_once_and_the_master_after_its_time(manage, drain_s):
    answer = manage("shell", "-v", "0", "-c", SCRIPT, SECRET_KEY=KEY, WEB_DRAIN_S=str(drain_s))

    assert answer.returncode == 0, answer.stderr
    ended, heard_by_the_worker, after_s = json.loads(answer.stdout)
    assert (ended, heard_by_the_worker) == (True, 0)
    assert drain_s <= after_s < drain_s + 5
