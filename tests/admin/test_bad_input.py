"""Bad input: each field says what it expected and what came; all is kept, none saved."""

from __future__ import annotations

import pytest

from tests.admin.browserless import form_of
from tests.admin.world import REPORT, World, address, signed_in, stored

pytestmark = pytest.mark.django_db

LONG = "x" * 256

# Fields -> what is said. Both forms of a job say the same.
# fmt: off
JOB_FORMS = [
    ({"name": LONG}, "Name: Ensure this value has at most 255 characters (it has 256)."),
    ({"name": "a\x00b"}, "Name: Null characters are not allowed."),
    ({"func": "os:system"}, "Callable: “os:system” is not one of those that are offered."),
    ({"args": "7"}, 'Arguments: expected a list such as [1, "monthly"]; got a number.'),
    ({"args": "[1,]"}, 'Arguments, line 1: there is a comma too many before the closing bracket'),
    ({"args": "['a']"}, 'Arguments, line 1: texts and names go in straight double quotes, "like this"'),
    ({"args": "[NaN]"}, 'Arguments: NaN is no number that can be stored; use null or a text'),
    ({"args": "[1e999]"}, 'Arguments: the number 1e999 is too large'),
    ({"kwargs": "[1]"}, 'Keyword arguments: expected an object such as {"days": 30}; got a list.'),
    ({"kwargs": '{"days": 1, "days": 2}'}, 'Keyword arguments: “days” occurs twice'),
    ({"kwargs": '{"days": True}'}, 'Keyword arguments, line 1: write true instead of True'),
    ({"kwargs": '{"day": 1}'}, "Keyword arguments: send_report() has no argument 'day'; did you mean 'days'?"),
    ({"misfire_grace_time": "0"}, 'Grace time in seconds: 0 is outside 1–2147483647.'),
    ({"misfire_grace_time": "1.5"}, 'Grace time in seconds: expected a whole number such as 5; got “1.5”.'),
    ({"misfire_grace_time": "30s"}, 'Grace time in seconds: expected a whole number such as 5; got “30s”.'),
    ({"misfire_grace_time": "9" * 30}, 'Grace time in seconds: expected a whole number such as 5; got “999999999999999999999999999999”.'),
    ({"max_instances": "-1"}, 'Max instances: expected a whole number such as 5; got “-1”.'),
    ({"max_instances": "1e3"}, 'Max instances: expected a whole number such as 5; got “1e3”.'),
    ({"max_instances": "٣x"}, 'Max instances: expected a whole number such as 5; got “٣x”.'),
    ({"executor": "nowhere"}, "Executor: “nowhere” is not one of those that are offered."),
    ({"on_lost": "forget"}, 'If its scheduler dies: Select a valid choice. forget is not one of the available choices.'),
    ({"trigger-type": "never"}, 'Kind of trigger: choose one of those offered.'),
    ({"trigger-interval-hours": "-1"}, 'Hours: expected a number such as 5 or 0.5; got “-1”.'),
    ({"trigger-interval-hours": "an hour"}, 'Hours: expected a number such as 5 or 0.5; got “an hour”.'),
    ({"trigger-interval-hours": "0"}, 'Interval: expected weeks, days, hours, minutes or seconds; all of them are empty or 0.'),
    ({"trigger-interval-hours": "9" * 30}, 'Hours: expected a number such as 5 or 0.5; got “999999999999999999999999999999”.'),
    ({"trigger-interval-timezone": "Mars/Base"}, 'Time zone: expected a time zone such as Europe/Berlin or UTC; got “Mars/Base”.'),
    ({"trigger-interval-start_date": "tomorrow"}, 'Start: expected a date and time such as 2026-05-30 14:00:00; got “tomorrow”.'),
    ({"trigger-type": "date", "trigger-date-run_date": ""}, 'Date and time: is needed.'),
    ({"trigger-type": "cron", "trigger-cron-hour": "24"}, 'Hour: 24 is outside 0–23.'),
    ({"trigger-type": "cron", "trigger-cron-expression": "* * *"}, "Crontab expression: A crontab expression has 5 fields: minute hour day month day_of_week; got 3 in '* * *'."),
]
PAUSE = [
    ({"reason": LONG}, "Ensure this value has at most 255 characters (it has 256)."),
    ({"until": "moment"}, "Say when the pause ends."),
    ({"until": "moment", "moment": "soon"}, "Enter a valid date/time."),
    ({"until": "moment", "moment": "2020-01-01T08:00"}, "This moment has passed: it is "),
    ({"until": "for ever"}, "Select a valid choice. for ever is not one of the available choices."),
]
RESCHEDULE = [
    ({}, "This field is required."),
    ({"how": "magic"}, "Select a valid choice. magic is not one of the available choices."),
    ({"how": "shift", "amount": ""}, "Say by how much, such as 15 or -15."),
    ({"how": "shift", "amount": "1.5", "unit": "hours"}, "Enter a whole number."),
    ({"how": "shift", "amount": "10001", "unit": "hours"}, "Ensure this value is less than or equal to 10000."),
    ({"how": "shift", "amount": "1", "unit": "years"}, "Select a valid choice. years is not one of the available choices."),
    ({"how": "zone", "zone": ""}, "Name a time zone, such as Europe/Berlin."),
]
# fmt: on


