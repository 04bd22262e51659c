"""The code schedule, retired from ``prayer_room_api/celery.py``.

It stands apart from the Celery app so that a ``DatabaseScheduler`` cannot write it over the rows. The code
side's beat, the import and a rollback find it through ``CUTOVER["CODE_SCHEDULE"]`` until the cutover is
closed.
"""

from celery.schedules import crontab

beat_schedule = {
    "moderator-digest-hourly": {
        "task": "prayer_room_api.tasks.send_moderator_digest",
        "schedule": crontab(minute=0),  # Every hour at :00
    },
    "user-digest-daily": {
        "task": "prayer_room_api.tasks.send_user_digest",
        "schedule": crontab(hour=8, minute=0),  # Daily at 8am
        "args": ("daily",),
    },
    "user-digest-weekly": {
        "task": "prayer_room_api.tasks.send_user_digest",
        "schedule": crontab(hour=8, minute=0, day_of_week=1),  # Monday 8am
        "args": ("weekly",),
    },
}
