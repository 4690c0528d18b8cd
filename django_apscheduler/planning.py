"""
What to do with a job that is due: pure functions of the job and the time.

The *nominal* time of an occurrence is the one its trigger names; its *run time* is that
time plus jitter. The next occurrence follows from the nominal time, so that jitter
never adds up.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from django_apscheduler.util import utc

if TYPE_CHECKING:
    from django_apscheduler.job import Job

#: Run times of one job that a single claim takes when coalescing is off.
MAX_RUN_TIMES = 100
#: Fire times of one job that are counted one by one; past that the plan jumps.
MAX_STEPS = 1000

MISSED = "Missed!"
COALESCED = "Coalesced"
MAX_INSTANCES = "Max instances!"


@dataclass(frozen=True, slots=True)
class Skipped:
    """
    Consecutive occurrences of a job that will not run, all for one reason.

    :ivar status: Missed!, Coalesced, Max instances! or Cancelled
    :ivar first: run time of the first one, aware
    :ivar last: run time of the last one
    :ivar count: how many there are, None for more than `MAX_STEPS`
    :ivar run_times: the run times that were counted one by one, oldest first
    """

    status: str
    first: datetime
    last: datetime
    count: int | None
    run_times: tuple[datetime, ...] = ()


@dataclass(slots=True)
class Plan:
    """
    What one claim makes of a due job.

    :ivar run_times: to run in one submission, oldest first; aware
    :ivar nominal_times: their nominal times, parallel to ``run_times``
    :ivar skipped: occurrences that will not run
    :ivar next_run_time: when the job is next due, which may be in the past when more
        was due than one claim takes; None when the schedule has ended
    :ivar nominal_time: the nominal time behind ``next_run_time``
    """

    run_times: list[datetime]
    nominal_times: list[datetime]
    skipped: list[Skipped]
    next_run_time: datetime | None
    nominal_time: datetime | None

    def over_the_limit(self) -> Skipped:
        """Return the run times as skipped because too many instances are running."""
        times = tuple(self.run_times)
        return Skipped(MAX_INSTANCES, times[0], times[-1], len(times), times)


def with_jitter(trigger: Any, uid: Any, nominal: datetime) -> datetime:
    """
    Return the run time of an occurrence: its nominal time plus the trigger's jitter.

    The same job and nominal time give the same delay in every process, so schedulers
    that share a store agree. Never later than the trigger's ``end_date``.
    """
    jitter = getattr(trigger, "jitter", None)
    if not jitter:
        return nominal
    moment = nominal.astimezone(utc)
    digest = blake2b(f"{uid}:{moment.isoformat()}".encode(), digest_size=8).digest()
    delay = timedelta(seconds=int.from_bytes(digest, "big") / 2**64 * jitter)
    delayed = moment + delay
    end = getattr(trigger, "end_date", None)
    if end is not None and delayed > end:
        delayed = max(moment, end)
    return delayed.astimezone(nominal.tzinfo)


def first_fire(
    trigger: Any, uid: Any, now: datetime, previous: datetime | None = None
) -> tuple[datetime | None, datetime | None]:
    """
    Return the run time and nominal time of the first occurrence not before ``now``.

    :param previous: nominal time of the occurrence before; the answer is later
    :return: (None, None) when the schedule has ended
    """
    nominal = trigger.get_next_fire_time(previous, now)
    if nominal is None:
        return None, None
    return with_jitter(trigger, uid, nominal), nominal


def _later(moment: datetime, other: datetime) -> bool:
    """
    Tell whether ``moment`` is later than ``other``.

    Times that share a zone object are compared by their wall clock, which an autumn
    night shows twice.
    """
    if moment.tzinfo is other.tzinfo and moment.tzinfo is not utc:
        return moment.astimezone(utc) > other.astimezone(utc)
    return moment > other


def _next(job: Job, nominal: datetime, now: datetime) -> tuple[Any, Any]:
    following = job.trigger.get_next_fire_time(nominal, now)
    if following is None:
        return None, None
    if not _later(following, nominal):
        raise ValueError(
            f"the trigger of job {job.id!r} ({job.trigger}) must fire later than "
            f"{nominal.isoformat()}, but answered {following.isoformat()}; "
            "correct its get_next_fire_time()"
        )
    return with_jitter(job.trigger, job.uid, following), following


def latest_fire_time(
    trigger: Any, earliest: datetime, now: datetime
) -> datetime | None:
    """
    Return the last nominal fire time between ``earliest`` and ``now``, in bounded time.

    Triggers without ``get_previous_fire_time`` are asked for the next fire time after
    moments that close in on the answer by halves.
    """
    find = getattr(trigger, "get_previous_fire_time", None)
    if find is not None:
        found = find(now)
        return None if found is None or _later(earliest, found) else found
    low, high, found = earliest.astimezone(utc), now.astimezone(utc), None
    while high - low > timedelta(microseconds=1):
        middle = low + (high - low) / 2
        answer = trigger.get_next_fire_time(None, middle)
        if answer is not None and not _later(answer, now):
            found = answer
            low = max(answer.astimezone(utc), middle)
        else:
            high = middle
    return found


def plan(job: Job, now: datetime) -> Plan:
    """
    Decide which of a job's due run times to run and which were missed.

    A run time more than ``misfire_grace_time`` seconds old is missed. With coalescing
    only the last due run time runs, and the others count as coalesced into it.

    :param now: aware; later run times are not due
    :raises ValueError: when the trigger does not move forward
    Source: APScheduler 3 user guide, "Missed job executions and coalescing".
    """
    run_time = job.next_run_time
    nominal = job.nominal_time or run_time
    assert run_time is not None and nominal is not None
    # From here on every comparison with the present is made in UTC.
    now = now.astimezone(utc)
    grace = job.misfire_grace_time
    oldest = None if grace is None else now - timedelta(seconds=grace)
    following, following_nominal = _next(job, nominal, now)
    if following is None or following > now:
        # Nearly every claim: one occurrence is due.
        if oldest is not None and run_time < oldest:
            skipped = Skipped(MISSED, run_time, run_time, 1, (run_time,))
            return Plan([], [], [skipped], following, following_nominal)
        return Plan([run_time], [nominal], [], following, following_nominal)
    if job.coalesce:
        return _plan_coalesced(job, now, oldest)
    return _plan_each(job, now, oldest)


def _plan_coalesced(job: Job, now: datetime, oldest: datetime | None) -> Plan:
    run_time: Any = job.next_run_time
    nominal: Any = job.nominal_time or run_time
    due: list[tuple[datetime, datetime]] = []
    jumped = False
    while run_time is not None and run_time <= now:
        due.append((run_time, nominal))
        if len(due) == MAX_STEPS:
            jumped = True
            last = _jump(job, nominal, now)
            if last is not None:
                due.append((with_jitter(job.trigger, job.uid, last), last))
                nominal = last
        run_time, nominal = _next(job, nominal, now)
        if len(due) > 2 * MAX_STEPS:
            # The trigger is denser than a jump can foresee; what is left stays due
            # and is coalesced by the next claim.
            break
    times = tuple(moment for moment, _ in due)
    last_run, last_nominal = due[-1]
    if oldest is not None and last_run < oldest:
        count = None if jumped else len(due)
        # As in APScheduler: one misfire is told, of the run that would have been.
        skipped = Skipped(MISSED, times[0], last_run, count, (last_run,))
        return Plan([], [], [skipped], run_time, nominal)
    count = None if jumped else len(due) - 1
    skipped = Skipped(COALESCED, times[0], times[-2], count, times[:-1])
    return Plan([last_run], [last_nominal], [skipped], run_time, nominal)


def _jump(job: Job, nominal: datetime, now: datetime) -> datetime | None:
    """Return the last nominal time that is surely due, if later than ``nominal``."""
    # Jitter may put an occurrence after now although its nominal time has come.
    jitter = timedelta(seconds=getattr(job.trigger, "jitter", None) or 0)
    last = latest_fire_time(job.trigger, nominal, now - jitter)
    return last if last is not None and _later(last, nominal) else None


def _plan_each(job: Job, now: datetime, oldest: datetime | None) -> Plan:
    run_time: Any = job.next_run_time
    nominal: Any = job.nominal_time or run_time
    runs: list[datetime] = []
    nominals: list[datetime] = []
    missed: list[datetime] = []
    last_missed: datetime | None = None
    while run_time is not None and run_time <= now and len(runs) < MAX_RUN_TIMES:
        if oldest is not None and run_time < oldest:
            missed.append(run_time)
            last_missed = run_time
            if len(missed) == MAX_STEPS:
                last = _jump(job, nominal, oldest - timedelta(microseconds=1))
                if last is not None:
                    last_missed = with_jitter(job.trigger, job.uid, last)
                    nominal = last
            elif len(missed) > 2 * MAX_STEPS:
                break
        else:
            runs.append(run_time)
            nominals.append(nominal)
        run_time, nominal = _next(job, nominal, now)
    skipped = []
    if last_missed is not None:
        known = tuple(missed[:MAX_STEPS])
        count = len(missed) if len(missed) < MAX_STEPS else None
        skipped.append(Skipped(MISSED, missed[0], last_missed, count, known))
    return Plan(runs, nominals, skipped, run_time, nominal)
