"""Planning: which due run times run, which are missed, which are coalesced."""

from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from django_apscheduler.planning import (
    Skipped,
    first_fire,
    latest_fire_time,
    plan,
    with_jitter,
)
from django_apscheduler.triggers.cron import CronTrigger

UTC = timezone.utc
NOON = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
UID = UUID(int=7)


class Every:
    """A trigger that fires at whole multiples of a step since 2000, and counts."""

    jitter = None
    end_date = None
    start = datetime(2000, 1, 1, tzinfo=UTC)

    def __init__(self, step, end_date=None, jitter=None):
        self.step, self.end_date, self.jitter = step, end_date, jitter
        self.asked = 0

    def get_next_fire_time(self, previous, now):
        self.asked += 1
        if previous is not None:
            following = previous + self.step
        else:
            following = self.start - (self.start - now) // self.step * self.step
        if self.end_date and following > self.end_date:
            return None
        return following


class EveryWithPrevious(Every):
    def get_previous_fire_time(self, now):
        return self.start + (now - self.start) // self.step * self.step


def job(trigger, due, **options):
    defaults = {"coalesce": False, "misfire_grace_time": None, "max_instances": 1}
    return SimpleNamespace(
        id="job",
        uid=UID,
        trigger=trigger,
        next_run_time=due,
        nominal_time=due,
        **{**defaults, **options},
    )


def test_a_job_due_once_runs_and_moves_on():
    result = plan(job(Every(MINUTE), NOON), NOON + SECOND)
    assert result.run_times == [NOON]
    assert result.skipped == []
    assert result.next_run_time == NOON + MINUTE


@pytest.mark.parametrize(("late", "missed"), [(10, False), (11, True)])
def test_a_run_is_missed_when_it_is_later_than_the_grace_time(late, missed):
    result = plan(job(Every(MINUTE), NOON, misfire_grace_time=10), NOON + late * SECOND)
    assert result.run_times == ([] if missed else [NOON])
    assert result.skipped == (
        [Skipped("Missed!", NOON, NOON, 1, (NOON,))] if missed else []
    )
    assert result.next_run_time == NOON + MINUTE


def test_without_coalescing_all_due_times_within_grace_run_in_succession():
    result = plan(job(Every(MINUTE), NOON, misfire_grace_time=150), NOON + 4 * MINUTE)
    assert result.run_times == [NOON + 2 * MINUTE, NOON + 3 * MINUTE, NOON + 4 * MINUTE]
    assert result.skipped == [
        Skipped("Missed!", NOON, NOON + MINUTE, 2, (NOON, NOON + MINUTE))
    ]
    assert result.next_run_time == NOON + 5 * MINUTE


def test_a_coalesced_run_bears_the_last_due_run_time():
    result = plan(
        job(Every(MINUTE), NOON, coalesce=True, misfire_grace_time=30),
        NOON + 3 * MINUTE,
    )
    assert result.run_times == [NOON + 3 * MINUTE]
    times = (NOON, NOON + MINUTE, NOON + 2 * MINUTE)
    assert result.skipped == [Skipped("Coalesced", times[0], times[2], 3, times)]


def test_coalesced_times_that_are_all_too_late_are_one_miss():
    result = plan(
        job(Every(MINUTE), NOON, coalesce=True, misfire_grace_time=5),
        NOON + 3 * MINUTE + 6 * SECOND,
    )
    assert result.run_times == []
    last = NOON + 3 * MINUTE
    assert result.skipped == [Skipped("Missed!", NOON, last, 4, (last,))]
    assert result.next_run_time == NOON + 4 * MINUTE


def test_one_claim_takes_at_most_a_hundred_run_times_and_leaves_the_rest_due():
    result = plan(job(Every(SECOND), NOON), NOON + 250 * SECOND)
    assert result.run_times == [NOON + i * SECOND for i in range(100)]
    assert result.next_run_time == NOON + 100 * SECOND


@pytest.mark.parametrize("kind", [Every, EveryWithPrevious])
def test_a_backlog_of_millions_coalesces_in_bounded_time(kind):
    trigger = kind(SECOND)
    now = NOON + timedelta(days=100)
    result = plan(job(trigger, NOON, coalesce=True), now)
    assert result.run_times == [now]
    (skipped,) = result.skipped
    assert (skipped.status, skipped.first, skipped.count) == ("Coalesced", NOON, None)
    assert len(skipped.run_times) == 1000
    assert result.next_run_time == now + SECOND
    assert trigger.asked < 1200


