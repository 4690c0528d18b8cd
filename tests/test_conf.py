"""``settings.APSCHEDULER``: how it may be written, what it gives, what it refuses."""

from __future__ import annotations

from datetime import timezone
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import SimpleTestCase, override_settings

from django_apscheduler import conf

NESTED = {
    "jobstores": {"mongo": {"type": "mongodb"}},
    "executors": {
        "default": {"class": "some.module:Pool", "max_workers": "20"},
        "processpool": {"type": "processpool", "max_workers": "5"},
    },
    "job_defaults": {"coalesce": "false", "max_instances": "3"},
    "timezone": "UTC",
}
FLAT = {
    "apscheduler.jobstores.mongo": {"type": "mongodb"},
    "apscheduler.executors.default": {
        "class": "some.module:Pool",
        "max_workers": "20",
    },
    "apscheduler.executors.processpool": {"type": "processpool", "max_workers": "5"},
    "apscheduler.job_defaults.coalesce": "false",
    "apscheduler.job_defaults.max_instances": "3",
    "apscheduler.timezone": "UTC",
}
MIXED = {
    "jobstores.mongo.type": "mongodb",
    "executors": {"processpool": {"type": "processpool", "max_workers": "5"}},
    "apscheduler.executors.default": {
        "class": "some.module:Pool",
        "max_workers": "20",
    },
    "apscheduler": {"job_defaults": {"coalesce": "false"}, "timezone": "UTC"},
    "job_defaults": {"max_instances": "3"},
}


class WrittenInAnyWay(SimpleTestCase):
    def test_nested_flat_and_mixed_dictionaries_say_the_same(self):
        for written in (NESTED, FLAT, MIXED):
            with self.subTest(written=written):
                self.assertEqual(conf.normalise(written), NESTED)

    def test_the_guides_dictionary_configures_a_scheduler(self):
        with override_settings(APSCHEDULER=FLAT):
            options = conf.configuration().scheduler_options()
        self.assertEqual(
            options,
            {
                "jobstores": {
                    "default": {"type": "django"},
                    "mongo": {"type": "mongodb"},
                },
                "executors": {
                    "default": {"class": "some.module:Pool", "max_workers": "20"},
                    "processpool": {"type": "processpool", "max_workers": "5"},
                },
                "job_defaults": {
                    "coalesce": False,
                    "max_instances": 3,
                    "misfire_grace_time": 3600,
                },
                "timezone": timezone.utc,
            },
        )

    def test_an_executor_may_be_just_its_alias(self):
        with override_settings(APSCHEDULER={"executors": {"gpu": "threadpool"}}):
            executors = conf.configuration().executors
        self.assertEqual(
            executors,
            {
                "default": {"type": "threadpool", "max_workers": 10},
                "gpu": {"type": "threadpool"},
            },
        )

    def test_a_job_store_may_be_an_object(self):
        store = object()
        with override_settings(APSCHEDULER={"jobstores": {"default": store}}):
            options = conf.configuration().scheduler_options()
        self.assertIs(options["jobstores"]["default"], store)

    def test_objects_inside_options_are_handed_on_as_they_are(self):
        engine = object()
        options = {"type": "sqlalchemy", "engine": engine}
        with override_settings(APSCHEDULER={"jobstores": {"default": options}}):
            found = conf.configuration().scheduler_options()["jobstores"]["default"]
        self.assertIs(found["engine"], engine)
        self.assertIsNot(found, options)


