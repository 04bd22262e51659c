"""The tables: what safety rests on (fence, terms, slots), and what the phases remember.

Rows are written by ``ledger`` and ``phases`` alone; the admin shows them read-only.
"""

from django.db import models
from django.db.models import Q

from cutover.fields import InstantField, PartialIndex, SaidField, SaidTextField
from cutover.moments import instant
from cutover.types import NAME_LENGTH, Limits, RunOutcome, SentBy, Side, SlotState

SIDES = [(side.value, side.value) for side in Side]
REASON_LENGTH = 200
"""How much is kept of why a slot was missed, or cannot be sent."""
SENDER_LENGTH = 255
"""How much is kept of who sent a message without the lease, and which."""
RUN_BY_LENGTH = 255
"""How much is kept of the mark of the worker that runs a slot."""
ERROR_LENGTH = 200
"""How much is kept of why a run did not succeed."""
SLOT_KEY = ("entry", "due_at")
"""What makes a slot the slot that it is."""


class Fence(models.Model):
    """The one row that holds the current epoch and the active side; claims are admitted under its lock.

    ``pauses``: how many rows of ``Pause`` have no end yet; 0: there is none to read. ``guarded_since``: since when
    every worker that answers has the run guard; only what was published after that may be published once more.
    ``schedule_revision`` rises with every change of an ``Entry``.
    """

    id = models.SmallIntegerField(primary_key=True, default=1)
    epoch = models.BigIntegerField(default=0)
    side = models.CharField(max_length=8, choices=SIDES, default=Side.CODE.value)
    switched_at = InstantField(null=True)
    guarded_since = InstantField(null=True)
    schedule_revision = models.BigIntegerField(default=0)
    # The database's default is for an older release that makes the row beside this one.
    pauses = models.IntegerField(default=0, db_default=0)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="cutover_fence_single")]

    def __str__(self) -> str:
        return f"epoch {self.epoch}, side {self.side}"


class Term(models.Model):
    """One leadership: who sent under which epoch, from when to when.

    ``seen_at``: its leader's latest sign of life, one in ten seconds; of a leader that was killed the last one.
    """

    epoch = models.BigIntegerField(primary_key=True)
    holder = models.CharField(max_length=255)
    side = models.CharField(max_length=8, choices=SIDES)
    host = models.CharField(max_length=255)
    pid = models.PositiveIntegerField()
    release = models.CharField(max_length=100, blank=True)
    started_at = InstantField()
    first_tick_at = InstantField(null=True)
    seen_at = InstantField(null=True)
    ended_at = InstantField(null=True)
    end_reason = SaidField(max_length=100, blank=True)

    class Meta:
        ordering = ["-epoch"]

    def __str__(self) -> str:
        return f"epoch {self.epoch}: {self.side} {self.host}:{self.pid}"


class Entry(models.Model):
    """What is owed to one schedule entry: nothing that fell due at or before ``eligible_since``.

    ``not_before`` and ``not_after``: the start and end of its row, where that has them. ``revision``: the fence's
    ``schedule_revision`` as of the entry's last change.
    """

    name = models.CharField(max_length=NAME_LENGTH, primary_key=True)
    fingerprint = models.TextField()
    not_before = InstantField(null=True)
    not_after = InstantField(null=True)
    eligible_since = InstantField()
    active = models.BooleanField(default=True)
    revision = models.BigIntegerField(default=0, db_index=True)

    class Meta:
        verbose_name_plural = "entries"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def limits(self) -> Limits:
        """Its start and end."""
        return Limits(self.not_before, self.not_after)


class Pause(models.Model):
    """One pause, of an entry or of all (``entry`` is empty): who asked for it, from when until when, and why.

    In effect while ``ended_at`` is null and ``until``, where it has one, has not come by the database's clock. Rows
    change under the fence's lock alone.
    """

    entry = models.CharField(max_length=NAME_LENGTH, blank=True)
    paused_at = InstantField()
    until = InstantField(null=True)
    paused_by = models.CharField(max_length=255)
    reason = SaidField(max_length=REASON_LENGTH, blank=True)
    ended_at = InstantField(null=True)
    ended_by = models.CharField(max_length=255, blank=True)

    class Meta:
        ordering = ["-paused_at"]

    def __str__(self) -> str:
        return f"{self.entry or 'everything'} paused at {instant(self.paused_at)}"


class Declaration(models.Model):
    """What the latest leader of a side sends, as that process itself says: evidence for the commands of the cutover.

    ``entries``: name to the fingerprints of schedule and message. The code side alone declares: rows are there for
    everybody to read, but a code schedule may be another in each process.
    """

    side = models.CharField(max_length=8, choices=SIDES, primary_key=True)
    holder = models.CharField(max_length=255)
    release = models.CharField(max_length=100, blank=True)
    declared_at = InstantField()
    entries = models.JSONField(default=dict)

    def __str__(self) -> str:
        return f"{self.side}: {self.holder}"


