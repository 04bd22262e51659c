"""What breaks: each scenario is data. To add one, add an entry; to see it alone, ``pytest tests/faults -k its-name``.

A step is (seconds after the first one, fault and its arguments, on whom). On whom: ``leader``, ``standby``, ``same``
(the one before), a member's own name such as ``worker-1``, or nobody, where the fault is a server's. Faults are the
functions of ``actions``. Steps run one after the other: one that waits for something delays those that follow.
"""

from dataclasses import dataclass, replace
from typing import Final

Step = tuple[float, str, str] | tuple[float, str]

LEASE_S: Final = 3.0
"""The shortest lease that is not refused."""
EXPIRY_S: Final = LEASE_S + 1.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """Faults, and what they may cost at most.

    ``wait_s``: the longest time that a due slot may wait. ``may_miss``: slots of entries that fall due more often than
    that may be coalesced into the latest one; the ledger must name each. ``may_skip``: as before, also without a gap
    that explains it (a clock that jumped). ``may_repeat``: a message may be handed over twice (it runs once).
    ``may_die``: as many runs may go down with their worker.
    """

    name: str
    steps: tuple[Step, ...]
    wait_s: float
    database: str = "sqlite"
    lease_s: float = LEASE_S
    cast: tuple[str, ...] = ("code", "code", "worker")
    after_s: float = 1.0
    may_miss: bool = False
    may_skip: bool = False
    may_repeat: bool = False
    may_die: int = 0


POSTGRES: Final = "postgres"
MARIADB: Final = "mariadb"
HICCUP_S: Final = 1.0
"""A leader that nothing has happened to may be late by this much on a busy machine."""
ANSWER_S: Final = 2.0
"""How long cutover waits for one answer of Redis."""
SLOW_S: Final = 0.05
"""What a slow database takes longer for a question, and once more for its answer."""
ANSWERS: Final = {POSTGRES: 8, MARIADB: 11}
"""How many answers a round of the loop waits for, at most: the poll, a claim and a confirmation.

MariaDB has to be told of each transaction's beginning and end, and cannot say which rows of an insert were new."""


def _two_slow_rounds_s(database: str) -> float:
    """How long a slot waits at most that falls due when a round has just begun."""
    return 2 * ANSWERS[database] * 2 * SLOW_S