@pytest.fixture
def world():
    return World()


def told(changes) -> str:
    return ", ".join(f"{name}={value[:20]!r}" for name, value in changes.items())


@pytest.mark.parametrize("page", ["add", "change"])
def test_forms_of_a_job(page, world):
    client = signed_in(world.boss)
    place = world.address(f"djangojob_{page}", "hourly" if page == "change" else "")
    good = world.sent[f"djangojob_{page}"] | {"func": REPORT}
    before = stored()
    problems = []
    for changes, said in JOB_FORMS:
        sent = good | changes
        response = client.post(place, sent)
        assert response.status_code == 200, told(changes)
        sentences = [sentence for _id, sentence in response.context["sentences"]]
        if sentences != [said]:
            problems.append((told(changes), sentences))
        kept = form_of(response)
        for name, value in sent.items():
            if name in changes and name not in (
                "on_lost",
                "func",
                "executor",
                "trigger-type",
            ):
                assert kept.get(name) == value, (name, told(changes))
        if "trigger-type" not in changes:
            assert kept["trigger-interval-hours"] == sent["trigger-interval-hours"]
    assert stored() == before
    assert problems == []


def errors_of(response) -> list[str]:
    form = response.context["form"]
    return [str(error) for errors in form.errors.values() for error in errors]


@pytest.mark.parametrize(("fields", "said"), PAUSE, ids=[told(f) for f, _ in PAUSE])
def test_pages_that_pause(fields, said, world):
    client = signed_in(world.boss)
    sent = {"reason": "because", **fields}
    before = stored()
    for name, of in (("djangojob_pause", "hourly"), ("djangojob_pause_selected", "")):
        response = client.post(
            world.address(name, of), {**world.sent.get(name, {}), **sent}
        )
        assert response.status_code == 200
        (error,) = errors_of(response)
        assert error.startswith(said)
        for field, value in sent.items():
            assert response.context["form"][field].value() == value
        assert b"Nothing was paused." in response.content
    assert stored() == before


@pytest.mark.parametrize(
    ("fields", "said"), RESCHEDULE, ids=[told(f) or "nothing" for f, _ in RESCHEDULE]
)
def test_the_page_that_reschedules(fields, said, world):
    client = signed_in(world.boss)
    name = "djangojob_reschedule_selected"
    before = stored()
    rows_shown = {"rows": world.sent[name]["rows"]}
    response = client.post(address(name), {**rows_shown, **fields})
    assert response.status_code == 200
    assert errors_of(response) == [said]
    for field, value in fields.items():
        assert response.context["form"][field].value() == value
    assert response.context["packed"]
    assert stored() == before
