"""A task that fails, and a receiver that takes its time to hear of it: in every process of a worker."""

import os
import time
from pathlib import Path
from typing import Any

from celery import shared_task
from django.dispatch import receiver

from cutover.signals import run_failed

HEARD_FILE = "HEARD_FILE"
"""The environment variable that names the file in which the receiver writes."""


@shared_task
def fails() -> None:
    raise LookupError("no such thing")


@receiver(run_failed)
def hear(entry: str, error: str, **_: Any) -> None:
    time.sleep(1.5)
    with Path(os.environ[HEARD_FILE]).open("a") as file:
        file.write(f"{entry} {error}\n")
