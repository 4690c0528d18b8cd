"""Adding, changing, finding and removing jobs through a scheduler."""

import io
import json
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from django_apscheduler import events as codes
from django_apscheduler.jobstores.base import (
    ConflictingIdError,
    ExecutionLookupError,
    JobLookupError,
)
from django_apscheduler.schedulers.adding import NeverFiresError
from django_apscheduler.triggers.cron import CronTrigger
from django_apscheduler.triggers.interval import IntervalTrigger
from tests.schedulers.conftest import NOON, SteppedScheduler

MINUTE = timedelta(minutes=1)


def body(*args, **kwargs):
    return args


def picky(one):
    return one


def test_a_tentative_job_gets_its_run_time_when_the_scheduler_starts(scheduler, manual):
    job = scheduler.add_job(body, "interval", minutes=1, id="a")
    assert job.pending and job.next_run_time is None
    assert scheduler.get_jobs() == [job] and scheduler.get_job("a") is job
    manual.advance(3600)
    scheduler.start()
    assert not job.pending
    assert job.next_run_time == NOON + timedelta(hours=1, minutes=1)


def test_defaults_fill_what_a_job_does_not_say(manual):
    scheduler = SteppedScheduler(
        job_defaults={"coalesce": "no", "max_instances": "3", "misfire_grace_time": 99}
    )
    plain = scheduler.add_job(body, "interval", minutes=1)
    saying = scheduler.add_job(
        body, "interval", minutes=1, coalesce=True, misfire_grace_time=None
    )
    scheduler.start()
    assert (plain.coalesce, plain.max_instances, plain.misfire_grace_time) == (
        False,
        3,
        99,
    )
    assert (saying.coalesce, saying.max_instances, saying.misfire_grace_time) == (
        True,
        3,
        None,
    )
    scheduler.shutdown()


def test_a_job_without_trigger_runs_at_once_and_cannot_be_late(scheduler, manual):
    scheduler.start()
    job = scheduler.add_job(body)
    assert job.next_run_time == NOON
    assert job.misfire_grace_time is None


def test_a_first_run_time_may_be_given_and_none_adds_the_job_paused(scheduler):
    scheduler.start()
    given = scheduler.add_job(body, "interval", minutes=1, next_run_time=NOON)
    paused = scheduler.add_job(body, "interval", minutes=1, next_run_time=None)
    assert given.next_run_time == NOON
    assert paused.next_run_time is None
    assert scheduler.get_jobs() == [given, paused]


def test_a_triggers_zone_is_the_schedulers_unless_it_names_its_own(manual):
    scheduler = SteppedScheduler(timezone="Asia/Kolkata")
    assert scheduler.add_job(body, "cron", hour=3).trigger.timezone == ZoneInfo(
        "Asia/Kolkata"
    )
    other = scheduler.add_job(body, "cron", hour=3, timezone="Europe/Berlin")
    assert other.trigger.timezone == ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize("running", [False, True])
def test_a_trigger_that_never_fires_is_refused_at_once(scheduler, running):
    if running:
        scheduler.start()
    with pytest.raises(NeverFiresError, match=r"will never fire.*name no date"):
        scheduler.add_job(body, "cron", month=2, day=30)
    with pytest.raises(NeverFiresError):
        scheduler.add_job(body, "interval", minutes=1, end_date=NOON)
    assert scheduler.get_jobs() == []
    job = scheduler.add_job(body, "interval", minutes=1, id="a")
    if running:
        with pytest.raises(NeverFiresError):
            scheduler.reschedule_job("a", trigger="cron", month=2, day=30)
        with pytest.raises(NeverFiresError):
            job.modify(name="new", trigger=CronTrigger(month=2, day=30, timezone="UTC"))
        assert job.name == "body", "all or nothing"
        assert job.next_run_time == NOON + MINUTE


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"trigger": "moon"}, LookupError, 'No trigger by the name "moon".*interval'),
        ({"trigger": 5}, TypeError, "Expected a trigger instance, the alias.*got int"),
        ({"trigger": "interval", "minuets": 1}, TypeError, "minuets"),
        (
            {"trigger": IntervalTrigger(minutes=1, timezone="UTC"), "minutes": 2},
            TypeError,
            "takes no further arguments",
        ),
        ({"jobstore": "tape"}, LookupError, '"tape"; this scheduler has default'),
        ({"executor": "gpu"}, LookupError, '"gpu"; this scheduler has default'),
        ({"func": "no.such:thing"}, LookupError, "no.such"),
        ({"args": [1], "kwargs": {1: 2}}, ValueError, "keywords must be strings"),
    ],
)
def test_bad_jobs_are_refused_and_nothing_is_lost(scheduler, options, error, message):
    scheduler.start()
    kept = scheduler.add_job(body, "interval", minutes=1)
    with pytest.raises(error, match=message):
        scheduler.add_job(**{"func": body, **options})
    assert scheduler.get_jobs() == [kept]


