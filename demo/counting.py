"""The prayer room's settings, where every slot of one entry counts, however many a gap has."""

from prayer_room_api.settings import *  # noqa: F403
from prayer_room_api.settings import CUTOVER

from .schedule import COUNTED

CUTOVER["ENTRIES"] = {COUNTED: {"CATCH_UP": "all", "CATCH_UP_MOST": 3_000}}
