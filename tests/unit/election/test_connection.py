"""Connections as cutover makes them of an alias or a URL: bounded, whatever kind of socket that names."""

import pytest
import redis
from redis.connection import AbstractConnection

from cutover.conf import Config
from cutover.election import connection as connections
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


class Tunnel(AbstractConnection):
    """A project's own kind of connection, which is no socket of TCP and takes no argument of one."""

    def __init__(self, tunnel="", **arguments):
        self.tunnel = tunnel
        super().__init__(**arguments)

    def repr_pieces(self):
        return [("tunnel", self.tunnel)]

    def _connect(self):
        raise ConnectionError("no tunnel here")

    def _host_error(self):
        return self.tunnel


def alias_with(settings, **options):
    alias = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://127.0.0.1:2/7", "OPTIONS": options}
    settings.CACHES = {**settings.CACHES, "other": alias}
    return Config(redis_alias="other")


def test_a_connection_class_of_the_projects_own_is_given_no_argument_of_tcp(monkeypatch):
    pool = redis.ConnectionPool(connection_class=Tunnel, tunnel="t")
    monkeypatch.setattr(connections, "get_redis_connection", lambda alias: redis.Redis(connection_pool=pool))
    with redis_client(Config()) as client:
        made = client.connection_pool.make_connection()
        assert (type(made), made.tunnel, made.socket_timeout) == (Tunnel, "t", ANSWER_TIMEOUT_S)


def test_what_the_aliass_pool_keeps_for_itself_stays_its_own(settings):
    with redis_client(alias_with(settings)) as client:
        own, kept = client.connection_pool, client.connection_pool.connection_kwargs
        handler = kept.get("maint_notifications_pool_handler")
        assert handler is None or handler.pool is own
        made = own.make_connection()
        assert getattr(made, "orig_socket_timeout", ANSWER_TIMEOUT_S) == ANSWER_TIMEOUT_S


def test_a_client_of_many_servers_is_refused(monkeypatch):
    monkeypatch.setattr(connections, "get_redis_connection", lambda alias: object())
    with pytest.raises(ConfigurationError, match="the lease needs one server"):
        redis_client(Config())


@pytest.mark.parametrize(
    ("url", "option"),
    [
        ("redis://:secret@host/0?visibility_timeout=30", "visibility_timeout"),
        ("rediss://:secret@host/0?ssl_cert_reqs=CERT_NONE", "CERT_NONE"),
    ],
)
def test_an_option_of_a_brokers_url_that_redis_py_does_not_take_is_named(url, option):
    with pytest.raises(ConfigurationError, match=f"redis-py does not take: .*{option}") as refused:
        redis_client(Config(redis_url=url))
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("url", ["http://:secret@host", "redis://user:sec/ret@host", "/var/redis"])
def test_a_url_that_is_none_is_refused_without_being_shown(url):
    with pytest.raises(ConfigurationError, match="no URL of Redis") as refused:
        redis_client(Config(redis_url=url))
    assert "sec" not in str(refused.value)
    assert url not in repr(Config(redis_url=url))
