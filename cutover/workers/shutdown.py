"""How soon the processes of a worker's pool end.

Celery, told to end a worker, forgets what a process of its pool has taken and not yet reported as taken
(``AsynPool.flush``). Its count of what that process has done then stays behind for good, and the process waits half a
minute for it before it ends (``Worker._ensure_messages_consumed`` of billiard). Dokku and Heroku kill after half a
minute, and with the worker goes what it had taken off the queue and would have given back at its end. Seen in
a third of the endings under load with celery 5.7; billiard waits with celery 5.4 as well.
"""

from typing import Any, Final

from billiard import pool

LONGEST_S: Final = 3.0
"""For how long such a process waits. Its worker counts what is reported within milliseconds; and what has been reported
is read all the same after the process has ended."""
_LOOKS: Final = "GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT"


def shorten(**_: Any) -> None:
    """Have the processes that this worker will fork wait for ``LONGEST_S`` at most."""
    looks = getattr(pool, _LOOKS, None)
    if looks is not None:
        setattr(pool, _LOOKS, min(looks, round(LONGEST_S / pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_INTERVAL)))
