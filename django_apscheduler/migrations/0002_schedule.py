"""From the earlier package's tables to ours; existing rows are carried over."""

import uuid
from datetime import timezone as datetime_timezone

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models
from django.utils import timezone

import django_apscheduler.db

utc = datetime_timezone.utc


LEGACY_ERROR = (
    "This job was written by an earlier version, which kept it as a pickle that is "
    "never read here. Add it again under the same id with replace_existing=True, or "
    "delete it. "
)
LEGACY_NOTE = "Was under way when the tables were upgraded; its outcome is not known."

#: The columns that existed before, and hold times.
LEGACY_TIMES = (("DjangoJob", "next_run_time"), ("DjangoJobExecution", "run_time"))


def stored_zone(connection):
    """Return the zone in which Django stored wall times, or None if instants or UTC."""
    if connection.vendor == "postgresql":
        return None
    zone = connection.timezone or timezone.get_default_timezone()
    return None if str(zone) == "UTC" else zone


def shift_times(apps, connection, shift):
    """Rewrite the old columns' times, a thousand rows at a time."""
    for model_name, field in LEGACY_TIMES:
        rows = apps.get_model("django_apscheduler", model_name)._base_manager.using(
            connection.alias
        )
        last = None
        while True:
            page = rows.exclude(**{field: None}).order_by("pk")
            if last is not None:
                page = page.filter(pk__gt=last)
            page = list(page.only("pk", field)[:1000])
            if not page:
                break
            for row in page:
                setattr(row, field, shift(getattr(row, field)))
            rows.bulk_update(page, [field])
            last = page[-1].pk


def take_all_of_unicode(apps, schema_editor):
    """
    Let tables that MySQL keeps in an older character set hold any text.

    An exception whose message has an emoji could not be written there, and neither
    could all that is written along with it.
    """
    connection = schema_editor.connection
    if connection.vendor != "mysql":
        return
    with connection.cursor() as cursor:
        for name in ("DjangoJob", "DjangoJobExecution"):
            table = apps.get_model("django_apscheduler", name)._meta.db_table
            cursor.execute(
                "SELECT table_collation FROM information_schema.tables "
                "WHERE table_schema = DATABASE() AND table_name = %s",
                [table],
            )
            if not cursor.fetchone()[0].startswith("utf8mb4"):
                quoted = connection.ops.quote_name(table)
                cursor.execute(f"ALTER TABLE {quoted} CONVERT TO CHARACTER SET utf8mb4")


def carry_over(apps, schema_editor):
    connection = schema_editor.connection
    zone = stored_zone(connection)
    if zone is not None:
        shift_times(
            apps, connection, lambda time: time.replace(tzinfo=zone).astimezone(utc)
        )
    job_model = apps.get_model("django_apscheduler", "DjangoJob")
    execution_model = apps.get_model("django_apscheduler", "DjangoJobExecution")
    jobs = job_model._base_manager.using(connection.alias)
    for job in jobs.iterator():
        due = job.next_run_time
        job.uid = uuid.uuid4()
        job.name = job.id
        job.state = "broken"
        job.next_run_time = None
        job.error = LEGACY_ERROR + (
            f"It was due at {due.isoformat()}." if due else "It was paused."
        )
        job.save(using=connection.alias)
    executions = execution_model._base_manager.using(connection.alias)
    executions.filter(status="Started execution").update(
        status="Lost", note=LEGACY_NOTE
    )
    executions.update(job_name=models.F("job_id"))
    control = apps.get_model("django_apscheduler", "SchedulerControl")
    control._base_manager.using(connection.alias).get_or_create(pk=1)


