"""Jobs: validation of options, text forms, serialisation."""

import pickle
from datetime import datetime, timezone

import pytest

from django_apscheduler.job import Job
from django_apscheduler.triggers.date import DateTrigger

UTC = timezone.utc
NOON = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


def body(count=1, *, to="ana"):
    pass


class Report:
    def __init__(self, title):
        self.title = title

    def send(self, to):
        pass

    def __eq__(self, other):
        return self.title == other.title


def make(**options):
    defaults = {
        "func": body,
        "args": (),
        "kwargs": {},
        "trigger": DateTrigger(NOON, UTC),
        "executor": "default",
        "coalesce": True,
        "misfire_grace_time": 1,
        "max_instances": 1,
    }
    return Job(None, **{**defaults, **options})


def test_a_job_without_an_id_gets_one_of_its_own():
    assert len(make().id) == 32
    assert make().id != make().id
    assert make(id="nightly").id == "nightly"


def test_a_job_is_named_after_its_callable_unless_told_otherwise():
    assert make().name == "body"
    assert make(name="Nightly report").name == "Nightly report"
    assert make(func=Report("x").send, args=["ana"]).name == "Report.send"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"id": 5}, TypeError, "id must be a nonempty string; got 5"),
        ({"id": "x" * 256}, ValueError, "at most 255 characters; got 256"),
        ({"name": 5}, TypeError, "name must be a nonempty string; got 5"),
        ({"func": 5}, TypeError, "func must be a callable or a textual reference"),
        ({"func": "no.such:thing"}, LookupError, "could not import 'no.such'"),
        ({"func": "os:sep"}, TypeError, "func must be callable; 'os:sep' is '/'"),
        ({"args": "abc"}, TypeError, "args must be a non-string iterable"),
        ({"args": 5}, TypeError, "args must be a non-string iterable; got 5"),
        ({"kwargs": [1]}, TypeError, "kwargs must be a mapping"),
        ({"kwargs": {"dayz": 1}}, ValueError, "unexpected keyword argument 'dayz'"),
        ({"args": [1, 2]}, ValueError, "too many positional arguments"),
        ({"trigger": "cron"}, TypeError, "trigger must be a trigger object"),
        ({"executor": 5}, TypeError, "executor must be the alias of an executor"),
        ({"misfire_grace_time": "30s"}, TypeError, "seconds greater than 0.*'30s'"),
        ({"misfire_grace_time": 0}, TypeError, "greater than 0, or None for no limit"),
        ({"misfire_grace_time": True}, TypeError, "got True"),
        ({"max_instances": 0}, TypeError, "whole number greater than 0; got 0"),
        ({"max_instances": "3"}, TypeError, "whole number greater than 0; got '3'"),
        ({"on_lost": "retry"}, ValueError, "one of rerun, mark; got 'retry'"),
        ({"next_run_time": "soon"}, ValueError, "next_run_time must look like"),
        ({"colour": 1}, AttributeError, "not modifiable attributes of Job: colour"),
    ],
)
def test_bad_options_are_refused_with_what_was_expected(options, error, message):
    with pytest.raises(error, match=message):
        make(**options)


def test_changes_are_all_or_none():
    job = make()
    with pytest.raises(TypeError):
        job._modify(name="New name", max_instances=0)
    assert job.name == "body"
    with pytest.raises(ValueError, match="The job ID may not be changed"):
        job._modify(id="other")


def test_changes_are_remembered_for_the_store():
    job = make()
    job.changes.clear()
    job._modify(max_instances=3, name="New")
    assert job.changes == {"max_instances", "name"}


def test_a_time_given_by_hand_is_its_own_nominal_time():
    job = make(next_run_time=NOON)
    assert job.nominal_time == NOON
    job._modify(next_run_time=None)
    assert job.nominal_time is None


def test_the_callable_may_be_a_reference_and_is_found_when_needed():
    job = make(func=f"{__name__}:body")
    assert job.func is body
    assert job.func_ref == f"{__name__}:body"


def test_a_pickled_job_is_the_same_job():
    job = make(id="nightly", args=[2], kwargs={"to": "bob"}, next_run_time=NOON)
    copy = pickle.loads(pickle.dumps(job))
    assert copy == job
    assert copy.func is body
    for name in ("args", "kwargs", "trigger", "next_run_time", "uid", "max_instances"):
        assert getattr(copy, name) == getattr(job, name)


def test_a_method_is_stored_with_its_instance_as_first_argument():
    job = make(func=Report("sales").send, args=["ana"])
    assert job.func_ref == f"{__name__}:Report.send"
    assert job.stored_args == (Report("sales"), "ana")
    copy = pickle.loads(pickle.dumps(job))
    assert copy.func is Report.send
    assert copy.args == (Report("sales"), "ana")


def decorated(func):
    decorated.job = make(func=func)
    return func


@decorated
def being_defined():
    pass


def test_a_function_that_is_just_being_defined_is_found_later():
    assert decorated.job.func_ref == f"{__name__}:being_defined"
    assert pickle.loads(pickle.dumps(decorated.job)).func is being_defined


def test_builtin_functions_keep_their_arguments():
    assert make(func=print, args=["x"]).stored_args == ("x",)


def test_a_job_that_cannot_be_found_again_cannot_be_serialised():
    job = make(func=lambda: None)
    assert job.func_ref is None
    with pytest.raises(ValueError, match="reference to its callable"):
        pickle.dumps(job)


def test_a_job_of_a_newer_version_is_refused():
    state = {**make().__getstate__(), "version": 2}
    with pytest.raises(ValueError, match="version 2.*upgrade"):
        Job.__new__(Job).__setstate__(state)


def test_texts():
    job = make(id="nightly", name="Nightly")
    assert repr(job) == "<Job (id=nightly name=Nightly)>"
    trigger = "date[2026-06-01 12:00:00 UTC]"
    assert str(job) == f"Nightly (trigger: {trigger}, pending)"
    job._jobstore_alias = "default"
    assert str(job) == f"Nightly (trigger: {trigger}, paused)"
    job._modify(next_run_time=NOON)
    assert (
        str(job)
        == f"Nightly (trigger: {trigger}, next run at: 2026-06-01 12:00:00 UTC)"
    )


def test_equality_is_by_id():
    assert make(id="a") == make(id="a")
    assert make(id="a") != make(id="b")
    assert make(id="a") != "a"
    assert len({make(id="a"), make(id="a")}) == 1
