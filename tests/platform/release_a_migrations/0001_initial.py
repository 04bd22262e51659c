"""The only migration that release A knows."""

from importlib import import_module

Migration = import_module("prayer_room_api.migrations.0001_initial").Migration
