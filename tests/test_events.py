"""Events: codes, texts and the process-wide hooks."""

from django_apscheduler import events


def test_codes_are_distinct_bits_and_all_is_their_sum():
    codes = [
        value
        for name, value in vars(events).items()
        if name.startswith("EVENT_")
        and isinstance(value, int)
        and name not in ("EVENT_ALL", "EVENT_SCHEDULER_START")
    ]
    assert len(set(codes)) == len(codes) == 21
    assert sum(codes) == events.EVENT_ALL
    assert all(code.bit_count() == 1 for code in codes)
    assert set(codes) == set(events.EVENT_NAMES)


def test_the_codes_that_users_may_have_written_down_as_numbers():
    # Interface of APScheduler 3.11's events module, as documented.
    assert events.EVENT_SCHEDULER_STARTED == 1
    assert events.EVENT_JOB_EXECUTED == 4096
    assert events.EVENT_JOB_ERROR == 8192
    assert events.EVENT_JOB_MAX_INSTANCES == 65536


def test_an_event_says_what_happened():
    event = events.JobEvent(events.EVENT_JOB_ADDED, "nightly", "default")
    assert repr(event) == (
        "<JobEvent JOB_ADDED (alias=None, job_id='nightly', jobstore='default')>"
    )


def test_a_failing_hook_is_logged_and_hurts_nobody(caplog):
    seen = []

    def bad(scheduler, event):
        raise RuntimeError("hook is broken")

    def good(scheduler, event):
        seen.append((scheduler, event))

    event = events.SchedulerEvent(events.EVENT_SCHEDULER_STARTED)
    events.add_hook(bad)
    events.add_hook(good)
    events.add_hook(good)
    try:
        events.send_to_hooks("scheduler", event)
    finally:
        events.remove_hook(bad)
        events.remove_hook(good)
    assert seen == [("scheduler", event)]
    assert "hook is broken" in caplog.text
