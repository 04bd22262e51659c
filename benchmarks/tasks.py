"""The task that is sent and run: it leaves all the time to what surrounds it."""

from celery import shared_task


@shared_task(ignore_result=True)
def nothing(label: str = "") -> None:
    """Do nothing."""