def test_what_a_tentative_job_lacks_is_told_when_the_scheduler_starts(scheduler):
    scheduler.add_job(body, executor="gpu")
    with pytest.raises(LookupError, match=r'"gpu".*add_executor\(\)'):
        scheduler.start()
    assert not scheduler.running
    scheduler.add_executor("debug", "gpu")
    scheduler.start()
    assert len(scheduler.get_jobs()) == 1


def test_an_id_can_be_had_once_unless_it_is_replaced(scheduler):
    scheduler.start()
    scheduler.add_job(body, "interval", minutes=1, id="a")
    with pytest.raises(ConflictingIdError, match=r"\(a\) conflicts"):
        scheduler.add_job(body, "interval", minutes=1, id="a")
    scheduler.add_job(body, "interval", minutes=5, id="a", replace_existing=True)
    (job,) = scheduler.get_jobs()
    assert job.trigger.interval == 5 * MINUTE


def test_many_jobs_in_one_call(scheduler):
    scheduler.start()
    jobs = scheduler.add_jobs(
        {"func": body, "trigger": "interval", "minutes": n, "id": f"job-{n}"}
        for n in range(1, 4)
    )
    assert [job.id for job in jobs] == ["job-1", "job-2", "job-3"]
    assert scheduler.get_jobs() == jobs


WRONG = [
    ({"func": "no.such:thing"}, LookupError, "job 1: could not import 'no.such'"),
    ({"id": "b", "func": picky}, ValueError, r"job 1 \('b'\): picky\(one\) cannot be"),
    ({"id": "b", "trigger": "hourly"}, LookupError, r"job 1 \('b'\): No trigger by"),
    ({"id": "b", "max_instances": 0}, TypeError, r"job 1 \('b'\): max_instances must"),
    ({"id": "a"}, ConflictingIdError, r"job 1 \('a'\): job 0 of the same call has"),
    ({"id": "old"}, ConflictingIdError, r"job 1 \('old'\): Job identifier \(old\)"),
    ({"jobstore": "default"}, TypeError, r"job 1: jobstore must be given to add_jobs"),
    (
        {"id": "b", "trigger": "cron", "month": 2, "day": 30},
        ValueError,
        r"job 1 \('b'\): the trigger cron.* will never fire",
    ),
]


@pytest.mark.parametrize(("wrong", "error", "message"), WRONG)
def test_of_many_jobs_the_wrong_one_is_named_and_none_is_added(
    scheduler, events, wrong, error, message
):
    scheduler.start()
    scheduler.add_job(body, "date", id="old")
    events.clear()
    jobs = [
        {"func": body, "trigger": "date", "id": "a"},
        {"func": body, "trigger": "date", **wrong},
        {"func": body, "trigger": "date", "id": "c"},
    ]
    with pytest.raises(error, match=f"^{message}"):
        scheduler.add_jobs(iter(jobs))
    assert [job.id for job in scheduler.get_jobs()] == ["old"]
    assert events == []


def test_what_is_no_dictionary_of_options_is_named(scheduler):
    with pytest.raises(TypeError, match="^job 1: expected a dictionary .*; got tuple$"):
        scheduler.add_jobs([{"func": body, "id": "a"}, (body, "date")])
    assert scheduler.get_jobs() == []


def test_a_job_that_never_fires_is_named_before_the_start_too(scheduler):
    never = {"func": body, "trigger": "cron", "month": 2, "day": 30}
    with pytest.raises(ValueError, match=r"^job 1 \('b'\): the trigger .* never fire"):
        scheduler.add_jobs([{"func": body, "id": "a"}, {**never, "id": "b"}])
    assert scheduler.get_jobs() == []


def test_many_jobs_are_one_line_of_the_log(scheduler, caplog):
    scheduler.start()
    caplog.set_level("INFO")
    scheduler.add_jobs({"func": body, "id": f"job-{n}"} for n in range(3))
    lines = [message for message in caplog.messages if message.startswith("Added")]
    assert lines == ['Added 3 jobs to job store "default"']


