"""The host's settings, for a site on MariaDB."""

import tests.support.mysql_driver  # noqa: F401
from prayer_room_api.settings import *  # noqa: F403
