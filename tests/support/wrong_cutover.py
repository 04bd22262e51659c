"""The host's settings with what the environment says of ``CUTOVER``, and without one app, of which its admin knows."""

import json
import os

from prayer_room_api.settings import *  # noqa: F403
from prayer_room_api.settings import INSTALLED_APPS

CUTOVER = json.loads(os.environ.get("WRONG_CUTOVER", "{}"))
OTHERS = {"django.contrib.admin": "django.contrib.admin.apps.SimpleAdminConfig"}  # imports no app's admin
INSTALLED_APPS = [OTHERS.get(name, name) for name in INSTALLED_APPS if name != os.environ.get("WITHOUT_APP")]
