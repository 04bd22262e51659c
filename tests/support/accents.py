"""A code schedule whose names no ASCII terminal can write."""

from celery.schedules import crontab

NAME = "t\N{LATIN SMALL LETTER A WITH DIAERESIS}glich \N{CHECK MARK}"
beat_schedule = {NAME: {"task": "demo.tasks.note", "schedule": crontab(hour=8, minute=0), "args": (NAME,)}}
