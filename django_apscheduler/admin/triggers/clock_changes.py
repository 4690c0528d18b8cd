"""
What a schedule does when the clocks change, found by asking its own trigger.

A twin of the trigger, calculated in UTC, tells which wall-clock times the schedule
names; the trigger itself tells when it runs. Where the two differ around a change of
the clocks, a note says on which day and how.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from typing import Any

from django.utils.translation import gettext, ngettext

from django_apscheduler.admin import words
from django_apscheduler.describe import zone_name
from django_apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from django_apscheduler.triggers.combining import AndTrigger, OrTrigger
from django_apscheduler.triggers.cron import CronTrigger
from django_apscheduler.triggers.date import DateTrigger
from django_apscheduler.triggers.interval import IntervalTrigger
from django_apscheduler.triggers.offsets import EPOCH, zone_offsets
from django_apscheduler.util import convert_to_datetime, utc

#: How far ahead changes of the clocks are looked for: about 14 months, so that the
#: next one of each kind is among them.
HORIZON = timedelta(days=427)

#: Fire times looked at around one change; what fires oftener is not tied to the hour.
MOST_TIMES = 400

#: Times named one by one in a note.
LISTED_TIMES = 3

_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
_MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Change:
    """
    One change of the clocks.

    :ivar moment: in UTC
    :ivar before, after: offsets from UTC
    """

    moment: datetime
    before: timedelta
    after: timedelta

    @property
    def length(self) -> timedelta:
        return abs(self.after - self.before)

    @property
    def skips(self) -> bool:
        """Whether wall times are skipped; otherwise some come twice."""
        return self.after > self.before

    @property
    def wall(self) -> datetime:
        """The first wall time, without zone, that is skipped or comes twice."""
        return (self.moment + min(self.before, self.after)).replace(tzinfo=None)


@dataclass(slots=True)
class Effects:
    """
    What changes of the clocks do to a schedule.

    :ivar notes: sentences
    :ivar marks: remarks on single fire times, by their moment in UTC
    """

    notes: list[str] = field(default_factory=list)
    marks: dict[datetime, str] = field(default_factory=dict)

    def add(self, other: Effects) -> None:
        self.notes += [note for note in other.notes if note not in self.notes]
        self.marks.update(other.marks)


def changes(zone: tzinfo, start: datetime, end: datetime) -> Iterator[Change]:
    """Yield the changes of a zone's clocks between two moments."""
    offsets = zone_offsets(zone)
    second = int((start.astimezone(utc) - EPOCH).total_seconds())
    last = int((end.astimezone(utc) - EPOCH).total_seconds())
    span = offsets.span_at(second)
    while span.end <= last:
        following = offsets.span_at(span.end)
        if following.offset != span.offset:
            yield Change(
                EPOCH + timedelta(seconds=span.end),
                timedelta(seconds=span.offset),
                timedelta(seconds=following.offset),
            )
        span = following


def effects(trigger: Any, now: datetime, in_time: Callable[[], bool]) -> Effects:
    """
    Return what the next changes of the clocks do to a schedule, one of each kind.

    :param trigger: with its anchor, if it needs one; a class that is not this
        package's has no effects
    :param in_time: tells whether there is time to go on
    """
    found = Effects()
    if type(trigger) is OrTrigger:
        for child in trigger.triggers:
            if in_time():
                found.add(effects(child, now, in_time))
        return found
    if type(trigger) is DateTrigger:
        return _of_date(trigger, now)
    if type(trigger) is IntervalTrigger:
        return _of_interval(trigger, now)
    twin = _on_the_wall(trigger, now)
    if twin is None:
        return found
    start, end = _limits(trigger)
    kinds: set[bool] = set()
    for change in changes(trigger.timezone, now, now + HORIZON):
        if change.skips in kinds or not in_time():
            continue
        if (start and change.moment < start) or (end and change.moment > end):
            continue
        one = _skipped if change.skips else _repeated
        effect = one(trigger, twin, change)
        if effect.notes:
            kinds.add(change.skips)
            found.add(effect)
    return found


def _on_the_wall(trigger: Any, now: datetime) -> Any:
    """
    Return a twin whose fire times in UTC are the wall times that a schedule names.

    None for schedules, or parts of them, that do not name wall times.
    """
    if type(trigger) is CronTrigger:
        arguments = trigger.get_arguments()
        for name in ("start_date", "end_date", "jitter", "dst"):
            arguments.pop(name, None)
        return CronTrigger(**{**arguments, "timezone": utc})
    if type(trigger) is CalendarIntervalTrigger:
        arguments = trigger.get_arguments()
        for name in ("end_date", "jitter"):
            arguments.pop(name, None)
        counted_from = (trigger.anchor or now).astimezone(trigger.timezone).date()
        arguments["start_date"] = trigger.start_date or counted_from
        return CalendarIntervalTrigger(**{**arguments, "timezone": utc})
    if type(trigger) is AndTrigger:
        zones = {zone_name(child.timezone) for child in _leaves(trigger)}
        twins = [_on_the_wall(child, now) for child in trigger.triggers]
        if len(zones) == 1 and None not in twins:
            return AndTrigger(twins)
    return None


