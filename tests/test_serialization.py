"""Arguments and triggers survive storage, and what cannot is refused by name."""

from __future__ import annotations

import base64
import json
import pickle
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
import pytz
from hypothesis import given
from hypothesis import strategies as st

from django_apscheduler import serialization
from django_apscheduler.serialization import (
    SerializationError,
    dump_arguments,
    dump_trigger,
    load_arguments,
    load_trigger,
    resolve_arguments,
)
from django_apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from django_apscheduler.triggers.combining import OrTrigger
from django_apscheduler.triggers.interval import IntervalTrigger

BERLIN = ZoneInfo("Europe/Berlin")

EXACT = [
    (datetime(2026, 3, 29, 3, 30, tzinfo=BERLIN), '{"$datetime":"2026-03-29T03:30:00+02:00[Europe/Berlin]"}'),
    (datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=BERLIN), '{"$datetime":"2026-10-25T02:30:00+01:00[Europe/Berlin]"}'),
    (datetime(2026, 1, 2, 3, 4, 5, 6), '{"$datetime":"2026-01-02T03:04:05.000006"}'),
    (datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=5, minutes=30))), '{"$datetime":"2026-01-02T00:00:00+05:30"}'),
    (date(2026, 2, 28), '{"$date":"2026-02-28"}'),
    (time(23, 59, 59), '{"$time":"23:59:59"}'),
    (time(2, 30, tzinfo=BERLIN), '{"$time":"02:30:00[Europe/Berlin]"}'),
    (timedelta(hours=1), '{"$timedelta":3600}'),
    (timedelta(days=-1, microseconds=1), '{"$timedelta":"-86399.999999"}'),
    (Decimal("1.10"), '{"$decimal":"1.10"}'),
    (UUID(int=1), '{"$uuid":"00000000-0000-0000-0000-000000000001"}'),
    ((1, "a"), '{"$tuple":[1,"a"]}'),
    ({3, 1, 2}, '{"$set":[1,2,3]}'),
    (frozenset({"b", "a"}), '{"$frozenset":["a","b"]}'),
    (b"\x00\xff", '{"$bytes":"AP8="}'),
    (BERLIN, '{"$timezone":"Europe/Berlin"}'),
    (timezone.utc, '{"$timezone":"UTC"}'),
    (timezone(-timedelta(hours=3, minutes=30)), '{"$timezone":"-03:30"}'),
    ({"$datetime": "mine"}, '{"$dict":{"$datetime":"mine"}}'),
    ({"$dict": {"$dict": 1}}, '{"$dict":{"$dict":{"$dict":{"$dict":1}}}}'),
    ({"ä": None, "b": True}, '{"b":true,"ä":null}'),
    ([1.5, -0.0, 10**40], "[1.5,-0.0,10000000000000000000000000000000000000000]"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "text"), EXACT, ids=[text for _, text in EXACT])
def test_each_kind_of_argument_has_a_readable_text_and_comes_back(value, text):
    stored = dump_arguments([value])
    assert stored == f"[{text}]"
    (loaded,) = load_arguments(stored)
    assert loaded == value
    assert type(loaded) is type(value)
    if isinstance(value, (datetime, time)):
        assert loaded.tzinfo == value.tzinfo
        assert loaded.utcoffset() == value.utcoffset()
        assert loaded.fold == value.fold


def test_no_arguments_are_empty_containers():
    assert dump_arguments(()) == "[]"
    assert dump_arguments({}) == "{}"
    assert load_arguments("[]") == ()
    assert load_arguments("{}") == {}


def test_a_pytz_time_is_stored_in_its_zoneinfo_zone():
    moment = pytz.timezone("Europe/Berlin").localize(datetime(2026, 7, 1, 12))
    (loaded,) = load_arguments(dump_arguments([moment]))
    assert loaded == moment
    assert loaded.tzinfo is BERLIN


def test_equal_arguments_have_equal_texts_whatever_their_order():
    one = dump_arguments({"b": {"y", "x", "z"}, "a": 1})
    two = dump_arguments({"a": 1, "b": {"z", "y", "x"}})
    assert one == two == '{"a":1,"b":{"$set":["x","y","z"]}}'