class Slot(models.Model):
    """One slot of one entry. The unique row is what prevents a second claim.

    The table grows to millions of rows: no ordering unless a query asks for one, and every query goes by an index.
    """

    entry = models.CharField(max_length=NAME_LENGTH)
    due_at = InstantField()
    epoch = models.BigIntegerField()
    side = models.CharField(max_length=8, choices=SIDES)
    state = models.CharField(max_length=9, choices=[(s.value, s.value) for s in SlotState])
    task_id = models.UUIDField()
    claimed_at = InstantField()
    published_at = InstantField(null=True)
    run_started_at = InstantField(null=True)
    run_ended_at = InstantField(null=True)
    run_by = models.CharField(max_length=RUN_BY_LENGTH, blank=True)
    # How often the task was tried again. The database's default is for an older release that writes beside this one.
    run_attempt = models.IntegerField(default=0, db_default=0)
    # Null before a run, and where a worker of an older release ran it.
    outcome = models.CharField(max_length=9, choices=[(o.value, o.value) for o in RunOutcome], null=True)
    # Why the latest attempt failed, or asked for a retry; null otherwise.
    error = SaidField(max_length=ERROR_LENGTH, null=True)
    # Null where a leader's message runs: few rows have one, and its index holds those alone.
    sender = models.CharField(max_length=SENDER_LENGTH, null=True)
    deduplicated = models.PositiveIntegerField(default=0)
    resent = models.PositiveSmallIntegerField(default=0)
    passed_over = models.PositiveIntegerField(default=0)
    # When an operator has asked for it, after it had been missed; what was asked for and is missed waits for a leader.
    replay_asked_at = InstantField(null=True)
    reason = SaidField(max_length=REASON_LENGTH, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=SLOT_KEY, name="cutover_slot_once")]
        indexes = [
            models.Index(fields=["due_at"], name="cutover_slot_due"),
            PartialIndex(fields=["due_at", "entry"], condition=Q(state="claimed"), name="cutover_slot_unpublished"),
            PartialIndex(
                fields=["due_at"], condition=Q(state="published", run_started_at=None), name="cutover_slot_unstarted"
            ),
            PartialIndex(fields=["due_at"], condition=Q(state="missed"), name="cutover_slot_missed"),
            PartialIndex(fields=["due_at"], condition=Q(deduplicated__gt=0), name="cutover_slot_deduplicated"),
            PartialIndex(fields=["sender"], condition=Q(sender__isnull=False), name="cutover_slot_unmanaged"),
            PartialIndex(fields=["due_at"], condition=Q(replay_asked_at__isnull=False), name="cutover_slot_replay"),
        ]

    def __str__(self) -> str:
        return f"{self.entry} {instant(self.due_at)} {self.state}"


class Overview(Slot):
    """The page of the admin: no table of its own, and who may view slots may see it."""

    class Meta:
        proxy = True
        default_permissions = ()
        verbose_name = verbose_name_plural = "at a glance"


class Cutover(models.Model):
    """The one row that says how far the cutover has come and which command is at work on it.

    ``switched_at``: phase 3's switch, since which phase 4 proves; ``switch_epoch``: the latest switch of either side.
    ``parity_proved_at``: when it was proved last that rows and code fire and send alike.
    """

    id = models.SmallIntegerField(primary_key=True, default=1)
    phase = models.PositiveSmallIntegerField(default=0)
    plan_hash = models.CharField(max_length=64, blank=True)
    switched_at = InstantField(null=True)
    switch_epoch = models.BigIntegerField(null=True)
    operator = models.CharField(max_length=255, blank=True)
    operator_process = models.CharField(max_length=255, blank=True)
    operator_seen_at = InstantField(null=True)
    parity_proved_at = InstantField(null=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="cutover_cutover_single")]

    def __str__(self) -> str:
        return f"phase {self.phase}"


FINISH = "finish"
"""The last step of every phase: it records the phase as done."""


class Transition(models.Model):
    """One step of one phase: recorded before it is taken, completed after."""

    phase = models.CharField(max_length=20)
    step = models.CharField(max_length=40)
    outcome = models.CharField(max_length=10, default="begun")
    detail = SaidTextField(blank=True)
    operator = models.CharField(max_length=255)
    begun_at = InstantField()
    ended_at = InstantField(null=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.phase} {self.step} {self.outcome}"


