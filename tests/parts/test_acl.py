"""The Redis user of docs/redis-acl.md may do all that cutover does, and nothing that it does not."""

import re
from pathlib import Path

import pytest
import redis

from demo.processes import ROOT
from demo.services import HOST, Valkey
from tests.parts.conftest import Journey
from tests.support.site import Site

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

DOCUMENT = ROOT / "docs" / "redis-acl.md"
WITHOUT_LEAVE = {"auth", "hello"}
"""What every user may do."""
BY_THE_TEST = {"acl|log", "acl|setuser", "acl|getuser", "config|set", "config|resetstat", "info", "ping", "flushall"}


def documented() -> list[str]:
    """The words of the document's one ``ACL SETUSER``."""
    [line] = re.findall(r"^ACL SETUSER (.*)$", DOCUMENT.read_text(), re.MULTILINE)
    return line.split()


def allowed() -> set[str]:
    return {word[1:] for word in documented() if word.startswith("+")}


def restrict(server: Valkey, without: str = "") -> str:
    """Make the user, who lacks one command; the URL by which it connects."""
    name, *rules = documented()
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", name, *(rule for rule in rules if rule != f"+{without}"))
    [password] = [rule[1:] for rule in rules if rule.startswith(">")]
    return f"redis://{name}:{password}@{HOST}:{server.port}/0"


@pytest.fixture
def restricted_site(sqlite_site: Site, own_valkey: Valkey, valkey: Valkey) -> Site:
    """A site whose lock is on a server of its own, by the documented user; its broker is elsewhere."""
    sqlite_site.env |= {"REDIS_URL": restrict(own_valkey), "CELERY_BROKER_URL": valkey.url}
    return sqlite_site


def test_the_documented_user_is_enough_and_has_no_more_than_it_needs(
    journey: Journey, restricted_site: Site, own_valkey: Valkey
) -> None:
    with own_valkey.client(decode_responses=True) as client:
        client.execute_command("CONFIG", "RESETSTAT")
        journey(restricted_site)
        refused = [entry for entry in client.acl_log() if entry["username"] == "cutover"]
        used = {name.removeprefix("cmdstat_") for name in client.info("commandstats")}
    assert refused == []
    assert used - WITHOUT_LEAVE - (BY_THE_TEST - {"info"}) == allowed()


@pytest.mark.parametrize("lacking", ["evalsha", "client|id", "info"])
def test_a_user_that_lacks_a_command_is_told_of_in_one_line(
    restricted_site: Site, own_valkey: Valkey, lacking: str
) -> None:
    restricted_site.env["REDIS_URL"] = restrict(own_valkey, lacking)
    beat = restricted_site.prodserver("legacy-beat") if lacking not in {"set", "info"} else None
    command = restricted_site.cutover("phase1")
    assert command.exit_code == 3
    assert "Traceback" not in command.output
    if beat is None:
        assert re.search(rf"redis: .*(permission|NOPERM).*{lacking}", command.output, re.IGNORECASE), command.output
    else:
        assert re.search(r"code beat: (no beat|Redis refuses: |\S+ runs, but none leads)", command.output)
        assert "redis.lost" in beat.output
        assert lacking.partition("|")[0] in beat.output.lower()
        assert beat.stop() == 0, beat.output


def test_wrong_password_is_one_line_without_it(restricted_site: Site) -> None:
    restricted_site.env["REDIS_URL"] = restricted_site.env["REDIS_URL"].replace("a-long-password", "quite-wrong")
    command = restricted_site.cutover("phase1")
    assert command.exit_code == 3
    assert "quite-wrong" not in command.output
    assert "Traceback" not in command.output


def test_the_servers_own_errors_are_told_as_ours(own_valkey: Valkey, tmp_path: Path) -> None:
    url = restrict(own_valkey)
    with redis.Redis.from_url(url) as client, pytest.raises(redis.exceptions.NoPermissionError):
        client.keys("*")