class Unknown:
    """Something that JSON cannot carry, but pickle can."""

    def __eq__(self, other):
        return isinstance(other, Unknown)

    def __hash__(self):
        return 1


def test_what_json_cannot_carry_is_refused_with_its_path_and_the_remedy():
    with pytest.raises(SerializationError) as caught:
        dump_arguments([1, {"when": [Unknown()]}])
    assert str(caught.value) == (
        f"args[1]['when'][0] is a {__name__}.Unknown, which cannot be stored as JSON; "
        "pass something simpler, such as a primary key or a text, and look the object "
        "up inside the job, or let the job store pickle (its option allow_pickle=True)"
    )


def _cyclic():
    value = []
    value.append(value)
    return value


def _deep():
    value = []
    for _ in range(150):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"n": float("nan")}, "kwargs['n'] is nan, which JSON has no number for"),
        ({"n": [float("-inf")]}, "kwargs['n'][0] is -inf"),
        ({"n": {1: "a"}}, "kwargs['n'] has the key 1; JSON objects have texts as keys"),
        ({"n": _cyclic()}, "kwargs['n'][0] contains itself"),
        ({"n": _deep()}, "is nested more than 100 deep"),
        ({"n": "\ud800"}, "kwargs['n'] holds a text that is not valid Unicode"),
        ({"n": {"\ud800": 1}}, "a key of kwargs['n'] holds a text"),
        ({"n": len}, "kwargs['n'] is a builtin_function_or_method"),
    ],
)
def test_refusals_name_the_argument(kwargs, message):
    with pytest.raises(SerializationError) as caught:
        dump_arguments(kwargs)
    assert message in str(caught.value)


def test_the_same_value_twice_is_no_cycle():
    shared = [1]
    assert dump_arguments([shared, shared]) == "[[1],[1]]"


@pytest.mark.parametrize(
    "text",
    [
        "not json",
        "3",
        '[{"$datetime":"yesterday"}]',
        '[{"$datetime":3}]',
        '[{"$timezone":"Mars/Olympus"}]',
        '[{"$decimal":"x"}]',
        '[{"$uuid":"x"}]',
        '[{"$bytes":"*"}]',
        '[{"$tuple":3}]',
        '[{"$unheard_of":1}]',
        "[" * 5000 + "]" * 5000,
    ],
)
def test_a_text_that_was_not_written_here_is_a_clear_error(text):
    with pytest.raises(SerializationError):
        load_arguments(text)


@pytest.mark.parametrize("name", ["subprocess:Popen", "os:system", "builtins:print"])
def test_a_trigger_that_is_none_is_not_called(name):
    text = f'{{"type":"{name}","args":{{"args":["touch","/nowhere"]}}}}'
    with pytest.raises(SerializationError, match="a class with get_next_fire_time"):
        load_trigger(text)


def test_a_pickle_has_the_protocol_that_is_asked_for():
    stored = dump_arguments([Unknown()], pickle=True, protocol=2)
    data = base64.b64decode(json.loads(stored)[0]["$pickle"])
    assert data[:2] == b"\x80\x02"
    assert load_arguments(stored, pickle=True) == (Unknown(),)


def test_pickle_is_opt_in_for_writing_and_for_reading():
    stored = dump_arguments([Unknown()], pickle=True)
    with pytest.raises(SerializationError, match="give the store allow_pickle=True"):
        load_arguments(stored)
    assert load_arguments(stored, pickle=True) == (Unknown(),)


def test_what_even_pickle_cannot_carry_is_refused_by_name():
    with pytest.raises(SerializationError, match=r"args\[0\] is a function"):
        dump_arguments([lambda: None], pickle=True)


class Row:
    """A thing that is kept elsewhere under a number."""

    kept = {7: "seven"}

    def __init__(self, number):
        self.number = number


def load_row(number):
    """Return the row, or fail as a database would."""
    return Row.kept[number]


