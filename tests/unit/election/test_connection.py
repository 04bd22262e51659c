"""Connections as cutover makes them of an alias or a URL: bounded, whatever kind of socket that names."""

import pytest
import redis

from cutover.conf import Config
from cutover.election.connection import ANSWER_TIMEOUT_S, redis_client
from cutover.errors import ConfigurationError

KINDS = {
    "redis://127.0.0.1:1/0": redis.Connection,
    "rediss://127.0.0.1:1/0": redis.SSLConnection,
    "unix:///nowhere/redis.sock?db=1": redis.UnixDomainSocketConnection,
}


@pytest.mark.parametrize("url", KINDS)
@pytest.mark.parametrize("config", [Config(redis_alias="other"), None], ids=["alias", "url"])
def test_a_connection_of_every_kind_can_be_made_and_waits_a_bounded_time(settings, url, config):
    alias = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url}
    settings.CACHES = {"other": alias} if config else {}
    with redis_client(config or Config(redis_url=url)) as client:
        connection = client.connection_pool.make_connection()
        assert type(connection) is KINDS[url]
        assert connection.socket_timeout == ANSWER_TIMEOUT_S


@pytest.mark.parametrize("url", ["http://:secret@host", "redis://user:sec/ret@host", "/var/redis"])
def test_a_url_that_is_none_is_refused_without_being_shown(url):
    with pytest.raises(ConfigurationError, match="no URL of Redis") as refused:
        redis_client(Config(redis_url=url))
    assert "sec" not in str(refused.value)
    assert url not in repr(Config(redis_url=url))