class Attended(models.Model):
    """What a command stays for: as long as ``ended_at`` is null and ``seen_at`` is renewed, it is there."""

    operator = models.CharField(max_length=255)
    process = models.CharField(max_length=255)
    began_at = InstantField()
    seen_at = InstantField()
    ended_at = InstantField(null=True)
    outcome = models.CharField(max_length=20, blank=True)
    detail = SaidTextField(blank=True)

    class Meta:
        abstract = True
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.operator} since {instant(self.began_at)} {self.outcome}".rstrip()


class QuietWait(Attended):
    """A phase 3 that waits for a quiet window, ``window_from`` to ``window_to``, to switch at ``leaps_at``.

    ``order`` is what other commands have ordered last, ``asked`` how often they have; ``answered``: how many of these
    orders have been taken. It is postponed to ``not_before``.
    """

    until = InstantField()
    leaps_at = InstantField(null=True)
    window_from = InstantField(null=True)
    window_to = InstantField(null=True)
    not_before = InstantField(null=True)
    order = models.CharField(max_length=10, blank=True)
    ordered_by = models.CharField(max_length=255, blank=True)
    asked = models.PositiveIntegerField(default=0)
    answered = models.PositiveIntegerField(default=0)


class SwitchGuard(Attended):
    """A watch over phase 3's switch of ``switch_epoch``, ``until`` when; it rolls back for the reason in ``detail``."""

    switch_epoch = models.BigIntegerField()
    until = InstantField()


class UnmanagedBeat(models.Model):
    """A beat that sends without the lease, as workers heard it: the origin (pid@host) of its messages."""

    origin = models.CharField(max_length=255, primary_key=True)
    first_heard_at = InstantField()
    last_heard_at = InstantField()

    class Meta:
        ordering = ["-last_heard_at"]

    def __str__(self) -> str:
        return self.origin


class SlotlessSender(models.Model):
    """Messages of a scheduled task without a slot, as workers counted them by entry and origin.

    Below celery 5.7 such a message is a person's or an unmanaged beat's. ``entry`` is empty where none, or several,
    send such a message. ``at_slots``: how many came when the entry was due.
    """

    task = models.CharField(max_length=NAME_LENGTH)
    entry = models.CharField(max_length=NAME_LENGTH, blank=True)
    origin = models.CharField(max_length=255)
    messages = models.PositiveBigIntegerField(default=0)
    at_slots = models.PositiveBigIntegerField(default=0)
    first_seen_at = InstantField()
    last_seen_at = InstantField(db_index=True)

    class Meta:
        ordering = ["-last_seen_at"]
        constraints = [models.UniqueConstraint(fields=["task", "entry", "origin"], name="cutover_slotless_once")]

    def __str__(self) -> str:
        return f"{self.task} by {self.origin}"


class OperatorWord(models.Model):
    """What the operator has said of a scheduled task: who sends it without a slot."""

    task = models.CharField(max_length=NAME_LENGTH, primary_key=True)
    sent_by = models.CharField(max_length=11, choices=[(s.value, s.value) for s in SentBy])
    said_at = InstantField()

    class Meta:
        ordering = ["task"]

    def __str__(self) -> str:
        return f"{self.task}: {self.sent_by}"


class ImportedEntry(models.Model):
    """A ``PeriodicTask`` row that the cutover brought in or took over, and how it stood before the switch.

    ``key_before``: the row's primary key then, by which it is found again under another name.
    """

    name = models.CharField(max_length=NAME_LENGTH, primary_key=True)
    fingerprint = models.TextField()
    created = models.BooleanField()
    options = models.JSONField(default=dict)
    relative = models.BooleanField(default=False)
    row = models.JSONField(default=dict)
    key_before = models.BigIntegerField(null=True)
    row_before = models.JSONField(null=True)
    enabled_before = models.BooleanField(null=True)
    last_run_at_before = InstantField(null=True)

    class Meta:
        verbose_name_plural = "imported entries"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class ShadowRun(models.Model):
    """An operator's wish that a standby of the database side computes what it would send, and sends nothing."""

    asked_at = InstantField()
    seconds = models.PositiveIntegerField()
    holder = models.CharField(max_length=255, blank=True)
    began_at = InstantField(null=True)
    ended_at = InstantField(null=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.seconds} s asked for at {instant(self.asked_at)}"


class ShadowSlot(models.Model):
    """A slot that the standby would have sent in a shadow run, and when it would have."""

    run = models.ForeignKey(ShadowRun, on_delete=models.CASCADE)
    entry = models.CharField(max_length=NAME_LENGTH)
    due_at = InstantField()
    seen_at = InstantField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "entry", "due_at"], name="cutover_shadow_slot_once")]

    def __str__(self) -> str:
        return f"{self.entry} {instant(self.due_at)}"
