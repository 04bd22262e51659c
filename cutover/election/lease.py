"""The lease: a time-bounded right to lead, held in Redis under one key.

It decides quickly who should lead. It does NOT promise that only one process believes to lead: leases expire under
paused processes, failovers lose writes, keys are evicted. What may be sent is decided in the database, by ``ledger``.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from enum import Enum
from importlib import resources
from typing import Any, Final, TypeVar

import redis

from cutover.errors import LeaseRefused, LeaseUnavailable
from cutover.types import HolderId, Identity, Side

_T = TypeVar("_T")
_MS: Final = dt.timedelta(milliseconds=1)

RELEASED: Final = "released"
SCHEDULE: Final = "schedule"
SWITCHED: Final = "switched "
POKED: Final = "poked "
"""Messages of the wake channel; after ``SWITCHED`` comes the side that is active now, after ``POKED`` who is woken."""


class Renewal(Enum):
    """Outcome of renewing: still held, held again after the server had lost it, or another's."""

    RENEWED = 1
    RESTORED = 2
    LOST = 0


@dataclass(frozen=True, slots=True)
class LeaseView:
    """Who holds the lease, for how long still, and by which connection of the server it can be seen to live."""

    holder: HolderId
    side: Side
    remaining: dt.timedelta
    client_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """What a beat says of itself when it reports; ``celery``: its version, empty where an older release says none."""

    side: Side
    host: str
    pid: int
    release: str
    role: str
    warm: bool
    schedule_version: str
    entries: int
    client_id: int
    celery: str = ""


_DETAILS: Final = frozenset(field.name for field in fields(Details))


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence(Details):
    """A beat that reported lately, and how long ago."""

    holder: HolderId
    seen_ago: dt.timedelta


