"""The host's settings with metrics: ports by environment, and the web process's page."""

from prayer_room_api.settings import *  # noqa: F403
from prayer_room_api.settings import CUTOVER, env

PORTS = {place: env.int(f"{place.upper()}_METRICS_PORT", 0) for place in ("beat", "worker")}
CUTOVER |= {
    "METRICS_PORT": {place: port for place, port in PORTS.items() if port},
    "METRICS_ADDRESS": "127.0.0.1",
    "LEASE": 3,
}
ROOT_URLCONF = "tests.support.metrics_urls"
