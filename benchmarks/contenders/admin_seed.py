"""
Seed a database with jobs, a log of many executions and their sums.

Jobs are added through the scheduler, so that their signatures hold; executions and their
sums are made by the server, ten million in some minutes. PostgreSQL only.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

#: Days over which the executions are spread, up to now.
DAYS = 30


def add_jobs(number: int, now: datetime) -> None:
    """Add jobs of all kinds through the scheduler, due over the next day."""
    from django_apscheduler import get_scheduler

    kinds = (
        {"trigger": "interval", "hours": 24},
        {"trigger": "cron", "hour": 3, "minute": 30, "timezone": "Europe/Berlin"},
        {"trigger": "calendarinterval", "days": 1, "hour": 12},
        {"trigger": "cron", "day_of_week": "mon-fri", "hour": "9-17"},
    )
    jobs = []
    for place in range(number):
        options = dict(kinds[place % len(kinds)])
        if options["trigger"] == "interval":
            options["start_date"] = now + timedelta(seconds=86400 * place / number)
        jobs.append(
            {
                "func": "workload:nothing",
                "id": f"job-{place:05}",
                "name": f"Report no. {place}",
                "executor": "default",
                **options,
            }
        )
    get_scheduler().add_jobs(jobs)


EXECUTIONS = """
INSERT INTO django_apscheduler_djangojobexecution (
    job_id, job_name, status, run_time, occurrences, fire_key, attempt, losses,
    owner_id, executor, origin, requested_by, claimed_time, started_time,
    finished_time, exception, note)
SELECT
    job_id, 'Report no. ' || job_number, status, run_time, 1, 'bench-' || n, 1, 0,
    owner_id, 'default', origin, CASE origin WHEN 'manual' THEN 'ana' ELSE '' END,
    run_time, CASE WHEN began THEN run_time + interval '40 ms' END,
    CASE WHEN began AND ended
        THEN run_time + interval '40 ms' + took * interval '1 ms' END,
    CASE status WHEN 'Error!' THEN 'ValueError: order ' || n || ' has no address' END,
    ''
FROM (
    SELECT n,
        %(now)s::timestamptz - (%(rows)s - n) * (%(days)s * interval '1 day' / %(rows)s)
            AS run_time,
        job_number,
        'job-' || lpad(job_number::text, 5, '0') AS job_id,
        first_owner + n %% 20 AS owner_id,
        CASE WHEN h %% 100 = 7 THEN 'manual' ELSE 'schedule' END AS origin,
        status,
        status IN ('Executed', 'Error!', 'Started execution') AS began,
        status <> 'Started execution' AS ended,
        20 + h %% 4000 + CASE WHEN h %% 500 = 3 THEN 60000 ELSE 0 END AS took
    FROM (
        SELECT n, h, luck, first_owner,
            -- One run in ten is the busiest job's.
            CASE WHEN n %% 10 = 0 THEN 0 ELSE h %% %(jobs)s END AS job_number,
            CASE
                WHEN n > %(rows)s - 20 THEN 'Started execution'
                WHEN n > %(rows)s - 40 THEN 'Queued'
                WHEN luck < 980 THEN 'Executed'
                WHEN luck < 990 THEN 'Error!'
                WHEN luck < 995 THEN 'Missed!'
                WHEN luck < 998 THEN 'Coalesced'
                ELSE 'Lost'
            END AS status
        FROM (
            SELECT n, (n * 2654435761 %% 1000000007)::bigint AS h,
                -- Of the number alone, so that no job has all of the bad luck.
                n * 40503 %% 65521 %% 1000 AS luck,
                (SELECT min(id) FROM django_apscheduler_schedulerprocess) AS first_owner
            FROM generate_series(1, %(rows)s::bigint) AS n
        ) AS numbers
    ) AS chosen
) AS rows
"""

ROLLUPS = """
INSERT INTO django_apscheduler_executionrollup (
    period, start_time, job_id, status, runs, occurrences, seconds, longest, durations,
    late_seconds, latest, lateness)
