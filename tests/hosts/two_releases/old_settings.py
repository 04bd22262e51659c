"""Settings of the old release, which has never heard of ``cutover``."""

from tests.hosts.base import *  # noqa: F403
