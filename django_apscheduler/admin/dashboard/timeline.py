"""
The next 24 hours: when which job runs, for how long, and how many at once.

Fire times come from the jobs' real triggers, for as many jobs and as many moments as a
page has time for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any, NamedTuple

from django_apscheduler import clock, rollups
from django_apscheduler.admin.dashboard.figures import HOUR, MINUTE, floor_hour
from django_apscheduler.admin.triggers import schedules
from django_apscheduler.db import current_zone
from django_apscheduler.models import DjangoJob

#: Jobs that have a lane, the soonest first.
LANES = 30
#: As far ahead as one of these it looks, if enough jobs run by then, else a day: the
#: fewer jobs it has to order, the sooner it is there.
HORIZONS = (MINUTE, 10 * MINUTE, HOUR)
#: Fire times of one job that are all looked up; of jobs that run more often the rest
#: is looked at every `SAMPLE`.
MOST_TIMES = 200
SAMPLE = timedelta(minutes=10)
#: Runs no further apart than this are one band: side by side they could not be told.
BAND = timedelta(minutes=15)
#: Seconds in which all fire times must be found.
SEARCH_SECONDS = 0.2
#: Overlaps are drawn on a grid of this length.
GRID = timedelta(minutes=5)
#: Days over which a median duration is taken.
MEDIAN_DAYS = 14
#: A run of unknown length is taken to last a moment.
MOMENT = timedelta(seconds=1)

utc = timezone.utc


class Stretch(NamedTuple):
    """
    One run, or a band of runs close to one another.

    :ivar runs: how many; None when they were too many to look up
    :ivar gap: seconds between the first two; None for one run
    """

    start: datetime
    end: datetime
    runs: int | None = 1
    gap: float | None = None


@dataclass(slots=True)
class Lane:
    """
    One job and its runs.

    :ivar seconds: median duration; None when nothing is known
    :ivar complete: whether all fire times were looked up
    """

    job_id: str
    name: str
    schedule: str
    seconds: float | None
    times: list[datetime]
    complete: bool
    stretches: list[Stretch] = field(default_factory=list)

    @property
    def length(self) -> timedelta:
        return max(timedelta(seconds=self.seconds or 0.0), MOMENT)


class Overlap(NamedTuple):
    """So many runs at once, at most, from ``start`` to ``end``."""

    start: datetime
    end: datetime
    runs: int


class ZoneChange(NamedTuple):
    """The page's time zone moves its clocks: local times before and after."""

    moment: datetime
    before: datetime
    after: datetime


@dataclass(slots=True)
class Timeline:
    """
    What the chart shows, from the beginning of this hour to 24 hours from now.

    :ivar jobs: how many jobs run in it; those without a lane are said in words
    :ivar most: most runs at once, and since when
    """

    start: datetime
    now: datetime
    end: datetime
    lanes: list[Lane]
    jobs: int
    overlaps: list[Overlap]
    most: int
    most_time: datetime | None
    changes: list[ZoneChange]


def read_jobs(
    using: str, now: datetime, lanes: int = LANES, horizon: timedelta = 24 * HOUR
) -> list[DjangoJob]:
    """
    Return the jobs that run next, in one query.

    :param horizon: how far ahead to look, see `tables.JobCounts`
    """
    return list(
        DjangoJob.objects.using(using)
        .filter(state=DjangoJob.State.ACTIVE, next_run_time__lte=now + horizon)
        .order_by("next_run_time", "id")
        .only("id", "name", "trigger", "anchor_time", "next_run_time", "nominal_time")[
            :lanes
        ]
    )


def build(
    jobs: list[DjangoJob],
    durations: dict[str, rollups.Histogram],
    now: datetime,
    *,
    coming: int | None = None,
    search_seconds: float = SEARCH_SECONDS,
) -> Timeline:
    """
    Lay out the runs of jobs over the next 24 hours; no query.

    :param durations: of jobs by id, see `rollups.durations`
    :param coming: how many jobs run in this time; those given when None
    :param search_seconds: after so many, only the next run of a job is shown
    """
    start, end = floor_hour(now), now + 24 * HOUR
    deadline = clock.elapsed() + search_seconds
    lanes = []
    for job in jobs:
        schedule = schedules.schedule_of(job)
        times, complete = fire_times(schedule.trigger, job, now, end, deadline)
        known = durations.get(job.pk)
        lane = Lane(
            job.pk,
            job.name or job.pk,
            schedule.text,
            None if known is None else known.percentile(0.5),
            times,
            complete,
        )
        lane.stretches = stretches(lane)
        lanes.append(lane)
    steps = _concurrency(lanes, end)
    most = max((runs for _moment, runs in steps), default=0)
    return Timeline(
        start,
        now,
        end,
        lanes,
        max(len(lanes), coming or 0),
        _on_grid(steps, start, end),
        most,
        next((moment for moment, runs in steps if runs == most), None),
        zone_changes(start, end, current_zone()),
    )


