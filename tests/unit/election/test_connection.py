"""Connections as cutover makes them of an alias: bounded, whatever kind of socket the alias names."""

import pytest
import redis

from cutover.conf import Config
from cutover.election.connection import ANSWER_TIMEOUT_S, redis_client

KINDS = {
    "redis://127.0.0.1:1/0": redis.Connection,
    "rediss://127.0.0.1:1/0": redis.SSLConnection,
    "unix:///nowhere/redis.sock?db=1": redis.UnixDomainSocketConnection,
}


@pytest.mark.parametrize("url", KINDS)
def test_a_connection_of_every_kind_can_be_made_and_waits_a_bounded_time(settings, url):
    alias = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url}
    settings.CACHES = {**settings.CACHES, "other": alias}
    with redis_client(Config(redis_alias="other")) as client:
        connection = client.connection_pool.make_connection()
        assert type(connection) is KINDS[url]
        assert connection.socket_timeout == ANSWER_TIMEOUT_S
