#!/usr/bin/env python
"""Django's command line for the prayer room."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "prayer_room_api.settings")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        # What is missing from the environment is said in one line, not under a traceback.
        sys.exit(f"{error}")
