"""What time it is for a store: its database's, which all schedulers share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime, timedelta

from django.db import connections

from django_apscheduler import clock
from django_apscheduler.db import database_now, ensure_usable
from django_apscheduler.jobstores.base import AWAKENING, MOST_AHEAD_SECONDS

#: A process's clock that is further from the database's is corrected in the log.
CLOCK_SECONDS = 0.5
#: Seconds for which the difference between the two clocks is taken to be the same.
COMPARE_SECONDS = 10.0


#: What an answer of the database takes at most, while all is well; a greater difference
#: means that one of the clocks was set.
ANSWER_TIME = timedelta(milliseconds=20)


class DatabaseClock(ABC):
    """The part of a store that knows the database's clock, and how far ours is off."""

    _expected: datetime | None = None
    _lead = timedelta(0)
    _offset = timedelta(0)
    _compared = float("-inf")

    @property
    @abstractmethod
    def using(self) -> str:
        """The alias of the database with the jobs."""

    @staticmethod
    def given_now(now: datetime | None) -> datetime | None:
        """Return the time to go by instead of the database's, or None."""
        if now is None and not clock.goes_by_itself():
            return clock.now()
        return now

    def now(self) -> datetime:
        """Return the present by the database's clock."""
        return self.given_now(None) or database_now(self.using)

    def present(self) -> datetime:
        """
        Return the present by the database's clock, which is asked every few seconds.

        In between this process's clock serves, put right by how far it was off.
        """
        given = self.given_now(None)
        if given is not None:
            return given
        if clock.monotonic() - self._compared > COMPARE_SECONDS:
            ensure_usable(connections[self.using])
            self.compare_clocks(database_now(self.using))
        return self.estimate()

    def expect(self, due: datetime | None) -> None:
        """Note when to claim next, by the database's clock."""
        self._expected = due

    @property
    def lead(self) -> timedelta:
        """How long before a run time to begin the claim, so as to have it in time."""
        return min(self._lead + AWAKENING, timedelta(seconds=MOST_AHEAD_SECONDS))

    def note_duration(self, seconds: float) -> None:
        """Note what a claim took. Rather too early than too late: slower ones count more."""
        difference = timedelta(seconds=min(seconds, MOST_AHEAD_SECONDS)) - self._lead
        self._lead += difference / (2 if difference > timedelta(0) else 16)

    def compare_clocks(self, now: datetime) -> None:
        """Note how far this process's clock is from the database's."""
        offset = now - clock.now()
        lag = self._offset - offset
        # The answer was under way for a while, so each comparison takes the database's
        # clock for slower than it is, and the one with the quickest answer is the best.
        if (
            lag < timedelta(0)
            or lag > ANSWER_TIME
            or clock.monotonic() - self._compared > COMPARE_SECONDS
        ):
            self._offset = offset
            self._compared = clock.monotonic()

    def estimate(self) -> datetime:
        """Return the present by the database's clock, as far as it has been compared."""
        return clock.now() + self._offset

    def surely_due(self, now: datetime | None) -> bool:
        """Tell, without asking the database, whether the expected time has come."""
        if self._expected is None:
            return False
        return self._expected <= (now or self.estimate())

    @property
    def offset(self) -> timedelta:
        """What to add to this process's clock to have the database's, as compared."""
        return self._offset

    @property
    def clock_offset(self) -> timedelta:
        """What to add to this process's clock to have the database's, if that is much."""
        if abs(self._offset.total_seconds()) > CLOCK_SECONDS:
            return self._offset
        return timedelta(0)

    def by_database(self, moment: datetime) -> datetime:
        """Return a time by this process's clock as the database's clock would have it."""
        return moment + self.clock_offset
