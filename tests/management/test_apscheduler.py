"""``manage.py apscheduler …``: each subcommand, what it prints and how it ends."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from django_apscheduler import clock, get_scheduler, registry
from django_apscheduler.management.commands import apscheduler as command
from django_apscheduler.models import (
    DjangoJob,
    DjangoJobExecution,
    SchedulerCommand,
    SchedulerControl,
)

NOW = datetime(2026, 5, 30, 12, 0, tzinfo=timezone.utc)

pytestmark = pytest.mark.django_db


def work():
    pass


@pytest.fixture(autouse=True)
def moved(monkeypatch):
    """Nothing declared, and a clock that stands still."""
    monkeypatch.setattr(registry, "_declarations", {})
    monkeypatch.setattr(registry, "_discovered", True)
    with clock.use(clock.ManualClock(NOW)) as manual:
        yield manual
    registry.set_scheduler(None)


def apscheduler(*arguments):
    out = StringIO()
    call_command("apscheduler", *arguments, stdout=out)
    return out.getvalue()


def add(id="job", **options):
    options.setdefault("hours", 1)
    return get_scheduler().add_job(work, "interval", id=id, **options)


class TestCancel:
    def test_what_waits_is_cancelled_what_runs_is_asked_to_end(self):
        add("one")
        add("two")
        waiting, running = map(get_scheduler().run_job_now, ("one", "two"))
        rows = DjangoJobExecution.objects
        rows.filter(pk=running).update(status="Started execution")
        assert apscheduler("cancel", str(waiting), str(running)) == (
            f"Cancelled: execution {waiting}\n"
            f"Its scheduler was asked to end execution {running}\n"
        )
        assert rows.get(pk=waiting).status == "Cancelled"
        assert "by " in rows.get(pk=waiting).note
        assert rows.get(pk=running).status == "Started execution"
        assert SchedulerCommand.objects.get(done_time=None).execution_id == running

    def test_what_cannot_be_cancelled_is_told_after_the_rest(self):
        add()
        over, waiting = (get_scheduler().run_job_now("job") for _ in "ab")
        DjangoJobExecution.objects.filter(pk=over).update(status="Executed")
        with pytest.raises(CommandError) as error:
            apscheduler("cancel", "999999", str(over), str(waiting))
        assert str(error.value) == (
            "No execution by the id of 999999 was found; "
            f"Execution {over} was over already: Executed"
        )
        assert DjangoJobExecution.objects.get(pk=waiting).status == "Cancelled"


class TestList:
    def test_an_empty_store(self):
        assert apscheduler("list") == "No jobs\n"

    def test_jobs_with_their_schedules_in_words_those_that_run_next_first(self):
        add("late", hours=5)
        add("soon", hours=0, minutes=5)
        add("held")
        get_scheduler().pause_job("held")
        DjangoJob.objects.create(id="odd", trigger="{", state="active")
        DjangoJob.objects.create(id="bad", state="broken", error="Trace\nValueError: x")
        DjangoJob.objects.create(id="old", state="finished", trigger="")
        text = apscheduler("list")
        assert [line.rstrip() for line in text.splitlines()[:6]] == [
            "5 jobs",
            "  next run             job   schedule",
            "  12:05:00 (in 5 min)  soon  every 5 minutes",
            "  17:00:00 (in 5 h)    late  every 5 hours",
            "  broken               bad   ValueError: x",
            "  paused               held  every hour",
        ]
        assert re.fullmatch(r"  never +odd +cannot be read: .+", text.splitlines()[6])
        assert "old" not in text
        assert re.search(r"^  finished +old ", apscheduler("list", "--all"), re.M)

    def test_a_long_list_is_cut_and_says_how_many_more(self, monkeypatch):
        for number in range(5):
            add(f"job-{number}", hours=number + 1)
        text = apscheduler("list", "--limit", "2")
        assert text.splitlines()[0] == "5 jobs"
        assert text.splitlines()[-1] == (
            "  and 3 more (manage.py apscheduler list --limit 0)"
        )
        assert "job-1" in text and "job-2" not in text
        assert "more" not in apscheduler("list", "--limit", "0")
        assert "more" not in apscheduler("list", "--limit", "5")
        with pytest.raises(CommandError, match="a whole number, 0 or more; got '-1'"):
            apscheduler("list", "--limit=-1")
        monkeypatch.setattr(command, "LISTED_JOBS", 4)
        assert apscheduler("list").splitlines()[-1].startswith("  and 1 more")


class TestSync:
    def test_it_applies_what_the_code_declares(self):
        registry.scheduled_job("cron", hour=3, id="nightly")(work)
        text = apscheduler("sync", "--dry-run")
        assert text.splitlines() == [
            "  + nightly: added, as declared in code",
            "",
            "Nothing was changed: this was a dry run",
        ]
        assert not DjangoJob.objects.exists()
        assert "  + nightly: added" in apscheduler("sync")
        assert DjangoJob.objects.get().state == "active"
        assert (
            apscheduler("sync")
            == "Nothing to change; 1 declared jobs are as they should be\n"
        )

    def test_a_job_that_could_not_run_is_an_error(self):
        registry.scheduled_job("cron", month=2, day=30, id="never")(work)
        with pytest.raises(CommandError, match="its trigger never fires"):
            apscheduler("sync")


class TestPauseAndResume:
    def test_single_jobs(self):
        add("a")
        add("b")
        assert apscheduler("pause", "a", "b", "--reason", "holidays") == (
            "Paused: a\nPaused: b\n"
        )
        job = DjangoJob.objects.get(id="a")
        assert (job.state, job.pause_reason) == ("paused", "holidays")
        assert job.paused_by.endswith("(command line)")
        assert apscheduler("resume", "a") == (
            "Resumed: a, next run 13:00:00 (in 1 h)\n"
        )
        assert DjangoJob.objects.get(id="a").state == "active"
        assert DjangoJob.objects.get(id="b").state == "paused"

    def test_everything_at_once(self):
        add("a")
        assert "Everything is paused" in apscheduler("pause", "--all", "--reason", "r")
        control = SchedulerControl.objects.get()
        assert (control.paused, control.pause_reason) == (True, "r")
        assert DjangoJob.objects.get().state == "active"
        assert apscheduler("resume", "--all").startswith("Resumed")
        assert SchedulerControl.objects.get().paused is False

    def test_an_unknown_job_is_named_after_the_others_are_done(self):
        add("b")
        with pytest.raises(CommandError) as raised:
            apscheduler("pause", "a", "b", "c")
        assert str(raised.value) == (
            "There is no job a, c; manage.py apscheduler list shows the ids"
        )
        assert DjangoJob.objects.get(id="b").state == "paused"

    @pytest.mark.parametrize("command", ["pause", "resume"])
    def test_jobs_or_all_must_be_named_and_not_both(self, command):
        with pytest.raises(CommandError, match="name at least one job, or --all"):
            apscheduler(command)
        with pytest.raises(CommandError, match="give --all or ids, not both; got a"):
            apscheduler(command, "a", "--all")

    def test_a_job_that_ended_while_it_was_paused_is_told(self, moved):
        add("a", end_date=NOW + timedelta(hours=2))
        get_scheduler().pause_job("a")
        moved.advance(timedelta(hours=3))
        assert apscheduler("resume", "a") == "Ended while it was paused: a\n"


class TestRunNow:
    def test_a_run_is_queued_in_the_users_name(self):
        add("a")
        text = apscheduler("run", "a")
        execution = DjangoJobExecution.objects.get()
        assert text == f"Asked for: a (execution {execution.pk})\n"
        assert (execution.status, execution.origin) == ("Queued", "manual")
        assert execution.requested_by.endswith("(command line)")
        assert DjangoJob.objects.get().next_run_time == NOW + timedelta(hours=1)

    def test_an_unknown_job(self):
        with pytest.raises(CommandError, match="There is no job a;"):
            apscheduler("run", "a")

    def test_a_broken_job_says_why(self):
        add("a")
        DjangoJob.objects.update(state="broken", error="It cannot be imported.")
        with pytest.raises(CommandError, match="It cannot be imported"):
            apscheduler("run", "a")


class TestResign:
    def test_rows_edited_by_hand_are_signed_anew(self):
        add("a", args=[])
        add("b")
        DjangoJob.objects.filter(id="a").update(func=f"{__name__}:add")
        assert apscheduler("resign", "b") == "Signed anew: 0 jobs\n"
        assert apscheduler("resign") == "Signed anew: 1 job\n"
        assert get_scheduler().get_job("a").func_ref == f"{__name__}:add"


class TestCleanup:
    def _row(self, days):
        return DjangoJobExecution.objects.create(
            job_name="a", status="Executed", run_time=NOW - timedelta(days=days)
        )

    def test_old_rows_are_deleted(self):
        kept = self._row(days=29)
        self._row(days=31)
        assert apscheduler("cleanup") == (
            "Deleted from default: executions 1, finished jobs 0, dead schedulers 0\n"
        )
        assert list(DjangoJobExecution.objects.all()) == [kept]
        assert "executions 1," in apscheduler("cleanup", "--days", "0.5")

    def test_settings_may_keep_everything(self):
        self._row(days=400)
        with override_settings(APSCHEDULER={"retention": {"days": None}}):
            assert "executions 0," in apscheduler("cleanup")
        with pytest.raises(CommandError, match="--days must be 0 or more; got -1"):
            apscheduler("cleanup", "--days=-1")


def test_faulty_settings_are_told_in_one_line():
    with override_settings(APSCHEDULER={"timezone": "Mars"}):
        with pytest.raises(CommandError, match="settings.APSCHEDULER cannot be used"):
            apscheduler("list")