def test_the_decorator_schedules_and_returns_the_function(scheduler):
    @scheduler.scheduled_job("cron", hour=3, id="nightly", max_instances=2)
    def nightly():
        return 1

    assert nightly() == 1
    scheduler.start()
    assert scheduler.get_job("nightly").max_instances == 2


def test_modifying_changes_what_is_named_and_tells(scheduler, events):
    scheduler.start()
    job = scheduler.add_job(body, "interval", minutes=1, id="a")
    events.clear()
    assert job.modify(max_instances=6, name="Alternate name") is job
    stored = scheduler.get_job("a")
    assert (stored.max_instances, stored.name) == (6, "Alternate name")
    assert [event.code for event in events] == [codes.EVENT_JOB_MODIFIED]
    scheduler.modify_job("a", misfire_grace_time=7)
    assert job.misfire_grace_time == 7
    with pytest.raises(ValueError, match="may not be changed"):
        job.modify(id="b")


def test_rescheduling_counts_from_now(scheduler, manual):
    scheduler.start()
    job = scheduler.add_job(body, "interval", minutes=1, id="a")
    manual.advance(30)
    job.reschedule("interval", minutes=10)
    assert job.next_run_time == NOON + timedelta(seconds=630)
    scheduler.reschedule_job("a", trigger="cron", minute="*/5")
    assert job.next_run_time == NOON + 5 * MINUTE


def test_rescheduling_a_paused_job_leaves_it_paused(scheduler):
    scheduler.start()
    job = scheduler.add_job(body, "interval", minutes=1).pause()
    job.reschedule("interval", minutes=10)
    assert job.next_run_time is None
    assert job.resume().next_run_time == NOON + 10 * MINUTE


def test_the_same_trigger_again_changes_no_run_time(scheduler, manual):
    scheduler.start()
    job = scheduler.add_job(body, "interval", minutes=10)
    manual.advance(60)
    job.modify(trigger=IntervalTrigger(minutes=10, timezone="UTC"))
    assert job.next_run_time == NOON + 10 * MINUTE


def test_pausing_clears_the_run_time_and_resuming_counts_from_now(scheduler, manual):
    scheduler.start()
    job = scheduler.add_job(body, "cron", minute="*/10", id="a")
    scheduler.pause_job("a")
    assert job.next_run_time is None
    manual.advance(3600)
    scheduler.process_jobs()
    assert scheduler.resume_job("a") is job
    assert job.next_run_time == NOON + timedelta(hours=1)


def test_resuming_a_job_that_is_not_paused_changes_nothing(scheduler, manual):
    scheduler.start()
    job = scheduler.add_job(body, "interval", minutes=10, next_run_time=NOON + MINUTE)
    manual.advance(30)
    job.resume()
    assert job.next_run_time == NOON + MINUTE


def test_a_job_whose_schedule_ended_while_paused_is_removed_on_resume(
    scheduler, manual
):
    scheduler.start()
    job = scheduler.add_job(
        body, "interval", minutes=1, end_date=NOON + 2 * MINUTE, id="a"
    ).pause()
    manual.advance(3600)
    assert scheduler.resume_job(job.id) is None
    assert scheduler.get_job("a") is None


def test_a_date_that_passes_during_a_pause_was_missed(scheduler, manual, events):
    scheduler.start()
    run_date = NOON + MINUTE
    scheduler.add_job(
        body, "date", run_date=run_date, id="a", misfire_grace_time=None
    ).pause()
    manual.advance(3600)
    events.clear()
    assert scheduler.resume_job("a") is None
    assert [(e.code, e.job_id) for e in events] == [
        (codes.EVENT_JOB_MISSED, "a"),
        (codes.EVENT_JOB_REMOVED, "a"),
    ]
    assert events[0].scheduled_run_time == run_date


def test_removing(scheduler, events):
    scheduler.start()
    scheduler.add_job(body, "interval", minutes=1, id="a")
    job = scheduler.add_job(body, "interval", minutes=1, id="b")
    events.clear()
    scheduler.remove_job("a")
    job.remove()
    assert [event.job_id for event in events] == ["a", "b"]
    assert scheduler.get_jobs() == []
    with pytest.raises(JobLookupError, match="^No job by the id of a was found$"):
        scheduler.remove_job("a")
    with pytest.raises(JobLookupError):
        job.modify(name="x")
    assert scheduler.get_job("a") is None


