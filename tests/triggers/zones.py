"""Zones whose clocks change in telling ways, and how."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

BERLIN = "Europe/Berlin"  # +01/+02; 2025-03-30 02:00 -> 03:00, 10-26 03:00 -> 02:00
NEW_YORK = (
    "America/New_York"  # -05/-04; 2025-03-09 02:00 -> 03:00, 11-02 02:00 -> 01:00
)
ST_JOHNS = "America/St_Johns"  # -03:30/-02:30; until 2011 at one minute past midnight:
# 2010-03-14 00:01 -> 01:01, 2010-11-07 00:01 -> 2010-11-06 23:01
LORD_HOWE = "Australia/Lord_Howe"  # +10:30/+11, half an hour;
# 2025-10-05 02:00 -> 02:30, 2025-04-06 02:00 -> 01:30
CHATHAM = "Pacific/Chatham"  # +12:45/+13:45; 2025-09-28 02:45 -> 03:45,
# 2025-04-06 03:45 -> 02:45
TROLL = "Antarctica/Troll"  # +00/+02, two hours; 2025-03-30 01:00 -> 03:00,
# 2025-10-26 03:00 -> 01:00
SANTIAGO = "America/Santiago"  # -04/-03; 2025-09-07 00:00 -> 01:00,
# 2025-04-06 00:00 -> 2025-04-05 23:00
CAIRO = "Africa/Cairo"  # +02/+03; 2025-04-25 00:00 -> 01:00,
# 2025-10-31 00:00 -> 2025-10-30 23:00
HAVANA = "America/Havana"  # -05/-04; 2025-03-09 00:00 -> 01:00, 11-02 01:00 -> 00:00
APIA = "Pacific/Apia"  # 2011-12-30 was left out: 12-29 at -10, then 12-31 at +14
KOLKATA = "Asia/Kolkata"  # +05:30, no changes


def fire_times(trigger, start: str, zone: str, count: int) -> list[str]:
    """Return the first fire times from the wall time ``start`` on."""
    now = datetime.fromisoformat(start).replace(tzinfo=ZoneInfo(zone))
    times = []
    previous = None
    for _ in range(count):
        previous = trigger.get_next_fire_time(previous, now)
        if previous is None:
            break
        times.append(previous.isoformat(" ", "minutes"))
    return times
