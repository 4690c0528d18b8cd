"""
A time zone as stretches of constant UTC offset, in whole seconds.

Zones answer "which offset now?" and nothing else, so a schedule that steps through
wall-clock time would ask at every step. Here the changes are looked for once for
each half-year; between two of them wall time is plain arithmetic.
"""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from functools import lru_cache

from django_apscheduler.util import utc

EPOCH = datetime(1970, 1, 1, tzinfo=utc)
DAY = 86_400

#: Nothing is calculated beyond this moment, a few days before datetime ends, so that
#: no conversion to a zone ahead of UTC overflows.
LAST_SECOND = int((datetime(9999, 12, 25, tzinfo=utc) - EPOCH).total_seconds())
FIRST_SECOND = int((datetime(2, 1, 1, tzinfo=utc) - EPOCH).total_seconds())
#: later than every second that can occur
NEVER = 1 << 60

_BLOCK = 180 * DAY
# Since 1970 no zone has changed its offset and changed it back within 6.9 days.
_PROBE = 6 * DAY
# No offset differs from another by more: a wall time cannot recur after this.
_MARGIN = 2 * DAY
# Debian's cron takes smaller changes for daylight saving and larger ones for a
# correction of the clock or the zone, to be followed at once.
_CORRECTION = 3 * 3600
_KEPT_BLOCKS = 16_384


class Span:
    """
    A stretch of constant offset: UTC seconds ``start`` <= u < ``end``.

    ``local_start`` and ``local_end`` are the same in wall-clock seconds. A wall time
    from ``clear_from`` to before ``clear_until`` occurs in no other span. Wall times
    before ``repeats_until`` have occurred in the span before. ``resumes_at`` is where
    wall time would have gone on without the change at ``start``: later than
    ``local_start`` when the change repeats time, earlier when it skips some.
    """

    __slots__ = (
        "start",
        "end",
        "offset",
        "local_start",
        "local_end",
        "clear_from",
        "clear_until",
        "repeats_until",
        "resumes_at",
    )

    def __init__(
        self, start: int, end: int, offset: int, before: int | None, after: int | None
    ):
        """
        :param before: the offset before a change at ``start``, None where no change
            is: the span was cut there
        :param after: the same for ``end``
        """
        self.start = start
        self.end = end
        self.offset = offset
        self.local_start = local_start = start + offset
        self.local_end = local_end = end + offset
        self.repeats_until = self.resumes_at = local_start
        if before is None:
            self.clear_from = local_start + _MARGIN
        else:
            self.clear_from = self.repeats_until = max(local_start, start + before)
            if abs(before - offset) < _CORRECTION:
                self.resumes_at = start + before
        if after is None:
            self.clear_until = local_end - _MARGIN
        else:
            self.clear_until = min(local_end, end + after)


class ZoneOffsets:
    """The spans of one zone, found when first needed."""

    def __init__(self, zone: tzinfo):
        self._zone = zone
        self._epoch = datetime(1970, 1, 1, tzinfo=zone)
        self._blocks: dict[int, tuple[Span, ...]] = {}
        self._always: Span | None = None
        fixed = zone.utcoffset(None)
        if fixed is not None:
            offset = round(fixed.total_seconds())
            self._always = Span(-NEVER, NEVER - offset, offset, None, None)

    def span_at(self, second: int) -> Span:
        """Return the span that holds the UTC ``second``."""
        if self._always is not None:
            return self._always
        number = second // _BLOCK
        spans = self._blocks.get(number)
        if spans is None:
            if len(self._blocks) >= _KEPT_BLOCKS:
                self._blocks.clear()
            spans = self._blocks[number] = self._spans(number)
        for span in spans:
            if second < span.end:
                return span
        raise AssertionError(f"no span of {self._zone} holds {second}")

    def _spans(self, number: int) -> tuple[Span, ...]:
        # Wider than the block, so that every span knows of the changes near it.
        start = number * _BLOCK - _MARGIN
        end = (number + 1) * _BLOCK + _MARGIN
        spans: list[Span] = []
        offset, before = self._offset(start), None
        known = start
        while known < end:
            probe = min(known + _PROBE, end)
            for change, after in self._changes(known, offset, probe):
                spans.append(Span(start, change, offset, before, after))
                start, offset, before = change, after, offset
            known = probe
        spans.append(Span(start, end, offset, before, None))
        return tuple(spans)

    def _changes(self, low: int, offset: int, high: int) -> list[tuple[int, int]]:
        """Return (second, new offset) of the changes after ``low`` up to ``high``."""
        after = self._offset(high)
        changes: list[tuple[int, int]] = []
        while offset != after:
            # Halve until the first second with another offset is found; there may be
            # more than one change before `high`.
            left, right, new = low, high, after
            while right - left > 1:
                middle = (left + right) // 2
                found = self._offset(middle)
                if found == offset:
                    left = middle
                else:
                    right, new = middle, found
            changes.append((right, new))
            low, offset = right, new
        return changes

    def _offset(self, second: int) -> int:
        second = min(max(second, FIRST_SECOND), LAST_SECOND)
        # UTC and wall time under the same zone: their difference is the offset.
        moment = self._epoch + timedelta(0, second)
        offset = self._zone.fromutc(moment) - moment
        return offset.days * DAY + offset.seconds


@lru_cache(maxsize=128)
def _shared(zone: tzinfo) -> ZoneOffsets:
    return ZoneOffsets(zone)


def zone_offsets(zone: tzinfo) -> ZoneOffsets:
    """Return the offsets of ``zone``, one object for all triggers in a process."""
    try:
        return _shared(zone)
    except TypeError:
        # Some libraries' zones cannot be hashed.
        return ZoneOffsets(zone)
