"""Redis connections: those of the project's own django-redis alias, or of a URL, with every wait bounded.

Sentinel, TLS, credentials and unix sockets are the business of the alias, all but Sentinel of the URL; what is added is
a time limit on each answer, so that a half-open connection cannot hold a thread, and no silent retry, so that a lost
connection is noticed.
"""

from collections.abc import Collection
from typing import Any, Final

import redis
from django.core.exceptions import ImproperlyConfigured
from django_redis import get_redis_connection
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import SentinelConnectionPool

from cutover.conf import ANSWER_TIMEOUT, Config
from cutover.errors import ConfigurationError, LeaseUnavailable

ANSWER_TIMEOUT_S: Final = ANSWER_TIMEOUT.total_seconds()
_OF_ONE_POOL: Final = ("maint_notifications_pool_handler", "orig_")
"""What redis-py's newer pools add to their own arguments for connections: a second pool has its own."""


def redis_client(config: Config) -> redis.Redis:
    """A thread-safe client of ``CUTOVER['REDIS_URL']``, else of the alias ``CUTOVER['REDIS_ALIAS']``.

    It connects at its first command. Raises ConfigurationError when the URL is none of Redis or has an option that
    redis-py does not take, or when the alias is missing or is not django-redis.
    """
    if config.redis_url:
        return redis.Redis(connection_pool=_of_url(config.redis_url))
    try:
        shared = get_redis_connection(config.redis_alias)
    except (NotImplementedError, ImproperlyConfigured, ValueError) as exc:
        why = "it has another one" if isinstance(exc, NotImplementedError) else exc  # whose text speaks of a "feature"
        raise ConfigurationError(
            f"CUTOVER['REDIS_ALIAS'] = {config.redis_alias!r} must name a CACHES entry with the backend "
            f"'django_redis.cache.RedisCache', or CUTOVER['REDIS_URL'] be set: {why}"
        ) from exc
    except redis.RedisError as exc:
        raise LeaseUnavailable(f"Redis (CACHES[{config.redis_alias!r}]) gives no answer: {exc}") from exc
    pool = getattr(shared, "connection_pool", None)
    if not isinstance(pool, redis.ConnectionPool):
        raise ConfigurationError(
            f"CUTOVER['REDIS_ALIAS'] = {config.redis_alias!r} has the client {type(shared).__name__}: the lease needs "
            "one server, or a primary that Sentinel names. Name another CACHES entry."
        )
    return redis.Redis(connection_pool=_bounded(pool))


def _of_url(url: str) -> redis.ConnectionPool:
    try:
        pool = _bounded(redis.ConnectionPool.from_url(url))
    except (ValueError, TypeError) as exc:  # whose text may hold a part of the password
        forms = "redis://host:6379/0, rediss://... or unix:///path?db=0, what is special in a password as %XX"
        raise ConfigurationError(f"CUTOVER['REDIS_URL'] is no URL of Redis, such as {forms}.") from exc
    try:
        pool.connection_class(**pool.connection_kwargs)  # it connects at its first command
    except (TypeError, redis.RedisError) as exc:  # whose text names an option: kombu's URLs of a broker have others
        said = f"CUTOVER['REDIS_URL'] has an option after its question mark that redis-py does not take: {exc}."
        raise ConfigurationError(said) from exc
    return pool


def _bounded(pool: redis.ConnectionPool) -> redis.ConnectionPool:
    own: dict[str, Any] = {
        **{name: value for name, value in pool.connection_kwargs.items() if not name.startswith(_OF_ONE_POOL)},
        "socket_timeout": ANSWER_TIMEOUT_S,
        "socket_connect_timeout": ANSWER_TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_timeout": False,
        "decode_responses": True,
    }
    if issubclass(pool.connection_class, redis.Connection):
        own["socket_keepalive"] = True  # no argument of a unix socket, nor of what a project may bring
    if isinstance(pool, SentinelConnectionPool):
        own.pop("connection_pool", None)
        return SentinelConnectionPool(
            pool.service_name,
            pool.sentinel_manager,
            is_master=pool.is_master,
            check_connection=pool.check_connection,
            connection_class=pool.connection_class,
            **own,
        )
    return redis.ConnectionPool(connection_class=pool.connection_class, **own)


class Link:
    """A process's standing connections: one for its commands, one on which it is woken.

    The second one is evidence: as long as the process lives and the network holds, the server lists it by
    ``client_id``, and by that others tell a dead process from a slow one. Its owner waits on it, and so notices
    at once when it is cut; and a server that closes idle connections leaves subscribed ones alone. Methods raise
    ``redis.RedisError``, but for ``is_cut`` and ``close``.
    """

    def __init__(self, client: redis.Redis, channel: str) -> None:
        self.commands: redis.Redis = client.client()
        self._was_listed = False
        self._inbox = client.pubsub(ignore_subscribe_messages=True)
        try:
            self._inbox.execute_command("CLIENT", "ID")
            self.client_id = int(self._inbox.parse_response())
            self._inbox.subscribe(channel)
            self._inbox.get_message(timeout=ANSWER_TIMEOUT_S)  # that it is subscribed: nothing is missed from here on
        except BaseException:
            self.close()
            raise

    def is_cut(self) -> bool:
        """Whether the listening connection has been closed; asked of the socket, not of the server."""
        try:
            self.wait(0.0)
        except (redis.RedisError, OSError):
            return True
        return False

    def check(self, listed: Collection[int] | None) -> None:
        """Raise ``redis.ConnectionError`` once the server has ceased to list this connection; ``listed``: its answer.

        What forgets a silent connection between here and there, as a firewall does, tells nobody; and others take a
        process for dead that is not listed. One that never was is no evidence.
        """
        is_listed = listed is not None and self.client_id in listed
        if self._was_listed and not is_listed and listed is not None:
            raise redis.ConnectionError("Redis has lost the connection on which this process is woken")
        self._was_listed = self._was_listed or is_listed

    def wait(self, timeout_s: float) -> str | None:
        """The next message of the channel, or None once ``timeout_s`` (>= 0) have passed."""
        message = self._inbox.get_message(timeout=timeout_s)
        return str(message["data"]) if message else None

    def close(self) -> None:
        """Give both connections back to the system; the server then no longer lists them."""
        for owner in (self._inbox, self.commands):
            try:
                if owner.connection is not None:
                    owner.connection.disconnect()  # `close` alone puts it back into the pool, still open
                owner.close()
            except (redis.RedisError, OSError):
                continue  # closing what is broken already
