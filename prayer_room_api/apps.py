"""Django's view of the app."""

from django.apps import AppConfig


class PrayerRoomConfig(AppConfig):
    name = "prayer_room_api"
    verbose_name = "Prayer room"
