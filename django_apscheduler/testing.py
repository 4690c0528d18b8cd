"""
Help for testing projects that schedule jobs.

`run_due` runs what is due, synchronously and inside the test's transaction, through the
same claim that schedulers make::

    class ReminderTest(TestCase):
        def test_a_reminder_goes_out(self):
            get_scheduler().add_job(send_reminder, "interval", hours=1, id="reminder")
            run_due(timezone.now() + timedelta(hours=1))
            self.assertEqual(len(mail.outbox), 1)

With pytest, ``pytest_plugins = ["django_apscheduler.testing"]`` in ``conftest.py`` offers
the fixture ``apscheduler_clock``, a clock that moves only when told to.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from asgiref.sync import async_to_sync

from django_apscheduler import clock, conf, sync, util
from django_apscheduler.clock import ManualClock
from django_apscheduler.executors.debug import DebugExecutor
from django_apscheduler.jobstores.base import ERROR, Outcome, Run
from django_apscheduler.models import DjangoJob
from django_apscheduler.schedulers.remote import RemoteScheduler
from django_apscheduler.sync import synchronise

__all__ = [
    "ManualClock",
    "Ran",
    "SchedulerTestMixin",
    "movable_clock",
    "run_due",
    "synchronise",
]

#: Rounds of claiming after which jobs are taken to schedule each other for ever.
MOST_ROUNDS = 1000

_FAR = timedelta(days=36_525)


@dataclass(frozen=True)
class Ran:
    """
    What became of a due run.

    :ivar run_time: aware; for several occurrences that did not run, the first
    :ivar status: as in the execution log: ``Executed``, ``Error!``, ``Missed!``,
        ``Coalesced``, ``Max instances!``
    :ivar count: how many occurrences did not run for this reason; 1 for a run
    """

    job_id: str
    run_time: datetime
    status: str
    retval: Any = None
    exception: BaseException | None = None
    execution_id: int | None = None
    count: int | None = 1


def run_due(
    now: datetime | str | None = None,
    *,
    ids: Collection[str] | None = None,
    raise_exceptions: bool = True,
) -> list[Ran]:
    """
    Run all jobs of the Django stores that are due, one after the other, in this thread.

    Misfires, coalescing, execution rows, events and signals are those of a scheduler.
    All executors are replaced by one that runs bodies at once.

    :param now: the time to go by; naive times are in the default time zone. The clock
        shows it while the jobs run. The present by default, or what a movable clock
        says.
    :param ids: run only these jobs; others wait as if nobody had looked
    :param raise_exceptions: raise what a job raised, once all have run; otherwise it is
        in the answer, with the status ``Error!``
    :return: what became of each run, in the order of their ends
    """
    with ExitStack() as stack:
        if now is not None:
            moment = util.convert_to_datetime(now, util.default_timezone(), "now")
            assert moment is not None
            stack.enter_context(clock.use(ManualClock(moment)))
        settings = conf.configuration()
        for using in sync.django_stores(settings):
            stack.enter_context(_others_wait(using, ids))
        driver = _Driver(settings)
        try:
            driver.run()
        finally:
            driver.leave()
    if raise_exceptions:
        for ran in driver.ran:
            if ran.exception is not None:
                raise ran.exception
    return driver.ran


@contextmanager
def movable_clock(start: datetime | str | None = None) -> Iterator[ManualClock]:
    """
    Have all schedulers of the process go by a clock that moves only when told to.

    :param start: what it shows at first, the present by default
    """
    moment = util.convert_to_datetime(start, util.default_timezone(), "start")
    with clock.use(ManualClock(moment or clock.now())) as manual:
        yield manual


class SchedulerTestMixin:
    """
    For test cases: a movable clock and `run_due`.

    :ivar clock: installed for the length of each test; ``self.clock.advance(3600)``
    :cvar clock_start: what the clock shows at the beginning, the present when None
    """

    clock_start: datetime | str | None = None
    clock: ManualClock

    def setUp(self) -> None:
        manager = movable_clock(self.clock_start)
        self.clock = manager.__enter__()
        self.addCleanup(manager.__exit__, None, None, None)  # type: ignore[attr-defined]
        super().setUp()  # type: ignore[misc]

    def run_due(self, **options: Any) -> list[Ran]:
        """Run what is due by the test's clock; options as for `run_due`."""
        return run_due(**options)