@pytest.fixture
def rows(monkeypatch):
    monkeypatch.setattr(serialization, "_kinds", {})
    serialization.register(Row, "row", lambda row: row.number, f"{__name__}:load_row")


@pytest.mark.usefixtures("rows")
def test_registered_things_load_only_when_resolved():
    stored = dump_arguments({"row": Row(7), "rest": [Row(8)], "n": (1,)})
    assert stored == '{"n":{"$tuple":[1]},"rest":[{"$row":8}],"row":{"$row":7}}'
    loaded = load_arguments(stored)
    assert isinstance(loaded["row"], serialization.Deferred)
    assert dump_arguments(loaded) == stored
    travelled = pickle.loads(pickle.dumps(loaded))
    assert resolve_arguments((), {"row": travelled["row"], "n": (1,)}) == (
        (),
        {"row": "seven", "n": (1,)},
    )
    with pytest.raises(KeyError, match="8"):
        resolve_arguments((), loaded)


def test_resolving_plain_arguments_gives_the_same_objects():
    args, kwargs = ([1], (2,)), {"a": {"b": {3}}}
    resolved = resolve_arguments(args, kwargs)
    assert resolved[0] is args
    assert resolved[1]["a"] is kwargs["a"]


ZONES = st.sampled_from(
    [None, timezone.utc, BERLIN]
    + [
        ZoneInfo(name)
        for name in ("Australia/Lord_Howe", "Asia/Kolkata", "Pacific/Apia")
    ]
    + [timezone(timedelta(hours=-9, minutes=-30))]
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
    st.binary(),
    st.decimals(allow_nan=False),
    st.uuids(),
    st.dates(),
    st.timedeltas(),
    st.datetimes(timezones=ZONES, allow_imaginary=True),
    st.times(),
)
HASHABLE = st.one_of(st.integers(), st.text(), st.dates(), st.tuples(st.integers()))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(
            st.one_of(st.text(), st.sampled_from(["$dict", "$set", "$", "$tuple"])),
            inner,
            max_size=4,
        ),
        st.sets(HASHABLE, max_size=4),
        st.frozensets(HASHABLE, max_size=4),
    ),
    max_leaves=12,
)


def _same(one, two):
    if type(one) is not type(two):
        return False
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(_same, one, two))
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(_same(one[k], two[k]) for k in one)
    if isinstance(one, datetime):
        return one == two and one.utcoffset() == two.utcoffset()
    return one == two


@given(st.lists(VALUES, max_size=4))
def test_whatever_is_accepted_comes_back_the_same(arguments):
    text = dump_arguments(arguments)
    json.loads(text)
    loaded = load_arguments(text)
    assert _same(loaded, tuple(arguments))
    assert dump_arguments(loaded) == text


@pytest.mark.parametrize(
    "trigger",
    [
        IntervalTrigger(minutes=7, timezone="UTC"),
        CalendarIntervalTrigger(days=7, timezone="UTC"),
        OrTrigger([IntervalTrigger(minutes=7, timezone="UTC")]),
    ],
)
def test_jobs_with_the_same_text_take_an_anchor_each(trigger):
    text = dump_trigger(trigger)
    first, second = load_trigger(text), load_trigger(text)
    first.get_next_fire_time(None, datetime(2026, 1, 1, tzinfo=timezone.utc))
    assert first.anchor is not None
    assert second.anchor is None


def test_arguments_hold_no_triggers_whose_classes_would_be_imported():
    for text in (
        '[{"$trigger":{"type":"tests.never_imported:Own","args":{}}}]',
        '{"a":{"$tuple":[{"$trigger":{"type":"tests.never_imported:Own"}}]}}',
        '{"a":{"$dict":{"$b":{"$trigger":{"type":"tests.never_imported:Own"}}}}}',
    ):
        with pytest.raises(
            SerializationError, match="expected a known tag; got '.trig"
        ):
            load_arguments(text)
    combined = OrTrigger([IntervalTrigger(hours=1), IntervalTrigger(hours=2)])
    assert load_trigger(dump_trigger(combined)) == combined
