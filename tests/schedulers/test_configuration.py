"""Configuration: equivalent forms, coercion, and what is refused."""

import logging
from zoneinfo import ZoneInfo

import pytest
import pytz

from django_apscheduler.executors.pool import ProcessPoolExecutor, ThreadPoolExecutor
from django_apscheduler.jobstores.memory import MemoryJobStore
from django_apscheduler.schedulers.background import BackgroundScheduler
from django_apscheduler.schedulers.configuration import nest
from django_apscheduler.util import utc

NESTED = {
    "apscheduler.jobstores": {"second": {"type": "memory"}},
    "apscheduler.executors": {
        "default": {
            "class": "django_apscheduler.executors.pool:ThreadPoolExecutor",
            "max_workers": "20",
        },
        "processpool": {"type": "processpool", "max_workers": "5"},
    },
    "apscheduler.job_defaults": {"coalesce": "false", "max_instances": "3"},
    "apscheduler.timezone": "UTC",
}
FLAT = {
    "apscheduler.jobstores.second.type": "memory",
    "apscheduler.executors.default.class": ThreadPoolExecutor,
    "apscheduler.executors.default.max_workers": "20",
    "apscheduler.executors.processpool.type": "processpool",
    "apscheduler.executors.processpool.max_workers": 5,
    "apscheduler.job_defaults.coalesce": "no",
    "apscheduler.job_defaults.max_instances": 3,
    "apscheduler.timezone": pytz.utc,
}
OPTIONS = {
    "jobstores": {"second": "memory"},
    "executors": {
        "default": ThreadPoolExecutor(20),
        "processpool": ProcessPoolExecutor(max_workers=5),
    },
    "job_defaults": {"coalesce": False, "max_instances": 3},
    "timezone": "UTC",
}


@pytest.mark.parametrize("how", ["nested", "flat", "options", "configure", "no prefix"])
def test_all_ways_of_configuring_are_equivalent(how):
    if how == "nested":
        scheduler = BackgroundScheduler(NESTED)
    elif how == "flat":
        scheduler = BackgroundScheduler(FLAT)
    elif how == "options":
        scheduler = BackgroundScheduler(**OPTIONS)
    elif how == "configure":
        scheduler = BackgroundScheduler()
        scheduler.configure(**OPTIONS)
    else:
        bare = {
            key.removeprefix("apscheduler."): value for key, value in NESTED.items()
        }
        scheduler = BackgroundScheduler(bare, prefix=None)
    assert isinstance(scheduler._jobstores["second"], MemoryJobStore)
    assert type(scheduler._executors["default"]) is ThreadPoolExecutor
    assert scheduler._executors["default"].max_workers == 20
    assert type(scheduler._executors["processpool"]) is ProcessPoolExecutor
    assert scheduler._executors["processpool"].max_workers == 5
    assert scheduler._job_defaults == {
        "coalesce": False,
        "max_instances": 3,
        "misfire_grace_time": 1,
    }
    assert scheduler.timezone is utc


def test_keys_without_the_prefix_belong_to_somebody_else():
    config = {"apscheduler.timezone": "UTC", "sqlalchemy.url": "x", "a.b.c": 1}
    assert nest(config, "apscheduler.", {}) == {"timezone": "UTC"}


def test_keyword_options_come_on_top_of_the_dictionary():
    scheduler = BackgroundScheduler(
        {"apscheduler.timezone": "UTC"}, timezone="Asia/Kolkata"
    )
    assert scheduler.timezone == ZoneInfo("Asia/Kolkata")


def test_the_logger_may_be_named_by_reference():
    scheduler = BackgroundScheduler(logger=f"{__name__}:LOGGER")
    assert scheduler._logger is LOGGER


LOGGER = logging.getLogger("mine")


def test_the_logger_may_be_named():
    assert BackgroundScheduler(logger="mine")._logger is LOGGER


def test_configuring_again_replaces_what_was_configured():
    scheduler = BackgroundScheduler(executors={"default": "debug", "other": "debug"})
    scheduler.configure(executors={"default": {"type": "threadpool"}})
    assert type(scheduler._executors["default"]) is ThreadPoolExecutor
    assert "other" in scheduler._executors


def test_without_configuration_the_guides_defaults_hold():
    scheduler = BackgroundScheduler(timezone="UTC")
    scheduler.start()
    try:
        assert type(scheduler._jobstores["default"]) is MemoryJobStore
        assert type(scheduler._executors["default"]) is ThreadPoolExecutor
        assert scheduler._executors["default"].max_workers == 10
    finally:
        scheduler.shutdown()


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({"timezone": "Mars/Olympus"}, ValueError, "'Mars/Olympus'"),
        ({"job_defaults": {"coalesce": "perhaps"}}, ValueError, "'perhaps'"),
        ({"job_defaults": {"max_instances": "x"}}, ValueError, "cannot be understood"),
        ({"job_defaults": {"colour": 1}}, ValueError, "got colour"),
        ({"job_defaults": 5}, TypeError, "job_defaults must be a dictionary; got 5"),
        ({"executors": 5}, TypeError, "executors must be a dictionary"),
        ({"executors": {"x": {}}}, ValueError, 'Cannot create executor "x"'),
        (
            {"executors": {"x": {"type": "debug", "class": "a:B"}}},
            ValueError,
            'either "type".*or "class"',
        ),
        ({"jobstores": {"x": {"type": "tape"}}}, LookupError, '"tape"'),
        ({"executors": {"x": {"class": "no.such:Pool"}}}, LookupError, "no.such"),
        ({"colour": "red"}, TypeError, "BackgroundScheduler has no options colour"),
        ({"daemon": "perhaps"}, ValueError, "'perhaps'"),
    ],
)
def test_bad_configuration_is_refused_with_what_was_expected(config, error, message):
    with pytest.raises(error, match=message):
        BackgroundScheduler(**config)


def test_a_key_that_is_both_a_value_and_a_section_is_refused():
    with pytest.raises(TypeError, match="'timezone' to be a dictionary"):
        BackgroundScheduler(
            {"apscheduler.timezone": "UTC", "apscheduler.timezone.name": "UTC"}
        )
