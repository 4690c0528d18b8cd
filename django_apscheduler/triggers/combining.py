"""Triggers made of other triggers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from datetime import datetime, tzinfo
from typing import Any

from django_apscheduler.triggers.base import (
    BaseTrigger,
    BuiltinTrigger,
    check_jitter,
    shown,
)
from django_apscheduler.triggers.cron import CronTrigger
from django_apscheduler.util import utc

#: how often the triggers of one AndTrigger may disagree in one search
MAX_ROUNDS = 2_000
#: how deep combining triggers may be nested
MAX_DEPTH = 10
# How often a custom trigger may answer with a time that is too early.
_MAX_STEPS = 1_000

#: rounds that each AndTrigger, by id, has used up in one search
_Rounds = dict[int, int]


class CombiningTrigger(BuiltinTrigger):
    """The common part of AndTrigger and OrTrigger."""

    def __init__(self, triggers: Iterable[BaseTrigger], jitter: float | None = None):
        self.triggers = _check_triggers(type(self).__name__, triggers)
        self._depth = 1 + max(getattr(child, "_depth", 0) for child in self.triggers)
        if self._depth > MAX_DEPTH:
            raise ValueError(
                f"combining triggers may be nested {MAX_DEPTH} deep; got {self._depth}"
            )
        jitter = check_jitter(jitter)
        declared = [child.jitter for child in self.triggers if child.jitter is not None]
        self.jitter = max(declared, default=None) if jitter is None else jitter
        self.end_date = self._common_end()
        self._own_jitter = jitter

    def get_arguments(self) -> dict[str, Any]:
        # The list, though what was given may have been read only once.
        return {**super().get_arguments(), "triggers": list(self.triggers)}

    @property
    def timezone(self) -> tzinfo | None:  # type: ignore[override]
        """The zone of the first trigger that has one."""
        zones = (getattr(child, "timezone", None) for child in self.triggers)
        return next((zone for zone in zones if zone is not None), None)

    @property
    def anchor(self) -> datetime | None:  # type: ignore[override]
        """The moment that relative schedules count from; setting it reaches them all."""
        return self._anchor

    @anchor.setter
    def anchor(self, moment: datetime | None) -> None:
        self._anchor = moment
        for child in self.triggers:
            child.anchor = moment

    _anchor: datetime | None = None

    @property
    def _needs_anchor(self) -> bool:  # type: ignore[override]
        return any(getattr(child, "_needs_anchor", False) for child in self.triggers)

    @abstractmethod
    def _common_end(self) -> datetime | None:
        """Return the moment after which no fire time can be."""

    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        """
        Return the next fire time, later than the previous one or not before ``now``.

        Sets `anchor` when one of the triggers needs it and it is None.
        """
        if self._anchor is None and self._needs_anchor:
            self.anchor = self._in_utc(previous_fire_time or now)
        return super().get_next_fire_time(previous_fire_time, now)

    def _fire_at_or_after(self, moment: datetime) -> datetime | None:
        return self._search(moment, {})

    @abstractmethod
    def _search(self, moment: datetime, rounds: _Rounds) -> datetime | None:
        """Return the earliest fire time not before ``moment``, within ``rounds``."""

    def __str__(self) -> str:
        return f"{self.alias}[{', '.join(map(str, self.triggers))}]"

    def __repr__(self) -> str:
        jitter = "" if self._own_jitter is None else f", jitter={self._own_jitter!r}"
        return f"<{type(self).__name__}({self.triggers!r}{jitter})>"


class AndTrigger(CombiningTrigger):
    """
    Fires at the earliest time that all its triggers agree on.

    Ends when one of its triggers has ended.

    Cron triggers among themselves agree when they fire at the same second. Beside
    triggers of other kinds a cron trigger agrees to every moment of the period that
    its given fields name: ``AndTrigger([IntervalTrigger(hours=2),
    CronTrigger(day_of_week="sat,sun")])`` fires every two hours, but only on Saturdays
    and Sundays.

    :param triggers: at least one trigger
    :param jitter: delay each run by up to this many seconds; by default the largest
        jitter of the triggers

    Daylight saving: as each of the triggers has it.

    Triggers that have not agreed after 2,000 rounds of asking all of them are taken
    never to agree, and the answer is None.
    """

    alias = "and"

    def __init__(self, triggers: Iterable[BaseTrigger], jitter: float | None = None):
        super().__init__(triggers, jitter)
        crons = [child for child in self.triggers if isinstance(child, CronTrigger)]
        if len(crons) == len(self.triggers):
            self._sources, self._filters = self.triggers, []
        else:
            self._sources = [child for child in self.triggers if child not in crons]
            self._filters = [child.period for child in crons]

    def _common_end(self) -> datetime | None:
        ends = [child.end_date for child in self.triggers if child.end_date is not None]
        return min(ends, default=None)

    def _search(self, moment: datetime, rounds: _Rounds) -> datetime | None:
        goal = moment
        while rounds.get(id(self), 0) < MAX_ROUNDS:
            rounds[id(self)] = rounds.get(id(self), 0) + 1
            answer: datetime | None = None
            agreed = True
            for child in self._sources:
                found = _ask(child, goal, rounds)
                if found is None:
                    return None
                instant = found.astimezone(utc)
                if answer is None:
                    answer = found
                elif instant > goal:
                    agreed = False
                goal = instant
            for period in self._filters:
                # Periods consist of whole seconds, their fractions included.
                whole = goal.replace(microsecond=0)
                found = period.get_next_fire_time(None, whole)
                if found is None:
                    return None
                instant = found.astimezone(utc)
                if instant > whole:
                    agreed, goal = False, instant
            if agreed:
                return answer
        return None


class OrTrigger(CombiningTrigger):
    """
    Fires whenever one of its triggers does.

    Each trigger keeps its own rhythm: a fire time of one does not move those of
    another, and a time on which several fall fires once. Ends when all have ended.

    :param triggers: at least one trigger
    :param jitter: delay each run by up to this many seconds; by default the largest
        jitter of the triggers

    Daylight saving: as each of the triggers has it.
    """

    alias = "or"

    def _common_end(self) -> datetime | None:
        ends = [child.end_date for child in self.triggers]
        known = [end for end in ends if end is not None]
        return max(known) if len(known) == len(ends) else None

    def _search(self, moment: datetime, rounds: _Rounds) -> datetime | None:
        answers = (_ask(child, moment, rounds) for child in self.triggers)
        found = [answer for answer in answers if answer is not None]
        return min(found, key=_utc, default=None)


def _ask(child: BaseTrigger, moment: datetime, rounds: _Rounds) -> datetime | None:
    """Return a trigger's earliest fire time that is not before ``moment``."""
    if type(child).get_next_fire_time is CombiningTrigger.get_next_fire_time:
        assert isinstance(child, CombiningTrigger)
        return child._search(moment, rounds)
    found = child.get_next_fire_time(None, moment)
    # Date triggers, and perhaps custom ones, begin with times that have passed.
    for _ in range(_MAX_STEPS):
        if found is None or _utc(found) >= moment:
            return found
        found = child.get_next_fire_time(found, moment)
    return None


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(utc)


def _check_triggers(name: str, triggers: Any) -> list[BaseTrigger]:
    if isinstance(triggers, (str, bytes)) or not isinstance(triggers, Iterable):
        raise TypeError(
            f"{name} expects a list of triggers; got {type(triggers).__name__}"
        )
    children = list(triggers)
    for child in children:
        if not isinstance(child, BaseTrigger):
            raise TypeError(
                f"{name} expects a list of triggers; one of them is {shown(child)}"
            )
    if not children:
        raise ValueError(f"{name} expects at least one trigger; got none")
    return children