class Defaults(SimpleTestCase):
    def test_without_settings_there_is_what_most_projects_need(self):
        with override_settings(APSCHEDULER=None, TIME_ZONE="Europe/Berlin"):
            found = conf.configuration()
        self.assertEqual(found.jobstores, {"default": {"type": "django"}})
        self.assertEqual(
            {alias: options["type"] for alias, options in found.executors.items()},
            {
                "default": "threadpool",
                "processpool": "processpool",
                "asyncio": "asyncio",
            },
        )
        self.assertEqual(found.executors["default"]["max_workers"], 10)
        self.assertEqual(
            found.job_defaults,
            {"coalesce": True, "max_instances": 1, "misfire_grace_time": 3600},
        )
        self.assertEqual(found.timezone, ZoneInfo("Europe/Berlin"))
        self.assertEqual(
            found.retention,
            {
                "days": 30,
                "rows": 10_000,
                "finished_job_days": 7,
                "rollup_days": 400,
            },
        )
        self.assertEqual(
            (found.release, found.using, found.drain_timeout), ("", None, 30)
        )

    def test_settings_are_read_each_time(self):
        with override_settings(APSCHEDULER={"release": 7}):
            self.assertEqual(conf.configuration().release, "7")
        with override_settings(APSCHEDULER={"release": "b"}):
            self.assertEqual(conf.configuration().release, "b")

    def test_changing_a_schedulers_options_changes_no_default(self):
        with override_settings(APSCHEDULER=None):
            options = conf.configuration().scheduler_options()
            options["executors"]["default"]["max_workers"] = 99
            options["job_defaults"]["coalesce"] = False
            found = conf.configuration().scheduler_options()
        self.assertEqual(found["executors"]["default"]["max_workers"], 10)
        self.assertIs(found["job_defaults"]["coalesce"], True)

    def test_other_time_zones_and_databases_are_noticed(self):
        with override_settings(APSCHEDULER={"using": "default"}):
            with override_settings(TIME_ZONE="Asia/Kolkata"):
                found = conf.configuration()
                self.assertEqual(found.timezone, ZoneInfo("Asia/Kolkata"))
            self.assertEqual(str(conf.configuration().timezone), "UTC")

    def test_the_database_of_the_jobs_is_said_once(self):
        settings = {
            "using": "default",
            "jobstores": {"memory": {"type": "memory"}, "own": {"type": "django"}},
        }
        with override_settings(APSCHEDULER=settings):
            self.assertEqual(
                conf.configuration().jobstores,
                {
                    "default": {"type": "django", "using": "default"},
                    "memory": {"type": "memory"},
                    "own": {"type": "django", "using": "default"},
                },
            )

    def test_no_grace_limit_can_be_asked_for(self):
        for value in (None, "None"):
            with override_settings(
                APSCHEDULER={"job_defaults": {"misfire_grace_time": value}}
            ):
                found = conf.configuration().job_defaults
            self.assertIsNone(found["misfire_grace_time"])

    def test_the_earlier_packages_settings_are_read(self):
        self.assertEqual(conf.datetime_format(), "N j, Y, f:s a")
        self.assertEqual(conf.run_now_timeout(), 25)
        with override_settings(
            APSCHEDULER_DATETIME_FORMAT="c", APSCHEDULER_RUN_NOW_TIMEOUT=3
        ):
            self.assertEqual(conf.datetime_format(), "c")
            self.assertEqual(conf.run_now_timeout(), 3)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ("threadpool", "it must be a dictionary; got str"),
        ({1: 2}, "keys must be text; got 1"),
        (
            {"timezone": "UTC", "apscheduler.timezone": "UTC"},
            "'apscheduler.timezone' is given twice",
        ),
        (
            {"executors.default.type": "threadpool", "executors.default": "debug"},
            "'executors.default' is given twice",
        ),
        (
            {"executors": "threadpool"},
            "executors must be a dictionary of alias → options; got 'threadpool'",
        ),
        (
            {"executors": {"default": {"max_workers": 2}}},
            (
                "executors.default must have either 'type' (an alias) or 'class' (a "
                "reference like 'module:Class'); got {'max_workers': 2}"
            ),
        ),
        (
            {"timezone": "Mars/Olympus"},
            (
                "timezone must be the name of a time zone or a tzinfo object; got "
                "'Mars/Olympus'"
            ),
        ),
        (
            {"job_defaults": {"misfire_grace_time": 0}},
            (
                "job_defaults.misfire_grace_time: expected a whole number greater than 0; "
                "got 0"
            ),
        ),
        (
            {"job_defaults": {"coalesce": "perhaps"}},
            (
                "job_defaults.coalesce: expected one of true, yes, on, y, t, 1, false, no, "
                "off, n, f or 0; got 'perhaps'"
            ),
        ),
        (
            {"job_defaults": {"jitter": 3}},
            (
                "unknown key 'job_defaults.jitter'; known are coalesce, max_instances, "
                "misfire_grace_time"
            ),
        ),
        ({"using": "nowhere"}, "using must be an alias of DATABASES; got 'nowhere'"),
        (
            {"drain_timeout": "soon"},
            "drain_timeout must be a number of seconds, 0 or more; got 'soon'",
        ),
        (
            {"retention": {"days": -1}},
            (
                "retention.days must be a whole number, 0 or more, or None to keep "
                "everything; got -1"
            ),
        ),
        ({"retention": {"weeks": 1}}, "unknown key 'retention.weeks'"),
        ({"release": ["1"]}, "release must be a text or number that grows"),
        ({"jobstore": {}}, "unknown key 'jobstore'; known are jobstores, executors"),
    ],
)
def test_a_mistake_is_named_with_what_was_expected(settings, problem):
    with override_settings(APSCHEDULER=settings):
        (found,) = conf.problems()
        assert found.startswith(problem)
        with pytest.raises(ImproperlyConfigured) as raised:
            conf.configuration()
    assert str(raised.value) == f"settings.APSCHEDULER cannot be used: {found}"


def test_all_mistakes_are_told_at_once():
    with override_settings(APSCHEDULER={"timezone": 5, "drain_timeout": -1}):
        assert len(conf.problems()) == 2
