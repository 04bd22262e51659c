"""How each platform replaces a release by the next, as its documentation says; times are shortened by a factor."""

from dataclasses import dataclass, replace
from typing import Final

FACTOR: Final = 12.0
"""A minute of a platform is five seconds here."""


@dataclass(frozen=True)
class Rules:
    """One platform. Times are its own, in seconds."""

    name: str
    proves_s: float
    """How long a new container of a type without a check has to live before it counts as up."""
    lingers_s: float
    """How long the old ones run on beside the new ones."""
    warned: bool
    """Whether the old ones get a first SIGTERM at the beginning of that time."""
    signals: int
    """How many SIGTERMs they get at its end."""
    kills_after_s: float
    beats: int = 1
    one_type_at_a_time: bool = False
    """Each type is a deployment of its own, replaced container by container: the order is the operator's."""
    guards_first: bool = False
    """Whether a release goes between A and B, whose workers have the guard and whose beat is the stock one."""

    def shortened(self, seconds: float) -> float:
        return seconds / FACTOR


DOKKU = Rules("dokku", proves_s=10, lingers_s=60, warned=True, signals=1, kills_after_s=30)
DOKKU_BEFORE_0_38 = Rules("dokku-before-0.38", proves_s=10, lingers_s=60, warned=False, signals=1, kills_after_s=30)
HEROKU = Rules("heroku", proves_s=0, lingers_s=30, warned=False, signals=2, kills_after_s=30)
KUBERNETES = Rules(
    "kubernetes",
    proves_s=10,
    lingers_s=0,
    warned=False,
    signals=1,
    kills_after_s=60,
    beats=2,
    one_type_at_a_time=True,
)
DOKKU_GUARDS_FIRST = replace(DOKKU, name="dokku-guards-first", guards_first=True)
PLATFORMS: Final = (DOKKU, DOKKU_GUARDS_FIRST, DOKKU_BEFORE_0_38, HEROKU, KUBERNETES)
