"""The tables as the earlier package of this name left them after its nine migrations."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    replaces = [
        ("django_apscheduler", "0001_initial"),
        ("django_apscheduler", "0002_auto_20180412_0758"),
        ("django_apscheduler", "0003_auto_20200716_1632"),
        ("django_apscheduler", "0004_auto_20200717_1043"),
        ("django_apscheduler", "0005_migrate_name_to_id"),
        ("django_apscheduler", "0006_remove_djangojob_name"),
        ("django_apscheduler", "0007_auto_20200717_1404"),
        ("django_apscheduler", "0008_remove_djangojobexecution_started"),
        ("django_apscheduler", "0009_djangojobexecution_unique_job_executions"),
    ]

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="DjangoJob",
            fields=[
                (
                    "id",
                    models.CharField(max_length=255, primary_key=True, serialize=False),
                ),
                (
                    "next_run_time",
                    models.DateTimeField(blank=True, db_index=True, null=True),
                ),
                ("job_state", models.BinaryField()),
            ],
        ),
        migrations.CreateModel(
            name="DjangoJobExecution",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "job",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        to="django_apscheduler.djangojob",
                    ),
                ),
                ("status", models.CharField(max_length=50)),
                ("run_time", models.DateTimeField(db_index=True)),
                (
                    "duration",
                    models.DecimalField(decimal_places=2, max_digits=15, null=True),
                ),
                (
                    "finished",
                    models.DecimalField(decimal_places=2, max_digits=15, null=True),
                ),
                ("exception", models.CharField(max_length=1000, null=True)),
                ("traceback", models.TextField(null=True)),
            ],
        ),
        migrations.AddConstraint(
            model_name="djangojobexecution",
            constraint=models.UniqueConstraint(
                fields=("job", "run_time"), name="unique_job_executions"
            ),
        ),
    ]
