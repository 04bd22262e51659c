"""The host's settings with processes that cannot start, each for one reason."""

from prayer_room_api.settings import *  # noqa: F403

PRODUCTION_PROCESSES = {
    "app-of-the-specification": {"BACKEND": "cutover.backends.CeleryWorker", "APP": "prayer_room_api"},
    "app-in-celery-spelling": {"BACKEND": "cutover.backends.DatabaseBeat", "APP": "prayer_room_api.celery:app"},
    "app-missing": {"BACKEND": "cutover.backends.CodeBeat"},
    "option-unknown": {
        "BACKEND": "cutover.backends.CeleryWorker",
        "APP": "prayer_room_api.celery.app",
        "ARGS": {"concurency": 2},
    },
    "value-refused": {
        "BACKEND": "cutover.backends.CeleryWorker",
        "APP": "prayer_room_api.celery.app",
        "ARGS": {"loglevel": "chatty"},
    },
}
