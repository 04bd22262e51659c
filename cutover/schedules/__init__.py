"""What is due when: schedules as timetables, and the code's entries as django-celery-beat's rows."""
