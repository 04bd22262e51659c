"""A beat that begins tells of slots once it leads, if the settings say where. By celery's signal."""

from contextlib import suppress
from typing import Any

from celery import signals

from cutover import conf
from cutover.errors import ConfigurationError


def connect() -> None:
    """Have celery say when a beat begins."""
    signals.beat_init.connect(begin_beat, weak=False, dispatch_uid="cutover.check_ins")


def begin_beat(sender: Any, **_: Any) -> None:
    """Give the beat one more chore, unless it is an unmanaged one, or there is nobody to tell."""
    with suppress(ConfigurationError):  # whoever needs the settings says what is wrong with them
        config = conf.load()
        if not config.has_check_ins:
            return
        from cutover.beats.scheduler import Leased
        from cutover.observe.check_ins.chore import Telling

        if isinstance(sender.scheduler, Leased):
            sender.scheduler.more_chores = (lambda ledger: Telling(ledger, config),)
