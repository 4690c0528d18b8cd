"""Runs at times that the fields of a cron expression match."""

from __future__ import annotations

from datetime import date, datetime, timedelta, tzinfo
from functools import cached_property

from django_apscheduler.triggers.base import (
    SECOND,
    BuiltinTrigger,
    check_jitter,
    check_order,
    check_timezone,
    describe,
    in_utc,
    shown,
)
from django_apscheduler.triggers.cron.crontab import parse_crontab
from django_apscheduler.triggers.cron.fields import (
    FIELD_NAMES,
    Field,
    check_text,
    complete,
    field_text,
)
from django_apscheduler.triggers.cron.schedule import Schedule, compile_schedule
from django_apscheduler.triggers.offsets import (
    DAY,
    EPOCH,
    LAST_SECOND,
    NEVER,
    Span,
    zone_offsets,
)
from django_apscheduler.util import convert_to_datetime

# No wall time comes back later than this after it first occurred.
_SETTLED = 2 * DAY


class CronTrigger(BuiltinTrigger):
    """
    Fires at every second whose wall-clock time matches all fields.

    :param year: 4-digit year (1970-9999)
    :param month: month (1-12, or jan-dec)
    :param day: day of the month (1-31)
    :param week: ISO week (1-53)
    :param day_of_week: weekday (0-6, 0 is Monday; or mon-sun)
    :param hour: hour (0-23)
    :param minute: minute (0-59)
    :param second: second (0-59)
    :param start_date: no fire time is earlier than this
    :param end_date: no fire time is later than this
    :param timezone: zone whose wall clock the fields describe
    :param jitter: delay each run by up to this many seconds
    :param dst: "wall" or "once", see below
    :param day_or: when true, a day matches when ``day`` or ``day_of_week`` does

    A field is a whole number or a text: ``*``, ``*/a``, ``a-b``, ``a-b/c``, for
    ``day`` also ``xth y`` (``2nd fri``), ``last x`` (``last fri``) and ``last``, and
    lists of these (``x,y,z``). Fields finer than the least significant given one are
    at their minimum (``*`` for week and day_of_week), coarser ones are ``*``.

    Daylight saving, ``dst="wall"``: the wall clock decides. A time that a change of
    the clock skips does not fire; one that a change repeats fires twice.

    ``dst="once"`` is Debian cron's rule. Schedules without ``*`` in hour and minute
    fire once: those whose time a change skips fire right after the change, at the
    first moment of the new time; a repeated time fires the first time only. Schedules
    with ``*`` in hour or minute (``*/5`` too) follow the wall clock as above, so they
    keep their pace. A change of three hours or more, such as a whole day skipped at
    the date line, is no daylight saving: the new time is followed at once.
    """

    alias = "cron"
    FIELD_NAMES = FIELD_NAMES
    _resolution = SECOND

    def __init__(
        self,
        year: int | str | None = None,
        month: int | str | None = None,
        day: int | str | None = None,
        week: int | str | None = None,
        day_of_week: int | str | None = None,
        hour: int | str | None = None,
        minute: int | str | None = None,
        second: int | str | None = None,
        start_date: datetime | date | str | None = None,
        end_date: datetime | date | str | None = None,
        timezone: tzinfo | str | None = None,
        jitter: float | None = None,
        dst: str = "wall",
        day_or: bool = False,
    ):
        if dst not in ("wall", "once"):
            raise ValueError(f"dst must be 'wall' or 'once'; got {shown(dst)}")
        if not isinstance(day_or, bool):
            raise TypeError(f"day_or must be True or False; got {shown(day_or)}")
        declared = dict(
            zip(
                FIELD_NAMES,
                (year, month, day, week, day_of_week, hour, minute, second),
            )
        )
        declared = {name: v for name, v in declared.items() if v is not None}
        given = {name: field_text(name, value) for name, value in declared.items()}
        self._texts = complete(given)
        for name, text in given.items():
            check_text(name, text)
        self.fields = [
            Field(name, text, name not in given) for name, text in self._texts.items()
        ]
        self.timezone = check_timezone(timezone, start_date, end_date)
        self.start_date = convert_to_datetime(start_date, self.timezone, "start_date")
        self.end_date = convert_to_datetime(end_date, self.timezone, "end_date")
        check_order(self.start_date, self.end_date)
        self.jitter = check_jitter(jitter)
        self.dst = dst
        self.day_or = day_or
        self._prepare()

    @classmethod
    def from_crontab(
        cls, expr: str, timezone: tzinfo | str | None = None
    ) -> CronTrigger:
        """
        Return the trigger for a standard crontab expression.

        ``minute hour day month day_of_week``, or @yearly, @annually, @monthly,
        @weekly, @daily, @midnight, @hourly. As crontab(5) has it, and unlike the
        constructor: 0 and 7 are Sunday, a day matches when ``day`` *or*
        ``day_of_week`` does if both are restricted (do not start with ``*``), and
        changes of the clock follow ``dst="once"``.

        :raises ValueError: naming the field and its range
        """
        return cls(**parse_crontab(expr), dst="once", timezone=timezone)

    @cached_property
    def _schedule(self) -> Schedule:
        # Tables take time to build; many triggers are only loaded, shown or compared.
        return compile_schedule(**self._texts, day_or=self.day_or)

    def _prepare(self) -> None:
        """Make ready what every question for a fire time needs."""
        assert self.timezone is not None
        self._zone = zone_offsets(self.timezone)
        self._epoch = datetime(1970, 1, 1, tzinfo=self.timezone)
        self._once = (
            self.dst == "once"
            and "*" not in self._texts["hour"]
            and "*" not in self._texts["minute"]
        )
        # UTC seconds of the first and the last moment that may fire, which are whole
        # seconds: the start is rounded up, the end down.
        self._start, self._end = 0, LAST_SECOND
        if self.start_date is not None:
            self._start = max(0, -((EPOCH - in_utc(self.start_date)) // SECOND))
        if self.end_date is not None:
            self._end = min(LAST_SECOND, (in_utc(self.end_date) - EPOCH) // SECOND)
        # The span of the last answer, where the next question most likely falls.
        self._span = self._zone.span_at(self._start)

    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        """
        Return the first fire time after ``previous_fire_time``, else from ``now`` on.

        :return: aware, in the trigger's zone; None when there is none before the end
            date or the year 9999
        """
        moment = now if previous_fire_time is None else previous_fire_time
        span = self._span
        if moment.tzinfo is self.timezone:
            # Both ends have the same zone, so this is a difference of wall times.
            since = moment - self._epoch
            local = since.days * DAY + since.seconds
            clear = span.clear_from <= local < span.clear_until
            second = local - span.offset
            rest = since.microseconds
        else:
            clear = False
        if not clear:
            since = self._in_utc(moment) - EPOCH
            second = since.days * DAY + since.seconds
            rest = since.microseconds
        if rest or previous_fire_time is not None:
            second += 1
        if second < self._start:
            second, clear = self._start, False
        if second > self._end:
            return None
        if not clear and not span.start <= second < span.end:
            span = self._zone.span_at(second)
        return self._search(second, span)

    def _search(self, second: int, span: Span) -> datetime | None:
        """Return the first fire time at or after the UTC ``second``, in ``span``."""
        upcoming = self._schedule.next
        while True:
            local = second + span.offset
            if self._once:
                # Wall time as if the clock had not been changed: it begins with what
                # the change skipped, and leaves out what it repeats.
                if second == span.start or local < span.resumes_at:
                    local = span.resumes_at
            found = upcoming(local)
            if found < span.local_end:
                break
            if span.local_end - local <= _SETTLED:
                # A change of the clock may bring back times before `found`.
                second = span.end
            elif found == NEVER:
                return None
            else:
                second = max(span.end, found - _SETTLED)
            if second > self._end:
                return None
            span = self._zone.span_at(second)
        if found < span.local_start:
            found = span.local_start
        if found - span.offset > self._end:
            return None
        self._span = span
        fire_time = self._epoch + timedelta(0, found)
        return fire_time.replace(fold=1) if found < span.repeats_until else fire_time

    @cached_property
    def period(self) -> CronTrigger:
        """
        The trigger for every second of the hours, days, … that the given fields name.

        ``CronTrigger(day_of_week="sat,sun")`` fires at midnight; its period is the
        whole of Saturday and Sunday.
        """
        names = [field.name for field in self.fields if not field.is_default]
        finest = max(map(FIELD_NAMES.index, names), default=len(FIELD_NAMES))
        finer = dict.fromkeys(FIELD_NAMES[finest + 1 :], "*")
        arguments = {**finer, **self.get_arguments(), "timezone": self.timezone}
        return CronTrigger(**arguments)

    def _shown_fields(self) -> list[str]:
        return [
            f"{field.name}='{field.text}'"
            for field in self.fields
            if not field.is_default
        ]

    def __str__(self) -> str:
        return f"cron[{', '.join(self._shown_fields())}]"

    def __repr__(self) -> str:
        parts = self._shown_fields()
        if self.start_date is not None:
            parts.append(f"start_date='{describe(self.start_date)}'")
        if self.end_date is not None:
            parts.append(f"end_date='{describe(self.end_date)}'")
        if self.jitter is not None:
            parts.append(f"jitter={self.jitter!r}")
        if self.dst != "wall":
            parts.append(f"dst='{self.dst}'")
        if self.day_or:
            parts.append("day_or=True")
        parts.append(f"timezone='{self.timezone}'")
        return f"<CronTrigger ({', '.join(parts)})>"
