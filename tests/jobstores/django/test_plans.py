"""What schedulers ask again and again costs the same however long the log is."""

from __future__ import annotations

import pytest
from django.db import connection, transaction

from django_apscheduler.jobstores.django import orphans
from django_apscheduler.models import DjangoJobExecution
from tests.jobstores.django.support import MINUTE, NOON, add, finish, make_store
from tests.plans import noting, plan, whole_tables

pytestmark = pytest.mark.django_db

reads_plans = pytest.mark.skipif(
    connection.vendor not in ("sqlite", "postgresql"),
    reason="reads the plans of SQLite and PostgreSQL: run it on one of these",
)


def assert_none_reads_a_whole_table(statements, least):
    assert len(statements) >= least
    for sql, params in list(statements):
        assert whole_tables(plan(sql, params)) == [], sql


@reads_plans
def test_an_idle_scheduler_reads_along_indexes():
    store = make_store()
    add(store, "job", next_run_time=NOON + MINUTE)
    store.claim_due({"default": 9}, NOON)
    with noting() as statements:
        assert store.claim_due({"default": 9}, NOON).runs == []
        assert not orphans.anything_to_do(store, NOON)
        assert orphans.reconcile(store, NOON) == []
        assert store.resume_due() == store.retry_broken() == []
    assert_none_reads_a_whole_table(statements, 6)


@reads_plans
def test_so_does_one_that_claims_sweeps_and_is_asked_for_runs():
    store = make_store()
    add(store, "job")
    store.run_job_now("job")
    with noting() as statements:
        (run, *_) = store.claim_due({"default": 9}, NOON).runs
        orphans.sweep(store, NOON)
        finish(store, run)
        store.claim_due({"default": 9}, NOON + MINUTE)
        store.remove_job("job")
    assert_none_reads_a_whole_table(statements, 10)


@pytest.mark.django_db(transaction=True)
def test_instances_are_counted_without_the_history_of_their_jobs():
    store = make_store()
    DjangoJobExecution.objects.bulk_create(
        DjangoJobExecution(job_id=f"job-{n % 50}", status="Executed", run_time=NOON)
        for n in range(3000)
    )
    with connection.cursor() as cursor:
        table = DjangoJobExecution._meta.db_table
        cursor.execute(
            f"ANALYZE {'TABLE' if connection.vendor == 'mysql' else ''} {table}"
        )
    with noting() as statements, store.transaction() as sql:
        assert sql.count_running([f"job-{n}" for n in range(300)]) == {}
    ((query, params),) = statements
    with transaction.atomic():
        steps = plan(query, params)
    assert any("apscheduler_exec_active" in step for step in steps), steps
