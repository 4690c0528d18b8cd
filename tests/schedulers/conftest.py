"""A scheduler on a manual clock whose ticks the test makes itself."""

from datetime import datetime, timezone

import pytest

from django_apscheduler import clock
from django_apscheduler.schedulers.base import BaseScheduler
from tests.schedulers.hosts import close_hosts, host_of

NOON = datetime(2026, 6, 1, 12, 0, tzinfo=timezone.utc)


class SteppedScheduler(BaseScheduler):
    """A scheduler without a loop; bodies run in the tick that claims them."""

    def __init__(self, *args, **options):
        self.woken = 0
        options.setdefault("executors", {"default": "debug"})
        options.setdefault("timezone", "UTC")
        super().__init__(*args, **options)

    def wakeup(self):
        self.woken += 1


@pytest.fixture
def manual():
    with clock.use(clock.ManualClock(NOON)) as manual:
        yield manual


@pytest.fixture
def scheduler(manual):
    scheduler = SteppedScheduler()
    yield scheduler
    if scheduler.running:
        scheduler.shutdown()


@pytest.fixture
def events(scheduler):
    seen = []
    scheduler.add_listener(seen.append)
    return seen


@pytest.fixture(scope="session")
def _hosts():
    yield host_of
    close_hosts()


@pytest.fixture
def host(_hosts, request):
    """The host of the kind that the test is parametrised with."""
    return _hosts(request.param)