def test_removing_a_tentative_job(scheduler):
    scheduler.add_job(body, "interval", minutes=1, id="a")
    scheduler.remove_job("a")
    assert scheduler.get_jobs() == []
    with pytest.raises(JobLookupError):
        scheduler.remove_job("a")


def test_stores_are_told_apart(scheduler, events):
    scheduler.add_jobstore("memory", "second")
    scheduler.start()
    scheduler.add_job(body, "interval", minutes=1, id="a")
    scheduler.add_job(body, "interval", minutes=2, id="b", jobstore="second")
    assert [job.id for job in scheduler.get_jobs("second")] == ["b"]
    assert scheduler.get_job("b", "default") is None
    assert scheduler.get_job("b").id == "b"
    scheduler.modify_job("b", name="found in the second store")
    scheduler.remove_all_jobs("second")
    assert [job.id for job in scheduler.get_jobs()] == ["a"]
    assert (events[-1].code, events[-1].alias) == (
        codes.EVENT_ALL_JOBS_REMOVED,
        "second",
    )
    with pytest.raises(KeyError, match="No such job store: third"):
        scheduler.remove_job("a", "third")


def test_the_printed_list(scheduler):
    out = io.StringIO()
    scheduler.add_job(body, "interval", minutes=1, name="Minutely")
    scheduler.print_jobs(out=out)
    assert out.getvalue() == (
        "Pending jobs:\n    Minutely (trigger: interval[0:01:00], pending)\n"
    )
    scheduler.add_jobstore("memory", "empty")
    scheduler.start()
    out = io.StringIO()
    scheduler.print_jobs(out=out)
    assert out.getvalue() == (
        "Jobstore default:\n"
        "    Minutely (trigger: interval[0:01:00], "
        "next run at: 2026-06-01 12:01:00 UTC)\n"
        "Jobstore empty:\n"
        "    No scheduled jobs\n"
    )


def test_run_now_runs_a_job_once_more(scheduler, manual):
    ran = []
    scheduler.start()
    scheduler.add_job(ran.append, "interval", minutes=1, args=[1], id="a")
    woken = scheduler.woken
    assert scheduler.run_job_now("a") is None
    assert scheduler.woken > woken
    scheduler.process_jobs()
    assert ran == [1]
    assert scheduler.get_job("a").next_run_time == NOON + MINUTE
    with pytest.raises(JobLookupError):
        scheduler.run_job_now("nope")
    with pytest.raises(ExecutionLookupError, match="No execution by the id of 7"):
        scheduler.run_job_now("a", retry_of=7)


def test_exported_jobs_are_readable_and_come_back_the_same(scheduler, tmp_path, manual):
    scheduler.start()
    scheduler.add_job(
        body,
        CronTrigger(day_of_week="mon-fri", hour=9, timezone="Europe/Berlin"),
        args=[1, "two", NOON],
        kwargs={"when": timedelta(days=1)},
        id="a",
        name="Report",
        misfire_grace_time=60,
        max_instances=2,
    )
    scheduler.add_job(body, "interval", minutes=5, id="b").pause()
    path = tmp_path / "jobs.json"
    scheduler.export_jobs(path)
    document = json.loads(path.read_text())
    assert document["version"] == 1
    assert document["jobs"][0]["func"] == f"{__name__}:body"
    before = {job.id: job for job in scheduler.get_jobs()}
    scheduler.remove_all_jobs()
    scheduler.import_jobs(str(path))
    for job in scheduler.get_jobs():
        for name in ("func", "args", "kwargs", "name", "trigger", "next_run_time"):
            assert getattr(job, name) == getattr(before[job.id], name), name
        assert job.misfire_grace_time == before[job.id].misfire_grace_time
    assert scheduler.get_job("a").max_instances == 2
    with pytest.raises(ValueError, match="expected a file of exported jobs"):
        scheduler.import_jobs(io.StringIO("[1]"))


def test_third_party_triggers_come_by_entry_point(scheduler, monkeypatch):
    from django_apscheduler.schedulers import plugins

    class Point:
        name = "minutely"

        def load(self):
            return lambda timezone: IntervalTrigger(minutes=1, timezone=timezone)

    def entry_points(group):
        return [Point()] if group == "django_apscheduler.triggers" else []

    monkeypatch.setattr(plugins, "entry_points", entry_points)
    plugins._entry_points.cache_clear()
    try:
        scheduler.start()
        job = scheduler.add_job(body, "minutely")
        assert job.next_run_time == NOON + MINUTE
    finally:
        plugins._entry_points.cache_clear()
