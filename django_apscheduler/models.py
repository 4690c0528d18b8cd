"""
The tables: jobs, their executions, the schedulers that share them, commands, roll-ups.

The job row is the schedule: whoever claims it advances it. Statuses and columns of the
earlier package of this name keep their meaning, so its reports still read.
"""

from __future__ import annotations

import uuid
from datetime import timedelta, timezone

from django.core.validators import MinValueValidator
from django.db import models, router
from django.utils.translation import gettext_lazy as _

from django_apscheduler import clock
from django_apscheduler.db import KeyField, PartialIndex, UidField, UTCDateTimeField

#: Rows deleted by one statement when history is pruned, so that no lock lasts long.
PRUNE_ROWS = 500


#: The indexes over the few jobs and executions that schedulers look for again and again.
HALTED_JOBS = PartialIndex(
    key="resume_time",
    column="state",
    values=["paused", "broken"],
    name="apscheduler_job_halted",
)
FINISHED_JOBS = PartialIndex(
    key="finished_time",
    column="state",
    values=["finished"],
    name="apscheduler_job_finished",
)
ACTIVE_EXECUTIONS = PartialIndex(
    key="job",
    column="status",
    values=["Queued", "Claimed", "Started execution"],
    name="apscheduler_exec_active",
)


class DjangoJob(models.Model):
    """
    A job and its schedule.

    ``id`` is the job's stable name, ``uid`` changes each time it is added anew.
    ``next_run_time`` is null unless ``state`` is active. ``func``, ``args``, ``kwargs``
    and a custom trigger's class are signed: change them through the scheduler or the
    admin; everything else may be edited by hand.
    """

    class State(models.TextChoices):
        ACTIVE = "active", _("active")
        PAUSED = "paused", _("paused")
        DISABLED = "disabled", _("disabled")
        FINISHED = "finished", _("finished")
        BROKEN = "broken", _("broken")

    class OnLost(models.TextChoices):
        RERUN = "rerun", _("run again")
        MARK = "mark", _("mark as lost")

    id = KeyField(_("id"), max_length=255, primary_key=True)
    name = models.CharField(_("name"), max_length=255, default="")
    uid = UidField(default=uuid.uuid4, editable=False)
    func = models.CharField(
        _("callable"),
        max_length=500,
        default="",
        help_text=_("Reference to the callable, as module:name."),
    )
    trigger = models.TextField(_("trigger"), default="", help_text=_("JSON."))
    args = models.TextField(_("arguments"), default="[]", help_text=_("JSON."))
    kwargs = models.TextField(
        _("keyword arguments"), default="{}", help_text=_("JSON.")
    )
    signature = models.CharField(max_length=255, default="", editable=False)
    executor = KeyField(_("executor"), max_length=100, default="default")
    coalesce = models.BooleanField(
        _("coalesce"),
        default=True,
        help_text=_("Run once for all due run times instead of once for each."),
    )
    max_instances = models.IntegerField(
        _("max instances"), default=1, validators=[MinValueValidator(1)]
    )
    misfire_grace_time = models.IntegerField(
        _("misfire grace time"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("Seconds a run may be late and still run; empty for no limit."),
    )
    on_lost = models.CharField(
        _("when a scheduler dies"),
        max_length=10,
        choices=OnLost.choices,
        default=OnLost.RERUN,
    )
    transactional = models.BooleanField(_("transactional"), default=False)
    state = models.CharField(
        _("state"), max_length=10, choices=State.choices, default=State.ACTIVE
    )
    # Without an index of its own: planners would take that one for the claim, and sort
    # the whole backlog to find its oldest jobs.
    next_run_time = UTCDateTimeField(_("next run time"), null=True, blank=True)
    nominal_time = UTCDateTimeField(
        _("nominal time"),
        null=True,
        blank=True,
        editable=False,
        help_text=_("The trigger's fire time, before jitter."),
    )
    anchor_time = UTCDateTimeField(
        _("counts from"),
        null=True,
        blank=True,
        editable=False,
        help_text=_("The moment that an interval without start date counts from."),
    )
    revision = models.BigIntegerField(default=1, editable=False)
    error = models.TextField(_("error"), default="", blank=True)
    paused_time = UTCDateTimeField(_("paused"), null=True, blank=True)
    paused_by = models.CharField(_("paused by"), max_length=255, default="", blank=True)
    pause_reason = models.CharField(_("reason"), max_length=255, default="", blank=True)
    resume_time = UTCDateTimeField(_("resumes"), null=True, blank=True)
    declaration = models.TextField(null=True, blank=True, editable=False)
    overrides = models.TextField(default="[]", blank=True, editable=False)
    created_time = UTCDateTimeField(_("created"), null=True, blank=True)
    changed_time = UTCDateTimeField(_("changed"), null=True, blank=True)
    finished_time = UTCDateTimeField(_("finished"), null=True, blank=True)
    job_state = models.BinaryField(
        null=True,
        editable=False,
        help_text=_("Left by the earlier package; never read."),
    )

    class Meta:
        ordering = ("next_run_time", "id")
        verbose_name = _("job")
        verbose_name_plural = _("jobs")
        indexes = [
            # Exactly the order in which a scheduler claims.
            models.Index(
                fields=["executor", "next_run_time", "id"], name="apscheduler_job_due"
            ),
            HALTED_JOBS,
            FINISHED_JOBS,
        ]
        permissions = [
            ("run_job", "Can run a job now"),
            ("pause_job", "Can pause and resume jobs"),
            ("reschedule_job", "Can change the schedule of a job"),
        ]

    def __str__(self) -> str:
        return self.name or self.id


class DjangoJobExecutionQuerySet(models.QuerySet):
    """Executions, with what reports and housekeeping ask for."""

    def active(self) -> DjangoJobExecutionQuerySet:
        """Return those waiting, claimed or running, by way of their own small index."""
        return self.filter(
            # Twice, for MySQL compares the first with 1, and so uses no index for it.
            ACTIVE_EXECUTIONS.condition_written_out,
            status__in=DjangoJobExecution.ACTIVE,
        )

    def final(self) -> DjangoJobExecutionQuerySet:
        """Return those whose outcome is settled."""
        return self.exclude(status__in=DjangoJobExecution.ACTIVE)


class DjangoJobExecutionManager(
    models.Manager.from_queryset(DjangoJobExecutionQuerySet)  # type: ignore[misc]
):
    """The manager of the execution log."""

    def delete_old_job_executions(self, max_age: float) -> int:
        """
        Delete executions whose run time is more than ``max_age`` seconds ago.

        Runs that wait or are under way stay.

        :return: how many rows were deleted
        """
        using = self._db or router.db_for_write(self.model)
        limit = clock.now() - timedelta(seconds=max_age)
        old = (
            self.using(using)
            .final()
            .filter(run_time__lt=limit)
            .order_by("run_time", "id")
        )
        deleted = 0
        while ids := list(old.values_list("id", flat=True)[:PRUNE_ROWS]):
            deleted += self.using(using).filter(id__in=ids).delete()[0]
        return deleted


class DjangoJobExecution(models.Model):
    """
    One occurrence of a job: what became of it, when, where and why.

    The row outlives its job; ``job_name`` keeps the name. ``fire_key`` makes sure that
    each occurrence is claimed once; it is null for run-nows and retries. Consecutive
    occurrences that did not run for one reason are one row: ``run_time`` the first,
    ``last_run_time`` the last, ``occurrences`` how many (null: more than 1,000).
    ``duration`` and ``finished`` (seconds since 1970) are the earlier package's.
    """

    class Status(models.TextChoices):
        QUEUED = "Queued", _("Queued")
        CLAIMED = "Claimed", _("Claimed")
        SENT = "Started execution", _("Started execution")
        SUCCESS = "Executed", _("Executed")
        ERROR = "Error!", _("Error!")
        MISSED = "Missed!", _("Missed!")
        MAX_INSTANCES = "Max instances!", _("Max instances!")
        COALESCED = "Coalesced", _("Coalesced")
        LOST = "Lost", _("Lost")
        CANCELLED = "Cancelled", _("Cancelled")

    class Origin(models.TextChoices):
        SCHEDULE = "schedule", _("schedule")
        MANUAL = "manual", _("run now")
        RETRY = "retry", _("retry")

    QUEUED = Status.QUEUED.value
    CLAIMED = Status.CLAIMED.value
    SENT = STARTED = Status.SENT.value
    SUCCESS = Status.SUCCESS.value
    ERROR = Status.ERROR.value
    MISSED = Status.MISSED.value
    MAX_INSTANCES = Status.MAX_INSTANCES.value
    COALESCED = Status.COALESCED.value
    LOST = Status.LOST.value
    CANCELLED = Status.CANCELLED.value
    STATUS_CHOICES = Status.choices
    #: Statuses of executions whose outcome is open.
    ACTIVE = (QUEUED, CLAIMED, SENT)
    #: Statuses of executions that occupy one of their job's instances.
    RUNNING = (CLAIMED, SENT)

    id = models.BigAutoField(primary_key=True)
    job = models.ForeignKey(
        DjangoJob,
        verbose_name=_("job"),
        null=True,
        blank=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        # The index over (job, run_time, id) serves.
        db_index=False,
    )
    job_name = models.CharField(_("job name"), max_length=255, default="", blank=True)
    status = models.CharField(_("status"), max_length=50, choices=Status.choices)
    run_time = UTCDateTimeField(_("run time"))
    last_run_time = UTCDateTimeField(_("last run time"), null=True, blank=True)
    occurrences = models.IntegerField(
        _("occurrences"), null=True, blank=True, default=1
    )
    nominal_time = UTCDateTimeField(_("nominal time"), null=True, blank=True)
    fire_key = KeyField(max_length=120, null=True, editable=False)
    attempt = models.PositiveSmallIntegerField(_("attempt"), default=1)
    losses = models.PositiveSmallIntegerField(_("losses"), default=0)
    owner = models.ForeignKey(
        "SchedulerProcess",
        verbose_name=_("scheduler"),
        null=True,
        blank=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        # Owners are looked up only among active executions, which have their index.
        db_index=False,
        related_name="executions",
    )
    claim_id = UidField(null=True, blank=True, editable=False)
    executor = KeyField(_("executor"), max_length=100, default="", blank=True)
    origin = models.CharField(
        _("origin"), max_length=10, choices=Origin.choices, default=Origin.SCHEDULE
    )
    requested_by = models.CharField(
        _("requested by"), max_length=255, default="", blank=True
    )
    retry_of = models.ForeignKey(
        "self",
        verbose_name=_("retry of"),
        null=True,
        blank=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="retries",
    )
    expires_time = UTCDateTimeField(_("expires"), null=True, blank=True)
    claimed_time = UTCDateTimeField(_("claimed"), null=True, blank=True)
    started_time = UTCDateTimeField(_("started"), null=True, blank=True)
    finished_time = UTCDateTimeField(_("finished"), null=True, blank=True)
    duration = models.DecimalField(
        _("duration"), max_digits=15, decimal_places=2, null=True, blank=True
    )
    finished = models.DecimalField(
        max_digits=15, decimal_places=2, null=True, blank=True, editable=False
    )
    exception = models.CharField(_("exception"), max_length=1000, null=True, blank=True)
    traceback = models.TextField(_("traceback"), null=True, blank=True)
    note = models.TextField(_("note"), default="", blank=True)

    objects = DjangoJobExecutionManager()

    class Meta:
        ordering = ("-run_time", "-id")
        verbose_name = _("job execution")
        verbose_name_plural = _("job executions")
        indexes = [
            models.Index(fields=["run_time", "id"], name="apscheduler_exec_time"),
            models.Index(fields=["job", "run_time", "id"], name="apscheduler_exec_job"),
            ACTIVE_EXECUTIONS,
        ]
        constraints = [
            # Not unique=True, which on PostgreSQL adds a second index for LIKE.
            models.UniqueConstraint(fields=["fire_key"], name="apscheduler_exec_once"),
        ]
        permissions = [
            ("cancel_execution", "Can cancel an execution"),
            ("export_execution", "Can export executions"),
            ("view_sensitive", "Can see arguments, results and tracebacks"),
        ]

    def __str__(self) -> str:
        # Without the status, which changes: texts like this one are kept in logs.
        when = self.run_time.astimezone(timezone.utc)
        return f"{self.job_name or self.job_id}, {when:%Y-%m-%d %H:%M:%S} UTC"


class SchedulerProcess(models.Model):
    """
    One start of a scheduler. What it claims is its own while its lease lasts.

    Ids are never reused: a scheduler that was taken for dead comes back as a new row.
    """

    class State(models.TextChoices):
        ALIVE = "alive", _("alive")
        DRAINING = "draining", _("draining")
        DEAD = "dead", _("dead")

    id = models.BigAutoField(primary_key=True)
    host = models.CharField(_("host"), max_length=255)
    pid = models.IntegerField(_("process id"))
    state = models.CharField(
        _("state"), max_length=10, choices=State.choices, default=State.ALIVE
    )
    lease_until = UTCDateTimeField(_("lease until"))
    started_time = UTCDateTimeField(_("started"))
    tick_time = UTCDateTimeField(_("last tick"), null=True, blank=True)
    executors = models.TextField(_("executors"), default="{}", help_text=_("JSON."))
    release = models.CharField(_("release"), max_length=255, default="", blank=True)
    declarations = models.TextField(default="[]", editable=False)
    unresolved = models.TextField(default="[]", editable=False)
    backends = models.TextField(default="[]", editable=False)
    version = models.CharField(_("version"), max_length=100, default="", blank=True)

    class Meta:
        ordering = ("-started_time", "-id")
        verbose_name = _("scheduler")
        verbose_name_plural = _("schedulers")
        indexes = [
            models.Index(fields=["state", "lease_until"], name="apscheduler_proc_lease")
        ]

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"


class SchedulerCommand(models.Model):
    """
    A request to the schedulers from anywhere: run a job now, cancel an execution.

    ``token`` makes asking twice the same as asking once.
    """

    class Kind(models.TextChoices):
        RUN = "run", _("run")
        CANCEL = "cancel", _("cancel")

    id = models.BigAutoField(primary_key=True)
    kind = models.CharField(_("kind"), max_length=10, choices=Kind.choices)
    token = KeyField(max_length=255, unique=True)
    job_id = KeyField(_("job"), max_length=255, default="", blank=True)
    execution_id = models.BigIntegerField(_("execution"), null=True, blank=True)
    requested_by = models.CharField(
        _("requested by"), max_length=255, default="", blank=True
    )
    created_time = UTCDateTimeField(_("created"))
    expires_time = UTCDateTimeField(_("expires"), null=True, blank=True)
    claimed_by = models.ForeignKey(
        SchedulerProcess,
        verbose_name=_("claimed by"),
        null=True,
        blank=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="commands",
    )
    done_time = UTCDateTimeField(_("done"), null=True, blank=True)
    note = models.TextField(_("note"), default="", blank=True)

    class Meta:
        ordering = ("-id",)
        verbose_name = _("command")
        verbose_name_plural = _("commands")
        indexes = [
            models.Index(fields=["done_time", "id"], name="apscheduler_command_open")
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.job_id or self.execution_id}"


class SchedulerControl(models.Model):
    """
    The one row that every claim reads: is everything paused, has anything changed.

    ``edit_sequence`` grows with each edit, for databases that cannot notify.
    """

    #: The primary key of the only row.
    ROW = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=ROW)
    paused = models.BooleanField(_("paused"), default=False)
    paused_by = models.CharField(_("paused by"), max_length=255, default="", blank=True)
    pause_reason = models.CharField(_("reason"), max_length=255, default="", blank=True)
    paused_time = UTCDateTimeField(_("paused since"), null=True, blank=True)
    edit_sequence = models.BigIntegerField(default=0)

    class Meta:
        verbose_name = _("control")
        verbose_name_plural = _("control")

    def __str__(self) -> str:
        return "paused" if self.paused else "running"


