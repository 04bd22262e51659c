"""The lock behind Sentinel, by django-redis' own settings: the whole cutover."""

from pathlib import Path

import pytest

from demo.processes import Processes
from tests.faults.sentinel import guarded
from tests.parts.conftest import Journey
from tests.support.site import Site

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]


def test_the_whole_cutover_behind_sentinel(
    journey: Journey, sqlite_site: Site, processes: Processes, tmp_path: Path
) -> None:
    with guarded(processes, tmp_path) as servers:
        sqlite_site.env |= {"DJANGO_SETTINGS_MODULE": "tests.support.fault_settings", **servers.settings}
        journey(sqlite_site)
