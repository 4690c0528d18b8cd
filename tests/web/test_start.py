"""Starting a scheduler in a web worker: once, at the right moment, on shared stores."""

from __future__ import annotations

import threading

import pytest
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError

from django_apscheduler import get_scheduler, registry, web
from django_apscheduler.models import DjangoJob, SchedulerProcess
from django_apscheduler.schedulers.background import BackgroundScheduler
from django_apscheduler.sync import synchronise
from tests.web.shop import tasks

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def stopped():
    yield
    web.stop()
    registry.set_scheduler(None)


def messages(caplog):
    return [
        (record.levelname, record.getMessage())
        for record in caplog.records
        if record.name == "django_apscheduler.web"
    ]


def test_the_started_scheduler_is_the_processs(caplog):
    web.start()
    scheduler = get_scheduler()
    assert type(scheduler) is BackgroundScheduler
    assert scheduler.running is True
    row = SchedulerProcess.objects.get()
    assert (row.state, row.declarations) == (SchedulerProcess.State.ALIVE, "[]")
    assert web.stop() is True
    assert SchedulerProcess.objects.get().state == SchedulerProcess.State.DEAD
    assert type(get_scheduler()).__name__ == "RemoteScheduler"
    assert web.stop() is True
    assert messages(caplog) == []


def test_a_second_start_is_said_and_changes_nothing(caplog):
    web.start()
    first = get_scheduler()
    web.start()
    assert get_scheduler() is first
    assert SchedulerProcess.objects.count() == 1
    ((level, message),) = messages(caplog)
    assert level == "WARNING"
    assert "has been started in this process" in message


def test_runapschedulers_own_is_left_alone(caplog):
    own = BackgroundScheduler()
    own.start()
    registry.set_scheduler(own)
    web.start()
    assert get_scheduler() is own
    assert web.stop() is True
    assert own.running is True
    own.shutdown()
    assert len(messages(caplog)) == 1


def test_it_can_be_started_again_after_a_stop():
    web.start()
    web.stop()
    web.start()
    assert get_scheduler().running is True


def test_while_apps_load_it_is_refused(monkeypatch):
    monkeypatch.setattr(apps, "ready", False)
    with pytest.raises(RuntimeError, match="migrate, shell and every other command"):
        web.start()


def test_stores_that_workers_cannot_share_are_refused(settings):
    settings.APSCHEDULER = {
        "jobstores": {
            "own": {"class": "tests.web.shop.tasks:OwnStore"},
            "ram": {"type": "memory"},
        }
    }
    with pytest.raises(
        ImproperlyConfigured, match="The job stores own cannot be shared"
    ):
        web.start()
    assert SchedulerProcess.objects.count() == 0
    web.stop()


def declare(monkeypatch, **options):
    monkeypatch.setattr(registry, "_declarations", {})
    monkeypatch.setattr(registry, "_discovered", True)
    registry.scheduled_job("interval", hours=1, id="beat", **options)(tasks.beat)


def test_declared_jobs_are_compared_and_left_to_the_deploy(monkeypatch, caplog):
    declare(monkeypatch)
    web.start()
    assert DjangoJob.objects.count() == 0
    assert SchedulerProcess.objects.get().declarations == '["beat"]'
    ((level, message),) = messages(caplog)
    assert level == "WARNING"
    assert "differ in beat" in message
    assert "apscheduler sync" in message
    web.stop()
    caplog.clear()
    synchronise()
    web.start()
    assert messages(caplog) == []


def test_a_declared_schedule_that_has_ended_keeps_no_worker_from_serving(
    monkeypatch, caplog
):
    declare(monkeypatch)
    registry.scheduled_job("cron", year=2020, id="past")(tasks.beat)
    web.start()
    assert get_scheduler().running is True
    ((level, message),) = messages(caplog)
    assert level == "ERROR"
    assert "past" in message
    assert "run all the same" in message


def test_declared_jobs_in_memory_run_in_the_worker(monkeypatch, settings):
    settings.APSCHEDULER = {
        "jobstores": {"default": {"type": "django"}, "ram": {"type": "memory"}}
    }
    declare(monkeypatch, jobstore="ram")
    web.start()
    assert [job.id for job in get_scheduler().get_jobs("ram")] == ["beat"]


def test_a_database_that_is_away_is_tried_again(monkeypatch, caplog):
    monkeypatch.setattr(web, "RETRY_SECONDS", 0.05)
    real, attempts = web._start, []

    def away_at_first(worker):
        attempts.append(worker)
        if len(attempts) < 3:
            raise OperationalError("could not connect\n")
        real(worker)

    monkeypatch.setattr(web, "_start", away_at_first)
    web.start()
    for _ in range(1000):
        if get_scheduler().running:
            break
        threading.Event().wait(0.02)
    assert len(attempts) == 3
    assert [level for level, _ in messages(caplog)] == ["ERROR", "WARNING"]
    assert "could not connect; it is tried again" in messages(caplog)[0][1]


def test_jobs_that_do_not_end_are_left_behind(caplog):
    web.start()
    scheduler = get_scheduler()
    scheduler.add_job("tests.web.shop.tasks:hold", id="wait")
    assert tasks.BEGUN.wait(30)
    assert web.stop(timeout=0.1) is False
    ((level, message),) = messages(caplog)
    assert level == "ERROR"
    assert "0.1 s though wait had not ended" in message
    # The process would not wait for it either, and the lease is not given back.
    assert scheduler._executors["default"].waits_at_exit is False
    assert SchedulerProcess.objects.get().state != SchedulerProcess.State.DEAD
    tasks.ENOUGH.set()
    scheduler.shutdown()
