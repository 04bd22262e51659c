"""Real-world shapes of ``beat_schedule``: every form of entry, and what must become of it.

``docs/schedules.md`` has a row for each entry of ``FORMS``, under the same name; ``test_forms.py`` reads both.
"""
