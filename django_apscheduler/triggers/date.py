"""One run at one moment."""

from __future__ import annotations

from datetime import date, datetime, timedelta, tzinfo
from typing import Any

from django_apscheduler import clock
from django_apscheduler.triggers.base import (
    BuiltinTrigger,
    check_timezone,
    describe,
    in_utc,
)
from django_apscheduler.util import convert_to_datetime


class DateTrigger(BuiltinTrigger):
    """
    Fires once, at ``run_date``.

    :param run_date: datetime, date or ISO 8601 text; None means now
    :param timezone: zone of a ``run_date`` that names none

    Daylight saving: a naive time that a change of the clock skips is taken with the
    offset before the change (02:30 becomes 03:30), one that a change repeats is the
    first of the two. Give an aware datetime to say otherwise.

    Fires though ``run_date`` has passed, as long as it has not fired: whether that is
    too late is for ``misfire_grace_time`` to say.
    """

    alias = "date"

    def __init__(
        self,
        run_date: datetime | date | str | None = None,
        timezone: tzinfo | str | None = None,
    ):
        self.timezone = check_timezone(timezone, run_date)
        self._means_now = run_date is None
        if run_date is None:
            run_date = clock.now(self.timezone)
        moment = convert_to_datetime(run_date, self.timezone, "run_date")
        assert moment is not None
        # There and back again, so that a skipped wall time becomes a real one.
        self.run_date = in_utc(moment).astimezone(moment.tzinfo)
        self._declared_date = run_date

    def correct_now(self, offset: timedelta) -> None:
        """
        Take a date that was not given by another clock than this process's.

        :param offset: by how much that clock is ahead
        """
        if self._means_now:
            self.run_date = self._declared_date = self.run_date + offset
            self._means_now = False

    def get_arguments(self) -> dict[str, Any]:
        # "Now" has become a moment, which a copy must keep.
        return {**super().get_arguments(), "run_date": self._declared_date}

    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        """Return ``run_date``, or None when it has fired."""
        return self.run_date if previous_fire_time is None else None

    def get_previous_fire_time(self, now: datetime) -> datetime | None:
        """Return ``run_date`` unless it is still to come."""
        return self.run_date if in_utc(self.run_date) <= self._in_utc(now) else None

    def __str__(self) -> str:
        return f"date[{describe(self.run_date)}]"

    def __repr__(self) -> str:
        return f"<DateTrigger (run_date='{describe(self.run_date)}')>"