def _leaves(trigger: Any) -> Iterator[Any]:
    for child in getattr(trigger, "triggers", ()):
        yield from _leaves(child)
    if not hasattr(trigger, "triggers"):
        yield trigger


def _limits(trigger: Any) -> tuple[datetime | None, datetime | None]:
    """Return the moments between which all parts of a schedule fire."""
    leaves = list(_leaves(trigger))
    starts = [leaf.start_date for leaf in leaves if type(leaf) is CronTrigger]
    ends = [leaf.end_date for leaf in leaves]
    return (
        max((start for start in starts if start is not None), default=None),
        min((end for end in ends if end is not None), default=None),
    )


def _times(trigger: Any, start: datetime, end: datetime) -> list[datetime] | None:
    """Return the fire times in ``start`` <= t < ``end``; None when they are too many."""
    found: list[datetime] = []
    moment = trigger.get_next_fire_time(None, start)
    while moment is not None and moment.astimezone(utc) < end:
        if len(found) >= MOST_TIMES:
            return None
        found.append(moment)
        moment = trigger.get_next_fire_time(moment, moment)
    return found


def _named(twin: Any, start: datetime, length: timedelta) -> list[datetime] | None:
    """Return the wall times that a schedule names in a stretch of the wall clock."""
    first = start.replace(tzinfo=utc)
    found = _times(twin, first, first + length)
    return None if found is None else [time.replace(tzinfo=None) for time in found]


def _keeps_pace(twin: Any, change: Change) -> bool:
    """
    Return whether a schedule names the same times of every hour around a change.

    Such a schedule goes on at its pace; that it leaves out an hour which does not
    exist needs no telling.
    """
    block = max(change.length, _HOUR)
    rhythms = set()
    for place in (-1, 0, 1):
        start = change.wall + place * block
        times = _named(twin, start, block)
        if times is None:
            return True
        rhythms.add(tuple(time - start for time in times))
    return len(rhythms) == 1


def _skipped(trigger: Any, twin: Any, change: Change) -> Effects:
    """Say what becomes of times that a change skips."""
    found = Effects()
    gone = _named(twin, change.wall, change.length)
    if not gone or _keeps_pace(twin, change):
        return found
    block = max(change.length, _HOUR)
    after = change.wall + change.length
    regular = _named(twin, after, block) or []
    actual = _times(trigger, change.moment, change.moment + block) or []
    instead = [time for time in actual if time.replace(tzinfo=None) not in regular]
    params = {
        "day": _day(change.wall),
        "times": _listed(gone),
        "zone": zone_name(trigger.timezone),
        "instead": _listed(instead),
    }
    if instead:
        sentence = ngettext(
            "On %(day)s %(times)s does not exist in %(zone)s: it runs at %(instead)s "
            "instead.",
            "On %(day)s %(times)s do not exist in %(zone)s: it runs at %(instead)s "
            "instead.",
            len(gone),
        )
    else:
        sentence = ngettext(
            "On %(day)s %(times)s does not exist in %(zone)s: that run is left out.",
            "On %(day)s %(times)s do not exist in %(zone)s: those runs are left out.",
            len(gone),
        )
    found.notes.append(sentence % params)
    for time in instead:
        found.marks[time.astimezone(utc)] = gettext(
            "instead of %(times)s, which the clocks skip"
        ) % {"times": _listed(gone)}
    return found


def _repeated(trigger: Any, twin: Any, change: Change) -> Effects:
    """Say how often times run that come twice."""
    found = Effects()
    twice = _named(twin, change.wall, change.length)
    if not twice or _keeps_pace(twin, change):
        return found
    start, end = change.moment - change.length, change.moment + change.length
    actual = _times(trigger, start, end) or []
    runs = [
        (time, [one for one in actual if one.replace(tzinfo=None) == time])
        for time in twice
    ]
    zone = zone_name(trigger.timezone)
    for count in (0, 1, 2):
        those = [(time, moments) for time, moments in runs if len(moments) == count]
        if not those:
            continue
        names = [_abbreviation(moment) for moment in those[0][1]]
        params = {
            "day": _day(change.wall),
            "times": _listed([time for time, _ in those]),
            "zone": zone,
            "first": names[0] if names else "",
            "last": names[-1] if names else "",
        }
        found.notes.append(_how_often(count, len(those), those) % params)
        for _, moments in those:
            for place, moment in enumerate(moments):
                found.marks[moment.astimezone(utc)] = _which(moment, place, count)
    return found