def hand_back(apps, schema_editor):
    """Leave only rows that the earlier tables can hold."""
    connection = schema_editor.connection
    job_model = apps.get_model("django_apscheduler", "DjangoJob")
    execution_model = apps.get_model("django_apscheduler", "DjangoJobExecution")
    jobs = job_model._base_manager.using(connection.alias)
    executions = execution_model._base_manager.using(connection.alias)
    executions.filter(job=None).delete()
    executions.exclude(job_id__in=jobs.values("pk")).delete()
    kept = executions.values("job_id", "run_time").annotate(kept=models.Max("pk"))
    keep = set(kept.values_list("kept", flat=True).order_by())
    doomed = [
        pk
        for pk in executions.values_list("pk", flat=True).iterator()
        if pk not in keep
    ]
    for start in range(0, len(doomed), 500):
        executions.filter(pk__in=doomed[start : start + 500]).delete()
    jobs.filter(job_state=None).update(job_state=b"")
    zone = stored_zone(connection)
    if zone is not None:
        shift_times(
            apps,
            connection,
            lambda time: time.astimezone(zone).replace(tzinfo=utc),
        )


class Migration(migrations.Migration):
    dependencies = [
        (
            "django_apscheduler",
            "0001_squashed_0009_djangojobexecution_unique_job_executions",
        ),
    ]

    operations = [
        migrations.CreateModel(
            name="SchedulerCommand",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "kind",
                    models.CharField(
                        choices=[("run", "run"), ("cancel", "cancel")],
                        max_length=10,
                        verbose_name="kind",
                    ),
                ),
                ("token", django_apscheduler.db.KeyField(max_length=255, unique=True)),
                (
                    "job_id",
                    django_apscheduler.db.KeyField(
                        blank=True, default="", max_length=255, verbose_name="job"
                    ),
                ),
                (
                    "execution_id",
                    models.BigIntegerField(
                        blank=True, null=True, verbose_name="execution"
                    ),
                ),
                (
                    "requested_by",
                    models.CharField(
                        blank=True,
                        default="",
                        max_length=255,
                        verbose_name="requested by",
                    ),
                ),
                (
                    "created_time",
                    django_apscheduler.db.UTCDateTimeField(verbose_name="created"),
                ),
                (
                    "expires_time",
                    django_apscheduler.db.UTCDateTimeField(
                        blank=True, null=True, verbose_name="expires"
                    ),
                ),
                (
                    "done_time",
                    django_apscheduler.db.UTCDateTimeField(
                        blank=True, null=True, verbose_name="done"
                    ),
                ),
                ("note", models.TextField(blank=True, default="", verbose_name="note")),
            ],
            options={
                "verbose_name": "command",
                "verbose_name_plural": "commands",
                "ordering": ("-id",),
            },
        ),
        migrations.CreateModel(
            name="SchedulerControl",
            fields=[
                (
                    "id",
                    models.PositiveSmallIntegerField(
                        default=1, primary_key=True, serialize=False
                    ),
                ),
                ("paused", models.BooleanField(default=False, verbose_name="paused")),
                (
                    "paused_by",
                    models.CharField(
                        blank=True, default="", max_length=255, verbose_name="paused by"
                    ),
                ),
                (
                    "pause_reason",
                    models.CharField(
                        blank=True, default="", max_length=255, verbose_name="reason"
                    ),
                ),
                (
                    "paused_time",
                    django_apscheduler.db.UTCDateTimeField(
                        blank=True, null=True, verbose_name="paused since"
                    ),
                ),
                ("edit_sequence", models.BigIntegerField(default=0)),
            ],
            options={
                "verbose_name": "control",
                "verbose_name_plural": "control",
            },
        ),
        migrations.CreateModel(
            name="SchedulerProcess",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("host", models.CharField(max_length=255, verbose_name="host")),
                ("pid", models.IntegerField(verbose_name="process id")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("alive", "alive"),
                            ("draining", "draining"),
                            ("dead", "dead"),
                        ],
                        default="alive",
                        max_length=10,
                        verbose_name="state",
                    ),
                ),
                (
                    "lease_until",
                    django_apscheduler.db.UTCDateTimeField(verbose_name="lease until"),
                ),
                (
                    "started_time",
                    django_apscheduler.db.UTCDateTimeField(verbose_name="started"),
                ),
                (
                    "tick_time",
                    django_apscheduler.db.UTCDateTimeField(
                        blank=True, null=True, verbose_name="last tick"
                    ),
                ),
                (
                    "executors",
                    models.TextField(
                        default="{}", help_text="JSON.", verbose_name="executors"
                    ),
                ),
                (
                    "release",
                    models.CharField(
                        blank=True, default="", max_length=255, verbose_name="release"
                    ),
                ),
                ("declarations", models.TextField(default="[]", editable=False)),
                ("unresolved", models.TextField(default="[]", editable=False)),
                ("backends", models.TextField(default="[]", editable=False)),
                (
                    "version",
                    models.CharField(
                        blank=True, default="", max_length=100, verbose_name="version"
                    ),
                ),
            ],
            options={
                "verbose_name": "scheduler",
                "verbose_name_plural": "schedulers",
                "ordering": ("-started_time", "-id"),
            },
        ),
        migrations.AlterModelOptions(
            name="djangojob",
            options={
                "ordering": ("next_run_time", "id"),
                "permissions": [
                    ("run_job", "Can run a job now"),
                    ("pause_job", "Can pause and resume jobs"),
                    ("reschedule_job", "Can change the schedule of a job"),
                ],
                "verbose_name": "job",
                "verbose_name_plural": "jobs",
            },
        ),
        migrations.AlterModelOptions(
            name="djangojobexecution",
            options={
                "ordering": ("-run_time", "-id"),
                "permissions": [
                    ("cancel_execution", "Can cancel an execution"),
                    ("export_execution", "Can export executions"),
                    ("view_sensitive", "Can see arguments, results and tracebacks"),
                ],
                "verbose_name": "job execution",
                "verbose_name_plural": "job executions",
            },
        ),
        # Before the constraint goes: on MySQL and MariaDB the foreign key needs an index
        # at any time, and without this one Django would make another, for good.
        migrations.AddIndex(
            model_name="djangojobexecution",
            index=models.Index(
                fields=["job", "run_time", "id"], name="apscheduler_exec_job"
            ),
        ),
        migrations.RemoveConstraint(
            model_name="djangojobexecution",
            name="unique_job_executions",
        ),
        # Before the key that it refers to: a constraint wants both to have one collation.
        migrations.AlterField(
            model_name="djangojobexecution",
            name="job",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                to="django_apscheduler.djangojob",
                verbose_name="job",
            ),
        ),
        # Before there are keys, whose collation it would change, and after the foreign
        # key, which would not let it.
        migrations.RunPython(take_all_of_unicode, migrations.RunPython.noop),
        migrations.AddField(
            model_name="djangojob",
            name="anchor_time",
            field=django_apscheduler.db.UTCDateTimeField(
                blank=True,
                editable=False,
                help_text="The moment that an interval without start date counts from.",
                null=True,
                verbose_name="counts from",
            ),
        ),
        migrations.AddField(
            model_name="djangojob",
            name="args",
            field=models.TextField(
                default="[]", help_text="JSON.", verbose_name="arguments"
            ),
        ),
        migrations.AddField(
            model_name="djangojob",
            name="changed_time",
            field=django_apscheduler.db.UTCDateTimeField(
                blank=True, null=True, verbose_name="changed"
            ),
        ),
        migrations.AddField(
            model_name="djangojob",
            name="coalesce",
            field=models.BooleanField(
                default=True,
                help_text="Run once for all due run times instead of once for each.",
                verbose_name="coalesce",
            ),
        ),
        migrations.AddField(
            model_name="djangojob",
            name="created_time",
            field=django_apscheduler.db.UTCDateTimeField(
                blank=True, null=True, verbose_name="created"
            ),
        ),
        migrations.AddField(
            model_name="djangojob",
            name="declaration",
            field=models.TextField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name="djangojob",
            name="error",
            field=models.TextField(blank=True, default="", verbose_name="error"),
        ),
        migrations.AddField(
            model_name="djangojob",
            name="executor",
            field=django_apscheduler.db.KeyField(
                default="default", max_length=100, verbose_name="executor"
            ),
        ),
        migrations.AddField(
            model_name="djangojob",
            name="finished_time",
            field=django_apscheduler.db.UTCDateTimeField(
                blank=True, null=True, verbose_name="finished"
            ),
        ),
        migrations.AddField(
            model_name="djangojob",
            name="func",
            field=models.CharField(
                default="",
                help_text="Reference to the callable, as module:name.",
                max_length=500,
                verbose_name="callable",
            ),
        ),
        migrations.AddField(
            model_name="djangojob",
            name="kwargs",
            field=models.TextField(
                default="{}", help_text="JSON.", verbose_name="keyword arguments"
            ),
        ),
        migrations.AddField(
            model_name="djangojob",
            name="max_instances",
            field=models.IntegerField(
                default=1,
                validators=[django.core.validators.MinValueValidator(1)],
                verbose_name="max instances",
            ),
        ),
        migrations.AddField(
            model_name="djangojob",
            name="misfire_grace_time",
            field=models.IntegerField(
                blank=True,
                help_text="Seconds a run may be late and still run; empty for no limit.",
                null=True,
                validators=[django.core.validators.MinValueValidator(1)],
                verbose_name="misfire grace time",
            ),
        ),
        migrations.AddField(
            model_name="djangojob",
            name="name",
            field=models.CharField(default="", max_length=255, verbose_name="name"),
        ),
        migrations.AddField(
            model_name="djangojob",
            name="nominal_time",
            field=django_apscheduler.db.UTCDateTimeField(
                blank=True,
                editable=False,
                help_text="The trigger's fire time, before jitter.",
                null=True,
                verbose_name="nominal time",
            ),
        ),
        migrations.AddField(
            model_name="djangojob",
            name="on_lost",
            field=models.CharField(
                choices=[("rerun", "run again"), ("mark", "mark as lost")],
                default="rerun",
                max_length=10,
                verbose_name="when a scheduler dies",
            ),
        ),
        migrations.AddField(
            model_name="djangojob",
            name="overrides",
            field=models.TextField(blank=True, default="[]", editable=False),
        ),
        migrations.AddField(
            model_name="djangojob",
            name="pause_reason",
            field=models.CharField(
                blank=True, default="", max_length=255, verbose_name="reason"
            ),
        ),
        migrations.AddField(
            model_name="djangojob",
            name="paused_by",
            field=models.CharField(
                blank=True, default="", max_length=255, verbose_name="paused by"
            ),
        ),
        migrations.AddField(
            model_name="djangojob",
            name="paused_time",
            field=django_apscheduler.db.UTCDateTimeField(
                blank=True, null=True, verbose_name="paused"
            ),
        ),
        migrations.AddField(
            model_name="djangojob",
            name="resume_time",
            field=django_apscheduler.db.UTCDateTimeField(
                blank=True, null=True, verbose_name="resumes"
            ),
        ),
        migrations.AddField(
            model_name="djangojob",
            name="revision",
            field=models.BigIntegerField(default=1, editable=False),
        ),
        migrations.AddField(
            model_name="djangojob",
            name="signature",
            field=models.CharField(default="", editable=False, max_length=255),
        ),
        migrations.AddField(
            model_name="djangojob",
            name="state",
            field=models.CharField(
                choices=[
                    ("active", "active"),
                    ("paused", "paused"),
                    ("disabled", "disabled"),
                    ("finished", "finished"),
                    ("broken", "broken"),
                ],
                default="active",
                max_length=10,
                verbose_name="state",
            ),
        ),
        migrations.AddField(
            model_name="djangojob",
            name="transactional",
            field=models.BooleanField(default=False, verbose_name="transactional"),
        ),
        migrations.AddField(
            model_name="djangojob",
            name="trigger",
            field=models.TextField(
                default="", help_text="JSON.", verbose_name="trigger"
            ),
        ),
        migrations.AddField(
            model_name="djangojob",
            name="uid",
            field=django_apscheduler.db.UidField(null=True, editable=False),
        ),
        migrations.AddField(
            model_name="djangojobexecution",
            name="attempt",
            field=models.PositiveSmallIntegerField(default=1, verbose_name="attempt"),
        ),
        migrations.AddField(
            model_name="djangojobexecution",
            name="claim_id",
            field=django_apscheduler.db.UidField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name="djangojobexecution",
            name="claimed_time",
            field=django_apscheduler.db.UTCDateTimeField(
                blank=True, null=True, verbose_name="claimed"
            ),
        ),
        migrations.AddField(
            model_name="djangojobexecution",
            name="executor",
            field=django_apscheduler.db.KeyField(
                blank=True, default="", max_length=100, verbose_name="executor"
            ),
        ),
        migrations.AddField(
            model_name="djangojobexecution",
            name="expires_time",
            field=django_apscheduler.db.UTCDateTimeField(
                blank=True, null=True, verbose_name="expires"
            ),
        ),
        migrations.AddField(
            model_name="djangojobexecution",
            name="finished_time",
            field=django_apscheduler.db.UTCDateTimeField(
                blank=True, null=True, verbose_name="finished"
            ),
        ),
        migrations.AddField(
            model_name="djangojobexecution",
            name="fire_key",
            field=django_apscheduler.db.KeyField(
                editable=False, max_length=120, null=True
            ),
        ),
        migrations.AddField(
            model_name="djangojobexecution",
            name="job_name",
            field=models.CharField(
                blank=True, default="", max_length=255, verbose_name="job name"
            ),
        ),
        migrations.AddField(
            model_name="djangojobexecution",
            name="last_run_time",
            field=django_apscheduler.db.UTCDateTimeField(
                blank=True, null=True, verbose_name="last run time"
            ),
        ),
        migrations.AddField(
            model_name="djangojobexecution",
            name="losses",
            field=models.PositiveSmallIntegerField(default=0, verbose_name="losses"),
        ),
        migrations.AddField(
            model_name="djangojobexecution",
            name="nominal_time",
            field=django_apscheduler.db.UTCDateTimeField(
                blank=True, null=True, verbose_name="nominal time"
            ),
        ),
        migrations.AddField(
            model_name="djangojobexecution",
            name="note",
            field=models.TextField(blank=True, default="", verbose_name="note"),
        ),
        migrations.AddField(
            model_name="djangojobexecution",
            name="occurrences",
            field=models.IntegerField(
                blank=True, default=1, null=True, verbose_name="occurrences"
            ),
        ),
        migrations.AddField(
            model_name="djangojobexecution",
            name="origin",
            field=models.CharField(
                choices=[
                    ("schedule", "schedule"),
                    ("manual", "run now"),
                    ("retry", "retry"),
                ],
                default="schedule",
                max_length=10,
                verbose_name="origin",
            ),
        ),
        migrations.AddField(
            model_name="djangojobexecution",
            name="requested_by",
            field=models.CharField(
                blank=True, default="", max_length=255, verbose_name="requested by"
            ),
        ),
        migrations.AddField(
            model_name="djangojobexecution",
            name="retry_of",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="retries",
                to="django_apscheduler.djangojobexecution",
                verbose_name="retry of",
            ),
        ),
        migrations.AddField(
            model_name="djangojobexecution",
            name="started_time",
            field=django_apscheduler.db.UTCDateTimeField(
                blank=True, null=True, verbose_name="started"
            ),
        ),
        migrations.AlterField(
            model_name="djangojob",
            name="id",
            field=django_apscheduler.db.KeyField(
                max_length=255, primary_key=True, serialize=False, verbose_name="id"
            ),
        ),
        migrations.AlterField(
            model_name="djangojob",
            name="job_state",
            field=models.BinaryField(
                help_text="Left by the earlier package; never read.", null=True
            ),
        ),
        migrations.AlterField(
            model_name="djangojob",
            name="next_run_time",
            field=django_apscheduler.db.UTCDateTimeField(
                blank=True, null=True, verbose_name="next run time"
            ),
        ),
        migrations.AlterField(
            model_name="djangojobexecution",
            name="duration",
            field=models.DecimalField(
                blank=True,
                decimal_places=2,
                max_digits=15,
                null=True,
                verbose_name="duration",
            ),
        ),
        migrations.AlterField(
            model_name="djangojobexecution",
            name="exception",
            field=models.CharField(
                blank=True, max_length=1000, null=True, verbose_name="exception"
            ),
        ),
        migrations.AlterField(
            model_name="djangojobexecution",
            name="finished",
            field=models.DecimalField(
                blank=True, decimal_places=2, editable=False, max_digits=15, null=True
            ),
        ),
        migrations.AlterField(
            model_name="djangojobexecution",
            name="run_time",
            field=django_apscheduler.db.UTCDateTimeField(verbose_name="run time"),
        ),
        migrations.AlterField(
            model_name="djangojobexecution",
            name="status",
            field=models.CharField(
                choices=[
                    ("Queued", "Queued"),
                    ("Claimed", "Claimed"),
                    ("Started execution", "Started execution"),
                    ("Executed", "Executed"),
                    ("Error!", "Error!"),
                    ("Missed!", "Missed!"),
                    ("Max instances!", "Max instances!"),
                    ("Coalesced", "Coalesced"),
                    ("Lost", "Lost"),
                    ("Cancelled", "Cancelled"),
                ],
                max_length=50,
                verbose_name="status",
            ),
        ),
        migrations.AlterField(
            model_name="djangojobexecution",
            name="traceback",
            field=models.TextField(blank=True, null=True, verbose_name="traceback"),
        ),
        migrations.AddIndex(
            model_name="djangojob",
            index=models.Index(
                fields=["executor", "next_run_time", "id"], name="apscheduler_job_due"
            ),
        ),
        migrations.AddIndex(
            model_name="schedulerprocess",
            index=models.Index(
                fields=["state", "lease_until"], name="apscheduler_proc_lease"
            ),
        ),
        migrations.AddField(
            model_name="schedulercommand",
            name="claimed_by",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="commands",
                to="django_apscheduler.schedulerprocess",
                verbose_name="claimed by",
            ),
        ),
        migrations.AddField(
            model_name="djangojobexecution",
            name="owner",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="executions",
                to="django_apscheduler.schedulerprocess",
                verbose_name="scheduler",
            ),
        ),
        migrations.AddIndex(
            model_name="djangojobexecution",
            index=models.Index(fields=["run_time", "id"], name="apscheduler_exec_time"),
        ),
        migrations.AddIndex(
            model_name="djangojobexecution",
            index=django_apscheduler.db.PartialIndex(
                key="job",
                column="status",
                values=["Queued", "Claimed", "Started execution"],
                name="apscheduler_exec_active",
            ),
        ),
        migrations.AddConstraint(
            model_name="djangojobexecution",
            constraint=models.UniqueConstraint(
                fields=("fire_key",), name="apscheduler_exec_once"
            ),
        ),
        migrations.AddIndex(
            model_name="djangojob",
            index=django_apscheduler.db.PartialIndex(
                key="resume_time",
                column="state",
                values=["paused", "broken"],
                name="apscheduler_job_halted",
            ),
        ),
        migrations.AddIndex(
            model_name="schedulercommand",
            index=models.Index(
                fields=["done_time", "id"], name="apscheduler_command_open"
            ),
        ),
        migrations.RunPython(carry_over, hand_back),
        migrations.AlterField(
            model_name="djangojob",
            name="uid",
            field=django_apscheduler.db.UidField(default=uuid.uuid4, editable=False),
        ),
    ]
