"""``python -m benchmarks.ceiling apply_async 5000``: as fast as it goes in one process, with no schedule and no lock.

``apply_async`` is celery's public call in a bare loop; ``publish`` is kombu's, of a message that is built once.
"""

import sys

import django


def apply_async(number: int) -> None:
    """Celery's public call, with one producer held as beat holds it."""
    from benchmarks.tasks import nothing
    from prayer_room_api.celery import app

    with app.producer_or_acquire() as producer:
        for each in range(number):
            nothing.apply_async((f"entry-{each:05}",), producer=producer)


def publish(number: int) -> None:
    """Kombu's publish of one built message."""
    from celery import uuid

    from benchmarks.tasks import nothing
    from prayer_room_api.celery import app

    headers, properties, body, _ = app.amqp.as_task_v2(uuid(), nothing.name, ("entry-00000",), {})
    with app.producer_or_acquire() as producer:
        for _ in range(number):
            producer.publish(body, exchange="", routing_key="celery", headers=headers, serializer="json", **properties)


if __name__ == "__main__":
    django.setup()
    {"apply_async": apply_async, "publish": publish}[sys.argv[1]](int(sys.argv[2]))
