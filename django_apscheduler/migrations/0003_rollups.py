"""Roll-ups of the execution log, and the row that says how far they have come."""

from django.db import migrations, models

import django_apscheduler.db


class Migration(migrations.Migration):
    dependencies = [
        ("django_apscheduler", "0002_schedule"),
    ]

    operations = [
        migrations.CreateModel(
            name="ExecutionRollup",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "period",
                    django_apscheduler.db.KeyField(
                        choices=[("hour", "hour"), ("day", "day")],
                        max_length=4,
                        verbose_name="period",
                    ),
                ),
                (
                    "start_time",
                    django_apscheduler.db.UTCDateTimeField(verbose_name="start"),
                ),
                (
                    "job_id",
                    django_apscheduler.db.KeyField(
                        blank=True, default="", max_length=255, verbose_name="job"
                    ),
                ),
                (
                    "status",
                    django_apscheduler.db.KeyField(
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
                ("runs", models.BigIntegerField(default=0, verbose_name="executions")),
                (
                    "occurrences",
                    models.BigIntegerField(default=0, verbose_name="occurrences"),
                ),
                (
                    "seconds",
                    models.FloatField(default=0.0, verbose_name="seconds in all"),
                ),
                (
                    "longest",
                    models.FloatField(default=0.0, verbose_name="longest, in seconds"),
                ),
                ("durations", models.TextField(default="{}", help_text="JSON.")),
                (
                    "late_seconds",
                    models.FloatField(default=0.0, verbose_name="seconds late in all"),
                ),
                (
                    "latest",
                    models.FloatField(default=0.0, verbose_name="latest, in seconds"),
                ),
                ("lateness", models.TextField(default="{}", help_text="JSON.")),
            ],
            options={
                "verbose_name": "roll-up",
                "verbose_name_plural": "roll-ups",
            },
        ),
        migrations.CreateModel(
            name="SchedulerUpkeep",
            fields=[
                (
                    "id",
                    models.PositiveSmallIntegerField(
                        default=1, primary_key=True, serialize=False
                    ),
                ),
                ("revision", models.BigIntegerField(default=0)),
                (
                    "counted_id",
                    models.BigIntegerField(
                        default=0,
                        help_text="Executions up to this id are in the roll-ups.",
                    ),
                ),
                (
                    "open_ids",
                    models.TextField(
                        default="[]",
                        help_text="JSON. Those up to counted_id that had not ended.",
                    ),
                ),
                ("seen_id", models.BigIntegerField(default=0)),
                (
                    "seen_time",
                    django_apscheduler.db.UTCDateTimeField(blank=True, null=True),
                ),
                (
                    "busy_until",
                    django_apscheduler.db.UTCDateTimeField(blank=True, null=True),
                ),
                (
                    "cleared_time",
                    django_apscheduler.db.UTCDateTimeField(
                        blank=True, null=True, verbose_name="cleared"
                    ),
                ),
            ],
            options={
                "verbose_name": "housekeeping",
                "verbose_name_plural": "housekeeping",
            },
        ),
        migrations.AddIndex(
            model_name="djangojob",
            index=django_apscheduler.db.PartialIndex(
                column="state",
                key="finished_time",
                name="apscheduler_job_finished",
                values=["finished"],
            ),
        ),
        migrations.AddIndex(
            model_name="executionrollup",
            index=models.Index(
                fields=["job_id", "start_time"], name="apscheduler_rollup_job"
            ),
        ),
        migrations.AddConstraint(
            model_name="executionrollup",
            constraint=models.UniqueConstraint(
                fields=("period", "status", "start_time", "job_id"),
                name="apscheduler_rollup_once",
            ),
        ),
    ]
