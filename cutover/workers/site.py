"""The site as a worker process knows it: its settings and its ledger, read once."""

from functools import cache

from cutover import conf
from cutover.ledger import Ledger


@cache
def config() -> conf.Config:
    """The settings, read once a process."""
    return conf.load()


@cache
def ledger() -> Ledger:
    """The ledger, as the settings name it."""
    return Ledger(config().database, config().namespace, config().retention)