def fire_times(
    trigger: Any, job: DjangoJob, now: datetime, end: datetime, deadline: float
) -> tuple[list[datetime], bool]:
    """
    Return when a job runs until ``end``, and whether that is all.

    An overdue run is taken to be now. Once there are `MOST_TIMES` the rest are samples.

    :param deadline: by ``clock.elapsed()``
    """
    if job.next_run_time is None:
        return [], True
    times = [max(job.next_run_time, now)]
    if trigger is None:
        return times, False
    previous = job.nominal_time or job.next_run_time
    sampled = False
    while clock.elapsed() < deadline:
        sampled = sampled or len(times) >= MOST_TIMES
        try:
            if sampled:
                moment = trigger.get_next_fire_time(None, previous + SAMPLE)
            elif previous < now:
                # What was missed until now does not run any more.
                moment = trigger.get_next_fire_time(None, now)
            else:
                moment = trigger.get_next_fire_time(previous, previous)
        except Exception:
            # A trigger class of the user's own may raise anything; the page must show.
            return times, False
        # In UTC: two moments of one zone compare by the wall clock, which goes back.
        moment = None if moment is None else moment.astimezone(utc)
        if moment is None or moment > end:
            return times, not sampled
        if moment <= previous:
            return times, False
        if moment > times[-1]:
            times.append(moment)
        previous = moment
    return times, False


def stretches(lane: Lane) -> list[Stretch]:
    """Join runs that are close to one another into bands."""
    groups: list[list[datetime]] = []
    for moment in lane.times:
        if groups and moment - groups[-1][-1] <= BAND:
            groups[-1].append(moment)
        else:
            groups.append([moment])
    found = []
    for group in groups:
        if len(group) < 3:
            found += [Stretch(moment, moment + lane.length) for moment in group]
            continue
        # Between the second and the third: the first may be late, or have jitter.
        gap = (group[2] - group[1]).total_seconds()
        runs = len(group) if lane.complete else None
        found.append(Stretch(group[0], group[-1] + lane.length, runs, gap))
    return found


def _concurrency(lanes: list[Lane], end: datetime) -> list[tuple[datetime, int]]:
    """Return how many runs there are at once, as steps: (from then on, so many)."""
    edges: dict[datetime, int] = {}

    def note(start: datetime, stop: datetime) -> None:
        edges[start] = edges.get(start, 0) + 1
        edges[stop] = edges.get(stop, 0) - 1

    for lane in lanes:
        if lane.complete:
            for moment in lane.times:
                note(moment, moment + lane.length)
            continue
        for stretch in lane.stretches:
            # Of runs not looked up it is known only whether they leave no gap.
            if stretch.gap is None or lane.length.total_seconds() >= stretch.gap:
                note(stretch.start, stretch.end)
    steps, runs = [], 0
    for moment in sorted(edges):
        runs += edges[moment]
        if moment < end:
            steps.append((moment, runs))
    return steps


def _on_grid(
    steps: list[tuple[datetime, int]], start: datetime, end: datetime
) -> list[Overlap]:
    """Return where two or more runs overlap, rounded out to the grid."""
    most: dict[int, int] = {}
    following = [moment for moment, _runs in steps[1:]] + [end]
    for (moment, runs), stop in zip(steps, following):
        if runs < 2:
            continue
        last = -((start - min(stop, end)) // GRID)
        for cell in range((moment - start) // GRID, last):
            most[cell] = max(most.get(cell, 0), runs)
    found: list[Overlap] = []
    for cell, runs in sorted(most.items()):
        begin = start + cell * GRID
        if found and found[-1].end == begin and found[-1].runs == runs:
            found[-1] = found[-1]._replace(end=begin + GRID)
        else:
            found.append(Overlap(begin, begin + GRID, runs))
    return found


def zone_changes(start: datetime, end: datetime, zone: tzinfo) -> list[ZoneChange]:
    """Return the moments at which a zone changes its offset, to the minute."""
    found = []
    moment = start
    while moment < end:
        low, high = moment, moment + HOUR
        before = low.astimezone(zone).utcoffset()
        if high.astimezone(zone).utcoffset() != before:
            while high - low > MINUTE:
                middle = low + ((high - low) // MINUTE // 2) * MINUTE
                if middle.astimezone(zone).utcoffset() == before:
                    low = middle
                else:
                    high = middle
            fixed = timezone(before or timedelta())
            found.append(
                ZoneChange(high, high.astimezone(fixed), high.astimezone(zone))
            )
        moment += HOUR
    return found


def timeline_json(timeline: Timeline) -> dict[str, Any]:
    """Return the timeline for programs."""
    return {
        "start": timeline.start.isoformat(),
        "now": timeline.now.isoformat(),
        "end": timeline.end.isoformat(),
        "jobs": timeline.jobs,
        "most_at_once": timeline.most,
        "lanes": [
            {
                "job": lane.job_id,
                "name": lane.name,
                "schedule": lane.schedule,
                "median_seconds": None
                if lane.seconds is None
                else round(lane.seconds, 4),
                "complete": lane.complete,
                "runs": [
                    {
                        "start": stretch.start.isoformat(),
                        "end": stretch.end.isoformat(),
                        "count": stretch.runs,
                        "every_seconds": stretch.gap,
                    }
                    for stretch in lane.stretches
                ],
            }
            for lane in timeline.lanes
        ],
        "overlaps": [
            {"start": o.start.isoformat(), "end": o.end.isoformat(), "runs": o.runs}
            for o in timeline.overlaps
        ],
        "clock_changes": [
            {
                "time": change.moment.isoformat(),
                "from": change.before.isoformat(),
                "to": change.after.isoformat(),
            }
            for change in timeline.changes
        ],
    }
