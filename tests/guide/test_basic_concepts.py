"""User guide, "Basic concepts" and "Choosing the right scheduler, job stores…"."""

from __future__ import annotations

import asyncio
import importlib
import os
import threading
from datetime import timedelta

import pytest

from django_apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED
from django_apscheduler.executors.asyncio import AsyncIOExecutor
from django_apscheduler.executors.debug import DebugExecutor
from django_apscheduler.executors.pool import ProcessPoolExecutor, ThreadPoolExecutor
from django_apscheduler.jobstores.memory import MemoryJobStore
from django_apscheduler.schedulers.asyncio import AsyncIOScheduler
from django_apscheduler.schedulers.background import BackgroundScheduler
from django_apscheduler.schedulers.blocking import BlockingScheduler
from django_apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from django_apscheduler.triggers.combining import AndTrigger, OrTrigger
from django_apscheduler.triggers.cron import CronTrigger
from django_apscheduler.triggers.date import DateTrigger
from django_apscheduler.triggers.interval import IntervalTrigger

from .conftest import NOON, PATIENCE

MINUTE = timedelta(minutes=1)


class TestBasicConcepts:
    """User guide, "Basic concepts"."""

    @pytest.mark.parametrize(
        ("kind", "base"),
        [
            ("triggers", "BaseTrigger"),
            ("jobstores", "BaseJobStore"),
            ("executors", "BaseExecutor"),
            ("schedulers", "BaseScheduler"),
        ],
    )
    def test_there_are_four_kinds_of_components(self, kind, base):
        """There are triggers, job stores, executors and schedulers."""
        module = importlib.import_module(f"django_apscheduler.{kind}.base")
        assert isinstance(getattr(module, base), type)

    def test_each_job_has_its_own_trigger(self, scheduler, clock):
        """A job's own trigger determines when that job runs next."""
        scheduler.start()
        often = scheduler.add_job(os.getpid, "interval", minutes=1)
        rarely = scheduler.add_job(os.getpid, "interval", hours=1)
        assert often.next_run_time == NOON + timedelta(minutes=1)
        assert rarely.next_run_time == NOON + timedelta(hours=1)

    @pytest.mark.parametrize(
        "trigger",
        [
            DateTrigger(NOON + MINUTE),
            IntervalTrigger(minutes=5, start_date=NOON, timezone="UTC"),
            CronTrigger(hour="*/2", timezone="UTC"),
            CalendarIntervalTrigger(days=1, hour=3, timezone="UTC"),
            AndTrigger(
                [
                    CronTrigger(hour=5, timezone="UTC"),
                    CronTrigger(day="3", hour="*", timezone="UTC"),
                ]
            ),
            OrTrigger(
                [
                    CronTrigger(hour=5, timezone="UTC"),
                    CronTrigger(day=3, timezone="UTC"),
                ]
            ),
        ],
        ids=lambda trigger: type(trigger).__name__,
    )
    def test_triggers_are_stateless(self, trigger):
        """Beyond their initial configuration triggers keep no state: the same question
        gets the same answer, whatever was asked between."""
        first = trigger.get_next_fire_time(None, NOON)
        later = trigger.get_next_fire_time(first, first)
        assert trigger.get_next_fire_time(None, NOON) == first
        assert trigger.get_next_fire_time(first, first) == later
        assert first >= NOON

    def test_the_default_job_store_keeps_the_jobs_in_memory(self, scheduler):
        """The default job store simply keeps the jobs in memory, unserialised: what no
        serialiser could carry comes back as the very same object."""
        lock = threading.Lock()
        scheduler.start()
        scheduler.add_job(lambda lock: None, "interval", hours=1, args=[lock], id="it")
        assert scheduler.get_job("it").args[0] is lock
        assert isinstance(scheduler._jobstores["default"], MemoryJobStore)

    def test_executors_run_jobs_in_a_thread_pool(self, background, clock):
        """Executors typically submit the callable to a pool, here of threads."""
        ran_in = []
        ran = threading.Event()

        def body():
            ran_in.append(threading.current_thread())
            ran.set()

        scheduler = background()
        scheduler.start()
        scheduler.add_job(body)
        assert ran.wait(PATIENCE)
        assert ran_in[0] not in (threading.main_thread(), scheduler._thread)

    def test_executors_run_jobs_in_a_process_pool(self, background):
        """… or of processes, as a secondary executor beside the threads."""
        done = threading.Event()
        events = {}

        def note(event):
            events[event.job_id] = event
            if len(events) == 2:
                done.set()

        scheduler = background()
        scheduler.add_executor("processpool", "processes", max_workers=1)
        scheduler.add_listener(note, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)
        scheduler.start()
        scheduler.add_job(os.getpid, id="in a thread")
        scheduler.add_job(os.getpid, id="in a process", executor="processes")
        assert done.wait(PATIENCE * 2)
        assert events["in a thread"].retval == os.getpid()
        assert events["in a process"].code == EVENT_JOB_EXECUTED
        assert events["in a process"].retval != os.getpid()

    def test_a_finished_job_becomes_an_event(self, scheduler, events):
        """When the job is done, the executor tells the scheduler, which emits an event."""
        scheduler.start()
        scheduler.add_job(divmod, args=(7, 2), id="it")
        scheduler.process_jobs()
        (event,) = [e for e in events if e.code == EVENT_JOB_EXECUTED]
        assert (event.job_id, event.retval) == ("it", (3, 1))

    def test_the_scheduler_is_the_interface_to_all_components(self, scheduler):
        """Job stores and executors are configured, and jobs added, modified and removed,
        through the scheduler."""
        scheduler.add_jobstore("memory", "second")
        scheduler.add_executor("debug", "other")
        scheduler.start()
        scheduler.add_job(
            os.getpid, "interval", hours=1, id="it", jobstore="second", executor="other"
        )
        scheduler.modify_job("it", "second", name="by another name")
        assert scheduler.get_job("it", "second").name == "by another name"
        scheduler.remove_job("it", "second")
        assert scheduler.get_jobs("second") == []