def _how_often(
    count: int, times: int, those: list[tuple[datetime, list[datetime]]]
) -> str:
    if count == 2:
        return ngettext(
            "On %(day)s %(times)s comes twice in %(zone)s: it runs both times, in "
            "%(first)s and in %(last)s.",
            "On %(day)s %(times)s come twice in %(zone)s: it runs both times, in "
            "%(first)s and in %(last)s.",
            times,
        )
    if count == 0:
        return ngettext(
            "On %(day)s %(times)s comes twice in %(zone)s: it does not run.",
            "On %(day)s %(times)s come twice in %(zone)s: it does not run.",
            times,
        )
    if those[0][1][0].fold:
        return ngettext(
            "On %(day)s %(times)s comes twice in %(zone)s: it runs the second time "
            "only, in %(first)s.",
            "On %(day)s %(times)s come twice in %(zone)s: it runs the second time "
            "only, in %(first)s.",
            times,
        )
    return ngettext(
        "On %(day)s %(times)s comes twice in %(zone)s: it runs the first time only, in "
        "%(first)s.",
        "On %(day)s %(times)s come twice in %(zone)s: it runs the first time only, in "
        "%(first)s.",
        times,
    )


def _which(moment: datetime, place: int, count: int) -> str:
    time = {"time": _clock(moment)}
    if count == 1:
        return gettext("%(time)s comes twice this day; it runs once") % time
    if place:
        return gettext("the second %(time)s of this day") % time
    return gettext("the first %(time)s of this day") % time


def _of_date(trigger: DateTrigger, now: datetime) -> Effects:
    """Say whether a date's wall time is skipped or comes twice."""
    found = Effects()
    if trigger.run_date < now:
        return found
    declared = trigger.get_arguments()["run_date"]
    wanted = convert_to_datetime(declared, trigger.timezone, "run_date")
    assert wanted is not None
    moment = trigger.run_date
    params = {
        "day": _day(wanted),
        "times": _clock(wanted),
        "zone": zone_name(moment.tzinfo or utc),
        "instead": _clock(moment),
        "first": _abbreviation(moment),
    }
    if wanted.replace(tzinfo=None) != moment.replace(tzinfo=None):
        sentence = ngettext(
            "On %(day)s %(times)s does not exist in %(zone)s: it runs at %(instead)s "
            "instead.",
            "On %(day)s %(times)s do not exist in %(zone)s: it runs at %(instead)s "
            "instead.",
            1,
        )
    elif moment.utcoffset() != moment.replace(fold=1 - moment.fold).utcoffset():
        sentence = _how_often(1, 1, [(wanted, [moment])])
        found.marks[moment.astimezone(utc)] = _which(moment, 0, 1)
    else:
        return found
    found.notes.append(sentence % params)
    return found


def _of_interval(trigger: IntervalTrigger, now: datetime) -> Effects:
    """Say how an interval of whole days moves on the wall clock."""
    found = Effects()
    if trigger.interval % _DAY or trigger.timezone is None:
        return found
    for change in changes(trigger.timezone, now, now + HORIZON):
        last = trigger.get_previous_fire_time(change.moment - _MOMENT)
        following = trigger.get_next_fire_time(None, change.moment)
        if last is None or following is None or last.time() == following.time():
            continue
        found.notes.append(
            gettext(
                "A day is 24 hours of elapsed time here: once the clocks have changed "
                "on %(day)s it runs at %(after)s instead of %(before)s, %(zone)s. For "
                "the same time every day use cron or a calendar interval."
            )
            % {
                "day": _day(change.wall),
                "after": _clock(following),
                "before": _clock(last),
                "zone": zone_name(trigger.timezone),
            }
        )
        break
    return found


def _day(wall: datetime) -> str:
    return words.date_with_year(wall.date())


def _clock(wall: datetime) -> str:
    return f"{wall:%H:%M:%S}" if wall.second else f"{wall:%H:%M}"


def _abbreviation(moment: datetime) -> str:
    name = moment.tzname() or ""
    # Zones without abbreviations are named by their offset: "+1030".
    return f"UTC{name}" if name[:1] in ("+", "-") else name


def _listed(times: list[datetime]) -> str:
    """Return "02:00", "02:00 and 02:30" or "02:00 to 02:55"."""
    texts = list(dict.fromkeys(map(_clock, times)))
    if len(texts) < 2:
        return "".join(texts)
    parts = {"first": ", ".join(texts[:-1]), "last": texts[-1]}
    if len(texts) > LISTED_TIMES:
        parts["first"] = texts[0]
        return gettext("%(first)s to %(last)s") % parts
    return gettext("%(first)s and %(last)s") % parts