@pytest.mark.parametrize("kind", [Every, EveryWithPrevious])
def test_a_backlog_of_millions_is_missed_in_bounded_time(kind):
    trigger = kind(SECOND)
    now = NOON + timedelta(days=100)
    result = plan(job(trigger, NOON, misfire_grace_time=10), now)
    assert result.run_times == [now - i * SECOND for i in range(10, -1, -1)]
    (skipped,) = result.skipped
    assert (skipped.status, skipped.first, skipped.count) == ("Missed!", NOON, None)
    assert skipped.last == now - 11 * SECOND
    assert trigger.asked < 1200


BERLIN = ZoneInfo("Europe/Berlin")


def test_jobs_go_on_through_the_hour_that_an_autumn_night_shows_twice():
    trigger = CronTrigger(minute="*/30", timezone=BERLIN)
    # 02:30 summer time; the next fire, 02:00 winter time, looks earlier on the wall.
    due = datetime(2025, 10, 26, 2, 30, tzinfo=BERLIN)
    result = plan(job(trigger, due), due)
    assert result.run_times == [due]
    assert result.next_run_time.isoformat() == "2025-10-26T02:00:00+01:00"


def test_a_backlog_over_an_autumn_night_coalesces_into_the_true_last_time():
    trigger = CronTrigger(second="*", timezone=BERLIN)
    due = datetime(2025, 10, 26, 2, 59, tzinfo=BERLIN)
    now = datetime(2025, 10, 26, 1, 30, tzinfo=UTC)  # 02:30 winter time
    result = plan(job(trigger, due, coalesce=True), now)
    assert [t.isoformat() for t in result.run_times] == ["2025-10-26T02:30:00+01:00"]
    assert result.next_run_time.isoformat() == "2025-10-26T02:30:01+01:00"


def test_the_schedule_ends_with_its_last_time():
    result = plan(job(Every(MINUTE, end_date=NOON), NOON), NOON)
    assert result.run_times == [NOON]
    assert result.next_run_time is None


def test_a_trigger_that_does_not_move_forward_is_an_error_that_names_the_job():
    trigger = Every(timedelta(0))
    with pytest.raises(ValueError, match="job 'job'.*must fire later than 2026-06-01"):
        plan(job(trigger, NOON), NOON)


def test_jitter_is_the_same_in_every_process_and_differs_between_runs():
    trigger = Every(MINUTE, jitter=30)
    times = [with_jitter(trigger, UID, NOON + i * MINUTE) for i in range(50)]
    assert times == [with_jitter(trigger, UID, NOON + i * MINUTE) for i in range(50)]
    delays = [(t - NOON - i * MINUTE).total_seconds() for i, t in enumerate(times)]
    assert all(0 <= delay <= 30 for delay in delays)
    assert len(set(delays)) == 50
    assert max(delays) > 20 and min(delays) < 10
    other = with_jitter(trigger, UUID(int=8), NOON)
    assert other != times[0]


def test_jitter_never_passes_the_end():
    trigger = Every(MINUTE, end_date=NOON + SECOND, jitter=3600)
    assert with_jitter(trigger, UID, NOON) == NOON + SECOND


def test_the_next_occurrence_follows_from_the_nominal_time_not_the_jittered_one():
    trigger = Every(MINUTE, jitter=30)
    run_time, nominal = first_fire(trigger, UID, NOON)
    assert nominal == NOON
    it = job(trigger, run_time)
    it.nominal_time = nominal
    result = plan(it, NOON + 40 * SECOND)
    assert result.run_times == [run_time]
    assert result.nominal_times == [NOON]
    assert result.nominal_time == NOON + MINUTE
    assert result.next_run_time == with_jitter(trigger, UID, NOON + MINUTE)


def test_the_latest_fire_time_is_found_by_halves():
    trigger = Every(timedelta(hours=7))
    expected = EveryWithPrevious(timedelta(hours=7)).get_previous_fire_time(NOON)
    earliest = NOON - timedelta(days=3000)
    assert latest_fire_time(trigger, earliest, NOON) == expected
    assert trigger.asked < 100
    assert latest_fire_time(Every(timedelta(days=9)), NOON - SECOND, NOON) is None
