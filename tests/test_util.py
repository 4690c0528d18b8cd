"""Conversions: time zones, times, references, booleans."""

import functools
from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
import pytz

from django_apscheduler import util

UTC = timezone.utc


@pytest.mark.parametrize("text", ["true", "Yes", " on ", "y", "T", "1"])
def test_asbool_reads_true(text):
    assert util.asbool(text) is True


@pytest.mark.parametrize("text", ["false", "No", " off ", "n", "F", "0"])
def test_asbool_reads_false(text):
    assert util.asbool(text) is False


def test_asbool_refuses_other_texts():
    with pytest.raises(ValueError, match="expected one of true, yes.*got 'maybe'"):
        util.asbool("maybe")


def test_asint():
    assert util.asint("20") == 20
    assert util.asint(None) is None


_original = test_asint


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),
        ("Europe/Berlin", ZoneInfo("Europe/Berlin")),
        (pytz.timezone("Europe/Berlin"), ZoneInfo("Europe/Berlin")),
        (pytz.utc, UTC),
        ("utc", UTC),
        (pytz.FixedOffset(330), timezone(timedelta(minutes=330))),
        (timezone(timedelta(hours=-3)), timezone(timedelta(hours=-3))),
    ],
)
def test_time_zones_of_all_kinds_become_zoneinfo(given, expected):
    assert util.astimezone(given) == expected


def test_unknown_time_zones_are_named():
    with pytest.raises(ValueError, match="'Mars/Olympus'"):
        util.astimezone("Mars/Olympus")
    with pytest.raises(ValueError, match="name of a time zone"):
        util.astimezone("../../etc/passwd")
    with pytest.raises(TypeError, match="got int"):
        util.astimezone(3)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2026-05-30", "2026-05-30T00:00:00+02:00"),
        ("2026-05-30 14:00:00", "2026-05-30T14:00:00+02:00"),
        ("2026-05-30T14:00:00.25", "2026-05-30T14:00:00.250000+02:00"),
        ("2026-05-30 14:00:00Z", "2026-05-30T14:00:00+00:00"),
        ("2026-05-30 14:00:00-0330", "2026-05-30T14:00:00-03:30"),
        (date(2026, 1, 2), "2026-01-02T00:00:00+01:00"),
        (datetime(2026, 1, 2, 3), "2026-01-02T03:00:00+01:00"),
        (datetime(2026, 1, 2, 3, tzinfo=UTC), "2026-01-02T03:00:00+00:00"),
    ],
)
def test_times_become_aware(given, expected):
    moment = util.convert_to_datetime(given, "Europe/Berlin", "run_date")
    assert moment.isoformat() == expected


def test_pytz_times_keep_their_instant_without_pytz():
    given = pytz.timezone("America/New_York").localize(datetime(2026, 7, 1, 12))
    moment = util.convert_to_datetime(given, None, "run_date")
    assert moment.isoformat() == "2026-07-01T12:00:00-04:00"
    assert moment.tzinfo == ZoneInfo("America/New_York")


def test_what_is_no_time_is_refused_with_the_arguments_name():
    for bad, error in [
        ("tomorrow", ValueError),
        ("2026-02-30", ValueError),
        ("2026-01-01 25:00:00", ValueError),
        (5, TypeError),
    ]:
        with pytest.raises(error, match="^run_date "):
            util.convert_to_datetime(bad, UTC, "run_date")
    assert util.convert_to_datetime(None, UTC, "run_date") is None
    with pytest.raises(ValueError, match="has no time zone"):
        util.convert_to_datetime("2026-01-01", None, "run_date")


def test_rounding_up_to_a_second_keeps_the_instant_over_a_clock_change():
    berlin = ZoneInfo("Europe/Berlin")
    # A microsecond before the clocks go back, the first 02:59:59.999999.
    before = datetime(2026, 10, 25, 2, 59, 59, 999999, tzinfo=berlin)
    assert util.datetime_ceil(before).isoformat() == "2026-10-25T02:00:00+01:00"
    whole = datetime(2026, 1, 1, tzinfo=UTC)
    assert util.datetime_ceil(whole) is whole


class Report:
    def send(self):
        pass

    @classmethod
    def build(cls):
        pass

    def __call__(self):
        pass


def test_references_lead_back_to_what_they_name():
    for obj, name in [
        (Report, "Report"),
        (Report.send, "Report.send"),
        (Report.build, "Report.build"),
        (test_asint, "test_asint"),
    ]:
        reference = util.obj_to_ref(obj)
        assert reference == f"{__name__}:{name}"
        assert util.ref_to_obj(reference) == obj
    assert util.maybe_ref(5) == 5


def test_what_cannot_be_found_again_has_no_reference():
    def nested():
        pass

    for obj, reason in [
        (lambda: None, "lambda"),
        (nested, "nested function"),
        (functools.partial(test_asint), "partial"),
        (Report().send, "cannot be found again"),
    ]:
        with pytest.raises(ValueError, match=reason):
            util.obj_to_ref(obj)


@pytest.mark.parametrize(
    ("reference", "error"),
    [
        ("os.path", ValueError),
        (":name", ValueError),
        ("no_such_module:name", LookupError),
        ("os:no_such_name", LookupError),
        (5, TypeError),
    ],
)
def test_bad_references_are_refused(reference, error):
    with pytest.raises(error):
        util.ref_to_obj(reference)


def test_names_for_people():
    assert util.get_callable_name(Report().send) == "Report.send"
    assert util.get_callable_name(Report.build) == "Report.build"
    assert util.get_callable_name(Report()) == "Report"
    assert util.get_callable_name(functools.partial(test_asint)) == "test_asint"


def test_arguments_are_checked_against_the_signature():
    def send(to, *, days=1):
        pass

    util.check_callable_args(send, ["ana"], {"days": 2})
    with pytest.raises(ValueError, match=r"send\(to, \*, days=1\).*'dayz'"):
        util.check_callable_args(send, ["ana"], {"dayz": 2})
    with pytest.raises(ValueError, match="missing a required argument: 'to'"):
        util.check_callable_args(send, [], {})


def test_a_function_that_has_changed_is_checked_anew():
    def send(to, days):
        pass

    def other(to):
        pass

    util.check_callable_args(send, ["ana", 1], {})
    send.__defaults__ = (1,)
    util.check_callable_args(send, ["ana"], {})
    send.__defaults__ = None
    with pytest.raises(ValueError, match="missing a required argument: 'days'"):
        util.check_callable_args(send, ["ana"], {})
    send.__code__ = other.__code__
    with pytest.raises(ValueError, match="too many positional arguments"):
        util.check_callable_args(send, ["ana", 1], {})


def test_a_reference_is_made_only_for_what_the_name_means_now(monkeypatch):
    monkeypatch.setattr(f"{__name__}.test_asint", print)
    with pytest.raises(ValueError, match="cannot be found again"):
        util.obj_to_ref(_original)


def test_the_earlier_packages_decorator_leaves_the_function_as_it_is():
    assert util.close_old_connections(test_asint) is test_asint


def test_coroutine_functions_are_seen_through_partials_and_instances():
    async def body():
        pass

    class Body:
        async def __call__(self):
            pass

    assert util.iscoroutinefunction(functools.partial(functools.partial(body)))
    assert util.iscoroutinefunction(Body())
    assert not util.iscoroutinefunction(Body)
    assert not util.iscoroutinefunction(test_asint)
