"""What a leader says of itself: what it sends, and that it lives; on real SQLite and real PostgreSQL."""

import pytest

from cutover import models
from cutover.types import EntryName, Fingerprints, Side

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("nothing_left")]

SAID = {EntryName("daily"): Fingerprints("crontab 0 8 * * * UTC", "0f")}


def test_the_latest_leader_of_a_side_says_what_it_sends(ledger, lead, identity, alias):
    assert ledger.declarations.read(Side.CODE) is None
    who = identity()
    assert ledger.declarations.declare(lead(), identity(), {EntryName("gone"): Fingerprints("every 1s", "")})
    assert ledger.declarations.declare(lead(), who, SAID)
    found = ledger.declarations.read(Side.CODE)
    assert (found.holder, found.release, found.entries) == (who.holder, who.release, SAID)
    assert ledger.declarations.read(Side.DATABASE) is None


def test_a_leader_that_was_replaced_says_nothing_more(ledger, lead, identity):
    replaced, term = lead(), lead()
    assert ledger.declarations.declare(term, identity(), SAID)
    assert ledger.declarations.declare(replaced, identity(), {}) is False
    assert ledger.declarations.read(Side.CODE).entries == SAID


def test_a_term_that_has_ended_gives_no_more_signs_of_life(ledger, lead, alias):
    term, terms = lead(), models.Term.objects.using(alias)
    assert terms.get().seen_at is None
    ledger.fence.record_seen(term)
    seen = terms.get().seen_at
    assert seen is not None
    lead()
    ledger.fence.record_seen(term)
    assert terms.get(epoch=term.epoch).seen_at == seen