SCENARIOS: Final = (
    # --- processes
    Scenario("leader-killed", ((0, "kill", "leader"),), 1.5, lease_s=15.0, may_miss=True, may_repeat=True),
    Scenario("standby-killed", ((0, "kill", "standby"),), HICCUP_S),
    Scenario("leader-terminated", ((0, "term", "leader"),), HICCUP_S),
    Scenario("worker-killed", ((0, "kill", "worker-1"),), HICCUP_S, may_die=2, may_repeat=True, after_s=0.5),
    Scenario("worker-frozen", ((0, "freeze", "worker-1"), (1.5, "thaw", "same")), HICCUP_S),
    Scenario(
        "leader-frozen-past-its-lease",
        ((0, "freeze", "leader"), (EXPIRY_S + 0.5, "thaw", "same")),
        EXPIRY_S,
        may_miss=True,
        may_repeat=True,
    ),
    Scenario(
        "leader-slow-goes-on-leading",
        ((0, "freeze", "leader"), (0.6, "thaw", "same")),
        0.6 + HICCUP_S,
        may_repeat=True,
    ),
    *(
        Scenario(
            f"leader-frozen-when-{point}",
            ((0, f"freeze_at {point}", "leader"), (EXPIRY_S + 0.5, "thaw", "same")),
            EXPIRY_S,
            database=database,
            may_miss=True,
            may_repeat=True,
        )
        for point, database in (
            ("due", "sqlite"),
            ("claimed", POSTGRES),
            ("published", "sqlite"),
            ("claiming", POSTGRES),
        )
    ),
    *(
        Scenario(
            f"leader-killed-when-{point}",
            ((0, f"kill_at {point}", "leader"),),
            1.5,
            database=database,
            may_miss=True,
            may_repeat=True,
        )
        for point, database in (("claimed", "sqlite"), ("published", "sqlite"), ("claiming", POSTGRES))
    ),
    Scenario(
        "successor-killed-when-elected",
        ((0, "order elected kill", "standby"), (0, "kill", "leader")),
        2 * EXPIRY_S,  # the third one is started when both are dead
        may_miss=True,
        may_repeat=True,
    ),
    # --- the operator
    Scenario(
        "paused-while-the-leader-is-killed",
        ((0, "run pause"), (0.1, "kill", "leader"), (3.0, "run resume")),
        30.0,  # each command starts a Django of its own
        may_miss=True,
        may_skip=True,  # a busy machine may pause and resume between two slots, of which the second is then sent
        may_repeat=True,
    ),
    # --- the network of one process
    Scenario(
        "redis-cut-from-leader", ((0, "cut redis", "leader"), (1.5, "fix redis", "same")), EXPIRY_S, may_miss=True
    ),
    Scenario(
        "redis-slow-for-leader", ((0, "slow redis 0.15", "leader"), (2.5, "fix redis", "same")), HICCUP_S, may_miss=True
    ),
    Scenario(
        "redis-black-hole-for-leader",
        ((0, "hold redis", "leader"), (EXPIRY_S + 1.0, "fix redis", "same")),
        EXPIRY_S,
        may_miss=True,
        may_repeat=True,  # succeeded between a message and its confirmation
    ),
    Scenario(
        "redis-half-open-for-leader",
        ((0, "half_open redis", "leader"), (EXPIRY_S, "fix redis", "same")),
        EXPIRY_S,
        may_miss=True,
        may_repeat=True,
    ),
    Scenario("redis-cut-from-standby", ((0, "cut redis", "standby"), (1.5, "fix redis", "same")), HICCUP_S),
    Scenario(
        "database-cut-from-leader",
        ((0, "cut database", "leader"), (6.0, "fix database", "same")),
        EXPIRY_S,
        database=POSTGRES,
        may_miss=True,
        may_repeat=True,
    ),
    Scenario(
        "database-black-hole-for-leader",
        ((0, "hold database", "leader"), (EXPIRY_S + 2.0, "fix database", "same")),
        EXPIRY_S,
        database=POSTGRES,
        may_miss=True,
        may_repeat=True,
    ),
    Scenario(
        "database-slow-for-leader",
        ((0, f"slow database {SLOW_S}", "leader"), (2.5, "fix database", "same")),
        HICCUP_S + _two_slow_rounds_s(POSTGRES),
        database=POSTGRES,
        may_miss=True,
    ),
    Scenario(
        "leader-alone-in-the-world",
        ((0, "hold redis database broker", "leader"), (2 * EXPIRY_S, "fix redis database broker", "same")),
        2 * EXPIRY_S,
        database=POSTGRES,
        may_miss=True,
        may_repeat=True,
    ),
    Scenario(
        "broker-cut-from-leader",
        ((0, "cut broker", "leader"), (1.5, "fix broker", "same")),
        5.0,
        may_miss=True,
        may_repeat=True,
    ),
    Scenario(
        "database-cut-from-worker",
        ((0, "cut database", "worker-1"), (1.5, "fix database", "same")),
        HICCUP_S,
        database=POSTGRES,
        may_repeat=True,
    ),
    # --- the lease's server. Another may lead while the old one hands over: what that has not confirmed is sent again.
    Scenario(
        "redis-flushed", ((0, "flush"), (0.7, "flush"), (1.4, "drop_lease")), EXPIRY_S, may_miss=True, may_repeat=True
    ),
    Scenario("redis-restarted-empty", ((0, "restart_empty"),), EXPIRY_S, may_miss=True, may_repeat=True),
    Scenario("redis-gone", ((0, "lose_redis"), (EXPIRY_S, "restart_empty")), EXPIRY_S, may_miss=True, may_repeat=True),
    Scenario("redis-frozen", ((0, "freeze_redis"), (EXPIRY_S, "thaw_redis")), EXPIRY_S, may_miss=True, may_repeat=True),
    Scenario("redis-evicts", ((0, "evict"),), EXPIRY_S, after_s=EXPIRY_S, may_miss=True, may_repeat=True),
    Scenario("redis-full", ((0, "fill"),), EXPIRY_S, after_s=EXPIRY_S, may_miss=True, may_repeat=True),
    Scenario("redis-read-only", ((0, "demote"),), EXPIRY_S, after_s=EXPIRY_S, may_miss=True, may_repeat=True),
    # --- the broker
    Scenario("broker-frozen", ((0, "freeze_broker"), (2.0, "thaw_broker")), 5.0, may_miss=True, may_repeat=True),
    Scenario(
        "broker-restarted",
        ((0, "lose_broker"), (1.5, "start_broker")),
        5.0,
        may_miss=True,
        may_repeat=True,
        after_s=3.0,
    ),
    # --- the database's server
    Scenario(
        "backends-ended",
        ((0, "end_backends"), (0.5, "end_backends")),
        2.0,  # below any lease; every process connects again, twice, and the machine may be busy
        POSTGRES,
        may_miss=True,
        may_repeat=True,  # a worker that was about to start a run puts its message off
    ),
    Scenario(
        "database-restarted",
        ((0, "stop_database"), (1.5, "start_database")),
        5.0,
        POSTGRES,
        may_miss=True,
        may_repeat=True,
    ),
    Scenario(
        "database-read-only", ((0, "read_only"), (2.0, "writable")), 5.0, POSTGRES, may_miss=True, may_repeat=True
    ),
    # --- clocks
    Scenario("clock-ahead", ((0, "clock 3", "leader"), (1.5, "clock 0", "same")), 3.5, may_miss=True, may_skip=True),
    # Put right, a clock that was behind jumps ahead as well.
    Scenario("clock-behind", ((0, "clock -2", "leader"), (1.5, "clock 0", "same")), 2.5, may_miss=True, may_skip=True),
    # --- both sides, whole releases
    Scenario(
        "rolling-restart-of-both-sides",
        (
            (0, "run phase1"),
            (0, "run phase2"),
            (0, "restart", "code-1"),
            (0, "run phase3"),
            (0, "restart", "code-2"),
            (0, "restart", "database-1"),
            (0, "restart", "database-2"),
            (0, "run rollback"),
            (0, "run phase1"),
            (0, "restart", "code-1"),
        ),
        HICCUP_S,
        cast=("code", "code", "database", "database", "worker"),
    ),
    Scenario(
        "leader-killed-after-the-switch",
        (
            (0, "run phase1"),
            (0, "run phase2"),
            (0, "run phase3"),
            (0, "kill", "leader"),
            (2.0, "run rollback"),
            (0, "run phase1"),
        ),
        1.5,
        cast=("code", "code", "database", "database", "worker"),
        may_miss=True,
        may_repeat=True,
    ),
)


def _on_mariadb(scenario: Scenario) -> Scenario:
    wait_s = scenario.wait_s
    if any("slow database" in fault for _, fault, *_ in scenario.steps):
        wait_s += _two_slow_rounds_s(MARIADB) - _two_slow_rounds_s(POSTGRES)
    return replace(scenario, name=f"{scenario.name}-on-mariadb", database=MARIADB, wait_s=wait_s)


ON_MARIADB: Final = tuple(map(_on_mariadb, SCENARIOS))
"""All of it once more, with the ledger in MariaDB."""
ALWAYS_ON_MARIADB: Final = ("leader-frozen-when-claiming", "leader-killed-when-claiming", "database-restarted")
"""What is played there in the short run too: a holder of the fence that falls silent, one that dies, and the server."""
