"""``python -m benchmarks.counted cutover phase2``: as ``manage.py``, then the time and SQL statements on stderr."""

import json
import os
import sys
import time
from typing import Any

import django
from django.core.management import execute_from_command_line
from django.db import connection


class Count:
    """Counts statements; one that is prepared once and executed for many rows is one."""

    def __init__(self) -> None:
        self.statements = 0

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, wrapped: Any) -> Any:
        self.statements += 1
        return execute(sql, params, many, wrapped)


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "prayer_room_api.settings")
    django.setup()
    count = Count()
    began = time.monotonic()
    try:
        with connection.execute_wrapper(count):
            execute_from_command_line(["manage.py", *sys.argv[1:]])
    finally:
        figures = {"seconds": round(time.monotonic() - began, 2), "statements": count.statements}
        print(json.dumps(figures), file=sys.stderr)


if __name__ == "__main__":
    main()
