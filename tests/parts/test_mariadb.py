"""MariaDB holds the ledger and the rows."""

import pytest

from tests.parts.journey import travel
from tests.support.site import Site

pytestmark = [pytest.mark.long, pytest.mark.acceptance, pytest.mark.timeout(240)]


def test_the_whole_cutover_and_the_way_back_on_mariadb(mariadb_site: Site) -> None:
    travel(mariadb_site)