@contextmanager
def _others_wait(using: str, ids: Collection[str] | None) -> Iterator[None]:
    """Keep all jobs but ``ids`` out of sight of the claim."""
    if ids is None:
        yield
        return
    unknown = set(ids) - set(
        DjangoJob.objects.using(using).filter(id__in=ids).values_list("id", flat=True)
    )
    if unknown:
        raise LookupError(f"There is no job {', '.join(sorted(unknown))}")
    now = clock.now()
    others = DjangoJob.objects.using(using).exclude(id__in=ids)
    due = dict(others.filter(next_run_time__lte=now).values_list("id", "next_run_time"))
    DjangoJob.objects.using(using).filter(id__in=due).update(next_run_time=now + _FAR)
    try:
        yield
    finally:
        for job_id, next_run_time in due.items():
            DjangoJob.objects.using(using).filter(
                id=job_id, next_run_time=now + _FAR
            ).update(next_run_time=next_run_time)


class _Here(DebugExecutor):
    """Runs bodies in the calling thread; asynchronous ones see its transaction, too."""

    def submit(self, run: Run) -> None:
        job = run.job
        try:
            func: Callable = job.func
        except LookupError:
            # Told by the run itself, as in any executor.
            pass
        else:
            if util.iscoroutinefunction(func):
                job._func = async_to_sync(func)
        super().submit(run)


class _Driver(RemoteScheduler):
    """A scheduler that claims when told to and writes outcomes at once."""

    def __init__(self, settings: conf.Configuration):
        stores = settings.scheduler_options()["jobstores"]
        super().__init__(
            jobstores={a: s for a, s in stores.items() if sync.is_django(s)},
            executors={alias: _Here() for alias in _executors(settings)},
            job_defaults=settings.job_defaults,
            timezone=settings.timezone,
        )
        self.ran: list[Ran] = []

    def run(self) -> None:
        self._opens_stores()
        for alias, executor in self._executors.items():
            executor.start(self, alias)
        for _ in range(MOST_ROUNDS):
            rounds = [self._round(alias) for alias in self._jobstores]
            if not any(rounds):
                return
        raise RuntimeError(
            f"Jobs are still due after {MOST_ROUNDS} rounds: do they add jobs, or ask "
            "for runs, without end?"
        )

    def _round(self, alias: str) -> bool:
        free = {
            name: executor.free_slots() for name, executor in self._executors.items()
        }
        batch = self._jobstores[alias].claim_due(free)
        self._submit(alias, batch)
        for job, skipped in batch.skipped:
            self.ran.append(
                Ran(job.id, skipped.first, skipped.status, count=skipped.count)
            )
        return bool(batch.runs or batch.skipped)

    def _has_ended(self) -> bool:
        # It never starts, and runs what it claims all the same.
        return False

    def leave(self) -> None:
        for store in self._jobstores.values():
            store.membership.leave()

    def run_begins(self, run: Run) -> bool:
        return bool(self._jobstores[run.jobstore].confirm_starts([run]))

    def run_finished(self, run: Run, outcomes: list[Outcome]) -> None:
        settled = self._jobstores[run.jobstore].settle(outcomes)
        self.ran += [
            Ran(
                outcome.run.job.id,
                outcome.run_time,
                outcome.status,
                outcome.retval,
                outcome.exception if outcome.status == ERROR else None,
                outcome.execution_id,
            )
            for outcome in settled
        ]
        self._tell(settled)


def _executors(settings: conf.Configuration) -> set[str]:
    """Return the aliases of all executors that jobs may be waiting for."""
    aliases = set(settings.executors)
    for using in sync.django_stores(settings):
        rows = (
            DjangoJob.objects.using(using).order_by().values_list("executor", flat=True)
        )
        aliases |= set(rows.distinct())
    return aliases


try:
    import pytest
except ImportError:
    # Without pytest there is nobody to ask for its fixtures.
    pass
else:

    @pytest.fixture
    def apscheduler_clock() -> Iterator[ManualClock]:
        """A clock for all schedulers of the process that moves only when told to."""
        with movable_clock() as manual:
            yield manual
