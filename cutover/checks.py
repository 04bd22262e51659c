"""System checks: settings that are missing or contradict each other, told before anything starts."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, register

from cutover import conf
from cutover.errors import ConfigurationError


@register("cutover")
def check_settings(**_: Any) -> list[CheckMessage]:
    """E001: ``settings.CUTOVER`` can not be read."""
    try:
        conf.load()
    except ConfigurationError as exc:
        return [Error(str(exc), hint="See docs/settings.md.", id="cutover.E001")]
    return []