class SchedulerUpkeep(models.Model):
    """
    The one row that says how far housekeeping has come, and who is at it.

    ``revision`` grows with each step of the roll-ups: of two schedulers that took the
    same step only the first can write it.
    """

    #: The primary key of the only row.
    ROW = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=ROW)
    revision = models.BigIntegerField(default=0)
    counted_id = models.BigIntegerField(
        default=0, help_text="Executions up to this id are in the roll-ups."
    )
    open_ids = models.TextField(
        default="[]", help_text="JSON. Those up to counted_id that had not ended."
    )
    seen_id = models.BigIntegerField(default=0)
    seen_time = UTCDateTimeField(null=True, blank=True)
    busy_until = UTCDateTimeField(null=True, blank=True)
    cleared_time = UTCDateTimeField(_("cleared"), null=True, blank=True)

    class Meta:
        verbose_name = _("housekeeping")
        verbose_name_plural = _("housekeeping")

    def __str__(self) -> str:
        return f"counted up to {self.counted_id}"


class ExecutionRollup(models.Model):
    """
    How many executions of an hour, or of a job on a day, ended in which way.

    Rows with period "hour" count all jobs together and have no ``job_id``; rows with
    period "day" count one job. Hours and days are those of the run time, in UTC. They
    stay when the executions that they count are deleted. ``durations`` and ``lateness``
    (start after run time) are histograms, see `django_apscheduler.rollups`.
    """

    class Period(models.TextChoices):
        HOUR = "hour", _("hour")
        DAY = "day", _("day")

    id = models.BigAutoField(primary_key=True)
    period = KeyField(_("period"), max_length=4, choices=Period.choices)
    start_time = UTCDateTimeField(_("start"))
    job_id = KeyField(_("job"), max_length=255, default="", blank=True)
    status = KeyField(
        _("status"), max_length=50, choices=DjangoJobExecution.Status.choices
    )
    runs = models.BigIntegerField(_("executions"), default=0)
    occurrences = models.BigIntegerField(_("occurrences"), default=0)
    seconds = models.FloatField(_("seconds in all"), default=0.0)
    longest = models.FloatField(_("longest, in seconds"), default=0.0)
    durations = models.TextField(default="{}", help_text="JSON.")
    late_seconds = models.FloatField(_("seconds late in all"), default=0.0)
    latest = models.FloatField(_("latest, in seconds"), default=0.0)
    lateness = models.TextField(default="{}", help_text="JSON.")

    class Meta:
        verbose_name = _("roll-up")
        verbose_name_plural = _("roll-ups")
        constraints = [
            # The status before the time: what did not go well is few of the rows, and
            # the dashboard looks for it alone.
            models.UniqueConstraint(
                fields=["period", "status", "start_time", "job_id"],
                name="apscheduler_rollup_once",
            )
        ]
        indexes = [
            models.Index(fields=["job_id", "start_time"], name="apscheduler_rollup_job")
        ]

    def __str__(self) -> str:
        return f"{self.job_id or self.period} {self.start_time} ({self.status})"