class Lease:
    """The lease of one namespace.

    Every method raises LeaseUnavailable when Redis gives no usable answer, LeaseRefused when that is a refusal.
    """

    def __init__(self, client: redis.Redis, namespace: str, ttl: dt.timedelta) -> None:
        self._client = client
        self._ttl_ms = int(ttl / _MS)
        # One hash tag for all keys: they live on one node of a cluster, as scripts demand.
        self._lease = f"{{cutover:{namespace}}}:lease"
        self._beats = f"{{cutover:{namespace}}}:beats"
        self._probe = f"{{cutover:{namespace}}}:probe"
        self.channel = f"{{cutover:{namespace}}}:wake"
        self._scripts = {
            name: client.register_script(resources.files("cutover.election").joinpath(f"lua/{name}.lua").read_text())
            for name in ("acquire", "renew", "release", "switch", "report", "beats")
        }

    def over(self, client: redis.Redis) -> Lease:
        """The same lease through another client."""
        other = object.__new__(Lease)
        other.__dict__.update(self.__dict__, _client=client)
        return other

    def acquire(
        self, who: Identity, side: Side, client_id: int, dead: tuple[HolderId, int] | None = None
    ) -> LeaseView | None:
        """Take the lease for ``who``; None when taken, else who holds it.

        It may be taken when it is free, one's own, held for the other side, or held by ``dead``: a holder and
        the connection that the server no longer lists. One that has reconnected since is not dead.
        """
        reply = self._run("acquire", [self._lease], [who.holder, side, self._ttl_ms, client_id, *(dead or ("", ""))])
        return None if reply[0] == 1 else _view(reply[1:])

    def renew(self, who: Identity, side: Side, client_id: int) -> Renewal:
        """Prolong one's own lease by its whole time."""
        return Renewal(self._run("renew", [self._lease], [who.holder, side, self._ttl_ms, client_id])[0])

    def release(self, holder: HolderId) -> bool:
        """Give one's own lease back, so that a standby leads within milliseconds; False when it was not one's own."""
        return bool(self._run("release", [self._lease], [holder, self.channel, RELEASED]))

    def switch(self, to: Side) -> None:
        """Tell Redis of a switch that the database has committed: the other side's lease is dropped, all wake up."""
        self._run("switch", [self._lease], [to, self.channel, f"{SWITCHED}{to}"])

    def report(self, who: Identity, details: Details, valid: dt.timedelta) -> LeaseView | None:
        """Say that ``who`` is alive, to be believed for ``valid``; returns who holds the lease, None for nobody."""
        arguments = [who.holder, int(valid / _MS), json.dumps(asdict(details))]
        reply = self._run("report", [self._lease, self._beats], arguments)
        return _view(reply) if reply else None

    def leave(self, holder: HolderId) -> None:
        """Take back one's report: this beat is gone."""
        self._ask(lambda: self._client.hdel(self._beats, holder))

    def view(self) -> LeaseView | None:
        """Who holds the lease; None for nobody."""
        held = self._ask(lambda: self._client.hmget(self._lease, ["holder", "side", "client"]))
        if not held[0]:
            return None
        return _view([held[0], held[1], self._ask(lambda: self._client.pttl(self._lease)), held[2]])

    def beats(self) -> list[Presence]:
        """Every beat whose report still counts, by holder."""
        flat = self._run("beats", [self._beats], [])
        found = []
        for holder, seen_ms, details in zip(flat[::3], flat[1::3], flat[2::3], strict=True):
            # A later release's beat may say more of itself.
            told = {name: value for name, value in json.loads(details).items() if name in _DETAILS}
            told["side"] = Side(told["side"])
            found.append(Presence(holder=HolderId(holder), seen_ago=int(seen_ms) * _MS, **told))
        return sorted(found, key=lambda beat: beat.holder)

    def probe(self) -> None:
        """Write a key that is gone after a second: raises LeaseRefused where nobody could take or renew the lease."""
        self._ask(lambda: self._client.set(self._probe, "1", px=1000))

    def memory(self) -> dict[str, Any]:
        """What the server says of its memory, and of what it does when that is full."""
        return self._ask(lambda: self._client.info("memory"))

    def is_connected(self, client_id: int) -> bool | None:
        """Whether the server still lists that connection; None where it does not say."""
        listed = self.listed(client_id)
        return None if listed is None else client_id in listed

    def listed(self, *client_ids: int) -> frozenset[int] | None:
        """Those of these connections that the server still lists; None where it does not say (no right, an old one)."""
        try:
            lines = self._client.execute_command("CLIENT", "LIST", "ID", *client_ids)
        except redis.ResponseError:
            return None
        except (redis.RedisError, OSError) as exc:
            raise LeaseUnavailable(f"Redis gives no answer: {exc}") from exc
        return frozenset(int(found) for found in re.findall(r"^id=(\d+) ", str(lines), re.MULTILINE))

    def announce_schedule(self) -> None:
        """Wake all beats to read the schedule now instead of at their next poll."""
        self._ask(lambda: self._client.publish(self.channel, SCHEDULE))

    def poke(self, holder: HolderId) -> None:
        """Wake one beat's elector."""
        self._ask(lambda: self._client.publish(self.channel, f"{POKED}{holder}"))

    def _run(self, script: str, keys: list[str], arguments: list[Any]) -> Any:
        return self._ask(lambda: self._scripts[script](keys=keys, args=arguments, client=self._client))

    def _ask(self, command: Callable[[], _T]) -> _T:
        try:
            return command()
        except redis.exceptions.ReadOnlyError as exc:
            said = "Redis is read-only: point the alias at the primary, or let Sentinel choose it."
            raise LeaseRefused(said) from exc
        except redis.exceptions.OutOfMemoryError as exc:
            raise LeaseRefused("Redis is out of memory: raise maxmemory or free some.") from exc
        except redis.ResponseError as exc:
            said = str(exc).removesuffix(".")
            raise LeaseRefused(f"Redis refuses: {said}. Look at its log, its disk and its user's rights.") from exc
        except (redis.RedisError, OSError) as exc:
            raise LeaseUnavailable(f"Redis gives no answer: {exc}") from exc


def _view(reply: list[Any]) -> LeaseView:
    holder, side, remaining_ms, client_id = reply
    return LeaseView(HolderId(holder), Side(side), int(remaining_ms) * _MS, int(client_id))