SELECT
    '{period}', date_trunc('{period}', run_time AT TIME ZONE 'UTC') AT TIME ZONE 'UTC',
    {job}, status, count(*), count(*), count(*) * 2.0, 4.0,
    '{{"40":' || count(*) / 2 || ',"48":' || count(*) - count(*) / 2 || '}}',
    count(*) * 0.04, 0.04, '{{"22":' || count(*) || '}}'
FROM django_apscheduler_djangojobexecution
WHERE status NOT IN ('Queued', 'Claimed', 'Started execution')
GROUP BY 2, {group} status
"""


#: A job in a hundred waits for somebody, and one in a thousand has ended.
STATES = """
UPDATE django_apscheduler_djangojob SET
    state = 'paused', next_run_time = NULL, paused_by = 'ana',
    paused_time = %(now)s, pause_reason = 'until the move is over'
WHERE right(id, 2) = '13';
UPDATE django_apscheduler_djangojob SET
    state = 'finished', next_run_time = NULL, finished_time = %(now)s
WHERE right(id, 3) = '500';
UPDATE django_apscheduler_djangojob SET
    state = 'broken', next_run_time = NULL, error = 'its callable is not there'
WHERE right(id, 3) = '600';
"""

#: One job in a thousand is overdue, so that its list has rows.
OVERDUE = """
UPDATE django_apscheduler_djangojob SET next_run_time = now() - interval '1 hour'
WHERE right(id, 3) = '700';
"""

#: What a scheduler would have done since: it lives, and moved on what was due.
FRESHEN = """
UPDATE django_apscheduler_djangojob
SET next_run_time = next_run_time
    + ceil(extract(epoch FROM now() - next_run_time) / 86400) * interval '1 day'
WHERE next_run_time < now();
UPDATE django_apscheduler_schedulerprocess
SET lease_until = now() + interval '8 hours', tick_time = now()
WHERE state = 'alive';
"""


def is_filled() -> bool:
    """Tell whether a database was seeded to the end."""
    from django_apscheduler.models import SchedulerUpkeep

    return SchedulerUpkeep.objects.exists()


def freshen() -> None:
    """Bring a database that was seeded earlier up to the present."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(FRESHEN)
        cursor.execute(OVERDUE)
        cursor.execute("VACUUM ANALYZE django_apscheduler_djangojob")


def fill(executions: int, jobs: int) -> None:
    """Make schedulers, jobs, executions and their sums."""
    from django.core.management import call_command
    from django.db import connection

    from django_apscheduler.models import SchedulerProcess, SchedulerUpkeep

    # What an attempt that was cut off has left.
    call_command("flush", interactive=False, verbosity=0)
    now = datetime.now(timezone.utc)
    SchedulerProcess.objects.bulk_create(
        SchedulerProcess(
            host=f"web-{number % 4}",
            pid=1000 + number,
            state="alive" if number == 19 else "dead",
            lease_until=now + timedelta(hours=8 if number == 19 else -8),
            started_time=now - timedelta(days=DAYS),
            tick_time=now,
            executors='{"default":20}',
        )
        for number in range(20)
    )
    add_jobs(jobs, now)
    with connection.cursor() as cursor:
        cursor.execute(STATES, {"now": now})
        cursor.execute(OVERDUE)
        cursor.execute(
            EXECUTIONS, {"rows": executions, "jobs": jobs, "now": now, "days": DAYS}
        )
        hour, day = {"period": "hour"}, {"period": "day"}
        cursor.execute(ROLLUPS.format(job="''", group="", **hour))
        cursor.execute(ROLLUPS.format(job="job_id", group="job_id,", **day))
        cursor.execute("SELECT max(id) FROM django_apscheduler_djangojobexecution")
        newest = cursor.fetchone()[0]
        # What autovacuum would do; without it, indexes alone do not answer.
        cursor.execute("VACUUM ANALYZE")
    # Last: it says that the rest is there.
    SchedulerUpkeep.objects.create(
        pk=SchedulerUpkeep.ROW, counted_id=newest, seen_id=newest, seen_time=now
    )
