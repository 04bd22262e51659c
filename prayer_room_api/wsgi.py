"""The WSGI entry point that gunicorn serves, bare or under prodserver."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "prayer_room_api.settings")

application = get_wsgi_application()