class TestChoosing:
    """User guide, "Choosing the right scheduler, job stores and executors"."""

    def test_blocking_scheduler_is_the_only_thing_running(self, clock):
        """BlockingScheduler: ``start()`` keeps the calling thread until shutdown."""
        scheduler = BlockingScheduler()
        threads = []

        def body():
            threads.append(threading.current_thread())
            scheduler.shutdown(wait=False)

        scheduler.add_executor("debug")
        scheduler.add_job(body)
        scheduler.start()
        assert threads == [threading.current_thread()]
        assert not scheduler.running

    def test_background_scheduler_runs_inside_the_application(self, background, clock):
        """BackgroundScheduler: runs in the background while the application goes on."""
        scheduler = background()
        ran = threading.Event()
        scheduler.start()
        scheduler.add_job(ran.set, "interval", minutes=1)
        assert not ran.is_set()
        clock.advance(MINUTE)
        assert ran.wait(PATIENCE)

    def test_asyncio_scheduler_runs_on_the_loop(self):
        """AsyncIOScheduler: for applications that use asyncio; coroutine functions run
        on the application's own event loop."""

        async def application():
            loops = []
            ran = asyncio.Event()

            async def body():
                loops.append(asyncio.get_running_loop())
                ran.set()

            scheduler = AsyncIOScheduler()
            scheduler.start()
            scheduler.add_job(body)
            await asyncio.wait_for(ran.wait(), PATIENCE)
            scheduler.shutdown()
            return loops == [asyncio.get_running_loop()]

        assert asyncio.run(application()) is True

    def test_recreated_jobs_need_no_persistence(self, background, clock):
        """Jobs that the application makes again at each start can live in the default
        MemoryJobStore: a new scheduler starts with none."""
        first = background()
        first.start()
        first.add_job(os.getpid, "interval", hours=1)
        first.shutdown()
        second = background()
        second.start()
        assert second.get_jobs() == []

    def test_the_default_executor_is_a_thread_pool(self, background):
        """The default ThreadPoolExecutor is good enough for most purposes."""
        scheduler = background()
        scheduler.start()
        assert isinstance(scheduler._executors["default"], ThreadPoolExecutor)

    @pytest.mark.parametrize(
        ("alias", "cls"),
        [
            ("threadpool", ThreadPoolExecutor),
            ("processpool", ProcessPoolExecutor),
            ("debug", DebugExecutor),
            ("asyncio", AsyncIOExecutor),
        ],
    )
    def test_executors_have_plugin_names(self, alias, cls, background):
        """Every executor type has a plugin name."""
        scheduler = background()
        scheduler.add_executor(alias, "named")
        assert type(scheduler._executors["named"]) is cls

    def test_job_stores_have_plugin_names(self, background):
        """Every job store type has a plugin name."""
        scheduler = background()
        scheduler.add_jobstore("memory", "named")
        assert type(scheduler._jobstores["named"]) is MemoryJobStore

    def test_an_unknown_plugin_name_is_refused(self, background):
        """A plugin name nobody knows is an error that repeats it."""
        scheduler = background()
        with pytest.raises(LookupError, match="carrierpigeon"):
            scheduler.add_executor("carrierpigeon")
        with pytest.raises(LookupError, match="shoebox"):
            scheduler.add_jobstore("shoebox")
        with pytest.raises(LookupError, match="full moon"):
            scheduler.add_job(os.getpid, "full moon")

    def test_schedulers_are_known_by_their_modules(self):
        """The scheduler classes are found where the guide says."""
        assert [
            cls.__module__.removeprefix("django_apscheduler.schedulers.")
            for cls in (BlockingScheduler, BackgroundScheduler, AsyncIOScheduler)
        ] == ["blocking", "background", "asyncio"]
