"""The fence's and the cutover's rows: there after every ``migrate`` and ``flush``, and no epoch is admitted twice."""

import pytest
from django.apps.registry import Apps
from django.core.management import call_command

from cutover import models
from cutover.errors import LedgerNotMigrated
from cutover.ledger.single_rows import make_missing
from cutover.types import Claim, Side
from tests.support.ledger import slot

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("nothing_left")]


class ShutRouter:
    """Lets no table of ours in."""

    def allow_migrate(self, db, app_label, **hints):
        return False if app_label == "cutover" else None


def flush(alias: str) -> None:
    call_command("flush", database=alias, interactive=False, verbosity=0)


def test_a_flush_leaves_a_ledger_as_migrations_make_it(ledger, lead, alias):
    lead()
    ledger.fence.switch(Side.DATABASE)
    models.Cutover.objects.using(alias).update(phase=3)
    flush(alias)
    fence = ledger.fence.read()
    assert (fence.epoch, fence.side, fence.switched_at) == (0, Side.CODE, None)
    assert models.Cutover.objects.using(alias).get().phase == 0


def test_a_leader_from_before_a_flush_claims_nothing_under_an_epoch_that_was_given_again(ledger, lead, alias):
    old = lead()
    flush(alias)
    assert ledger.claims.claim(old, [slot("a")]) == {slot("a"): Claim.FENCED}
    new = lead()
    assert new.epoch == old.epoch
    assert ledger.claims.claim(old, [slot("a")]) == {slot("a"): Claim.FENCED}
    assert ledger.claims.claim(new, [slot("a")]) == {slot("a"): Claim.CLAIMED}


def test_a_standby_sees_what_is_claimed_after_a_flush(ledger, lead, alias):
    key = 100_000  # what it had followed until then
    flush(alias)
    _, key = ledger.cursors.follow(key)
    ledger.claims.claim(lead(), [slot("a")])
    last, _ = ledger.cursors.follow(key)
    assert last == {"a": slot("a").due_at}


@pytest.mark.parametrize("lost", [models.Fence, models.Cutover])
def test_migrate_is_the_remedy_that_messages_say_it_is(ledger, alias, lost):
    lost.objects.using(alias).all().delete()
    if lost is models.Fence:
        with pytest.raises(LedgerNotMigrated, match=r"run `python manage\.py migrate"):
            ledger.fence.read()
    call_command("migrate", database=alias, verbosity=0)
    assert lost.objects.using(alias).count() == 1


def test_a_fence_that_was_lost_alone_goes_on_from_the_newest_term(ledger, lead, alias):
    lead()
    ledger.fence.switch(Side.DATABASE)
    term = lead(Side.DATABASE)
    models.Fence.objects.using(alias).all().delete()
    make_missing(using=alias)
    fence = ledger.fence.read()
    assert (fence.epoch, fence.side) == (term.epoch, Side.DATABASE)
    assert lead(Side.DATABASE).epoch == term.epoch + 1


def test_what_is_there_stays(ledger, lead, alias):
    lead()
    ledger.fence.switch(Side.DATABASE)
    before = ledger.fence.read()
    make_missing(using=alias)
    assert ledger.fence.read() == before


def test_none_are_made_where_the_routers_keep_our_tables_out(settings, ledger, alias):
    models.Fence.objects.using(alias).all().delete()
    settings.DATABASE_ROUTERS = [ShutRouter()]
    make_missing(using=alias)
    assert not models.Fence.objects.using(alias).exists()


def test_none_are_made_once_the_app_is_migrated_to_zero(alias):
    make_missing(using=alias, apps=Apps())
