"""A job: what to call, when, and how its scheduler is to go about it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from django_apscheduler.util import (
    check_callable_args,
    convert_to_datetime,
    default_timezone,
    get_callable_name,
    obj_to_ref,
    ref_to_obj,
)

#: The states of a job; ``next_run_time`` is None unless the job is active.
ACTIVE = "active"
PAUSED = "paused"
DISABLED = "disabled"
FINISHED = "finished"
BROKEN = "broken"

#: What becomes of a run whose scheduler died: run it again, or mark it lost.
ON_LOST = ("rerun", "mark")

_OPTIONS = (
    "name",
    "func",
    "args",
    "kwargs",
    "trigger",
    "executor",
    "coalesce",
    "misfire_grace_time",
    "max_instances",
    "on_lost",
    "transactional",
    "next_run_time",
)


class Job:
    """
    The options of a scheduled callable and the state of its schedule.

    Made by ``scheduler.add_job()``, never directly.

    :ivar id: unique in its job store
    :ivar uid: UUID, new each time a job is added, so that a job removed and added again
        under one id is another job
    :ivar name: for people
    :ivar func: the callable; resolved from ``func_ref`` when first needed
    :ivar func_ref: ``module:name`` of the callable, or None when it has no such name
    :ivar args: positional arguments, a tuple
    :ivar kwargs: keyword arguments, a dict
    :ivar trigger: answers when the job fires next
    :ivar executor: alias of the executor that runs it
    :ivar coalesce: whether several due runs are rolled into one
    :ivar misfire_grace_time: seconds that a run may be late, None for any
    :ivar max_instances: how many runs of the job may be going on at once
    :ivar on_lost: "rerun" or "mark", see `ON_LOST`; heeded by shared stores
    :ivar transactional: whether body and outcome share one database transaction
    :ivar next_run_time: aware, None while paused
    :ivar nominal_time: the fire time behind ``next_run_time``, without jitter
    :ivar state: active, paused, disabled, finished or broken
    :ivar revision: counts the edits of the job in a shared store
    :ivar error: why the job is broken
    :ivar changes: names of the attributes changed since the store last read or wrote
        the job; a store writes only these, so that it undoes nobody else's edit
    """

    __slots__ = (
        "_func",
        "_jobstore_alias",
        "_scheduler",
        "args",
        "changes",
        "coalesce",
        "error",
        "executor",
        "func_ref",
        "id",
        "kwargs",
        "max_instances",
        "misfire_grace_time",
        "name",
        "next_run_time",
        "nominal_time",
        "on_lost",
        "revision",
        "state",
        "transactional",
        "trigger",
        "uid",
        "__weakref__",
    )

    id: str
    args: tuple
    kwargs: dict[str, Any]
    trigger: Any
    executor: str
    coalesce: bool
    misfire_grace_time: int | None
    max_instances: int

    def __init__(self, scheduler: Any, id: str | None = None, **options: Any):
        self._scheduler = scheduler
        self._jobstore_alias: str | None = None
        self._func: Callable | None = None
        self.func_ref: str | None = None
        self.args: tuple = ()
        self.kwargs: dict[str, Any] = {}
        self.name = ""
        self.uid: UUID = uuid4()
        self.on_lost = "rerun"
        self.transactional = False
        self.next_run_time: datetime | None = None
        self.nominal_time: datetime | None = None
        self.state = ACTIVE
        self.revision = 0
        self.error = ""
        self.changes: set[str] = set()
        self._modify(id=id or uuid4().hex, **options)

    # What users call: each is the scheduler's method of the same name for this job.

    def modify(self, **changes: Any) -> Job:
        """Change attributes of the job; see ``scheduler.modify_job()``."""
        self._scheduler.modify_job(self.id, self._jobstore_alias, _job=self, **changes)
        return self

    def reschedule(self, trigger: Any = None, **trigger_args: Any) -> Job:
        """Give the job a new trigger; see ``scheduler.reschedule_job()``."""
        self._scheduler.reschedule_job(
            self.id, self._jobstore_alias, trigger, _job=self, **trigger_args
        )
        return self

    def pause(self) -> Job:
        """Stop running the job until it is resumed."""
        self._scheduler.pause_job(self.id, self._jobstore_alias, _job=self)
        return self

    def resume(self) -> Job:
        """Run the job again, counted from now."""
        self._scheduler.resume_job(self.id, self._jobstore_alias, _job=self)
        return self

    def remove(self) -> None:
        """Take the job out of its job store."""
        self._scheduler.remove_job(self.id, self._jobstore_alias)

    @property
    def pending(self) -> bool:
        """Whether the job still waits to be put into its job store."""
        return self._jobstore_alias is None

    @property
    def func(self) -> Callable:
        """
        The callable.

        :raises LookupError: when ``func_ref`` names nothing that can be imported
        """
        if self._func is None:
            assert self.func_ref is not None
            self._func = ref_to_obj(self.func_ref)
        assert self._func is not None
        return self._func

    @property
    def stored_args(self) -> tuple:
        """
        The positional arguments to store with ``func_ref``.

        For a method of an instance the reference names the plain function, so the
        instance comes first.
        """
        func = self._func
        if self.func_ref and inspect.ismethod(func):
            if not inspect.isclass(func.__self__):
                return (func.__self__, *self.args)
        return self.args

    def _modify(self, **changes: Any) -> None:
        """Validate and set attributes, all or none."""
        approved: dict[str, Any] = {}
        if "id" in changes:
            approved["id"] = self._valid_id(changes.pop("id"))
        if {"func", "args", "kwargs"} & changes.keys():
            approved.update(self._valid_call(changes))
        elif "name" in changes:
            approved["name"] = _valid_name(changes.pop("name"))
        for option in tuple(changes):
            check = _CHECKS.get(option)
            if check is not None:
                approved[option] = check(changes.pop(option))
        if "next_run_time" in changes:
            approved["next_run_time"] = self._valid_next_run_time(
                changes.pop("next_run_time")
            )
        if changes:
            raise AttributeError(
                "The following are not modifiable attributes of Job: "
                f"{', '.join(sorted(changes))}; expected any of {', '.join(_OPTIONS)}"
            )
        for option, value in approved.items():
            setattr(self, option, value)
        if "next_run_time" in approved:
            # A time given by hand is its own nominal time.
            self.nominal_time = approved["next_run_time"]
        approved.pop("_func", None)
        self.changes.update(approved)

    def _valid_id(self, value: Any) -> str:
        if not isinstance(value, str) or not value:
            raise TypeError(f"id must be a nonempty string; got {value!r}")
        if len(value) > 255:
            raise ValueError(f"id must have at most 255 characters; got {len(value)}")
        if hasattr(self, "id"):
            raise ValueError(
                "The job ID may not be changed; add the job under a new id"
            )
        return value

    def _valid_call(self, changes: dict[str, Any]) -> dict[str, Any]:
        approved: dict[str, Any] = {}
        func, func_ref = self._func, self.func_ref
        if "func" in changes:
            func, func_ref = _valid_func(changes.pop("func"))
        elif func is None:
            func = self.func
        args = changes.pop("args", self.args)
        kwargs = changes.pop("kwargs", self.kwargs)
        if isinstance(args, (str, bytes)) or not isinstance(args, Iterable):
            raise TypeError(f"args must be a non-string iterable; got {args!r}")
        if isinstance(kwargs, (str, bytes)) or not isinstance(kwargs, Mapping):
            raise TypeError(f"kwargs must be a mapping; got {kwargs!r}")
        args, kwargs = tuple(args), dict(kwargs)
        assert func is not None
        check_callable_args(func, args, kwargs)
        approved.update(_func=func, func_ref=func_ref, args=args, kwargs=kwargs)
        name = changes.pop("name", None) or self.name or get_callable_name(func)
        approved["name"] = _valid_name(name)
        return approved

    def _valid_next_run_time(self, value: Any) -> datetime | None:
        zone = getattr(self._scheduler, "timezone", None) or default_timezone()
        return convert_to_datetime(value, zone, "next_run_time")

    def __getstate__(self) -> dict[str, Any]:
        if self.func_ref is None:
            raise ValueError(
                f"This job cannot be serialized since the reference to its callable "
                f"({self._func!r}) could not be determined; schedule a function or "
                "class that can be imported by name"
            )
        return {
            "version": 1,
            "id": self.id,
            "uid": self.uid,
            "func": self.func_ref,
            "args": self.stored_args,
            "kwargs": self.kwargs,
            "name": self.name,
            "trigger": self.trigger,
            "executor": self.executor,
            "coalesce": self.coalesce,
            "misfire_grace_time": self.misfire_grace_time,
            "max_instances": self.max_instances,
            "on_lost": self.on_lost,
            "transactional": self.transactional,
            "next_run_time": self.next_run_time,
            "nominal_time": self.nominal_time,
            "state": self.state,
        }

    def __setstate__(self, state: Any) -> None:
        # What a copy or an unpickling without __init__ has to work with.
        if not isinstance(state, dict) or state.get("version", 0) > 1:
            raise ValueError(
                f"Job has version {state.get('version') if state else None!r}, but only "
                "version 1 and earlier can be handled; upgrade django-apscheduler"
            )
        state = dict(state)
        state.pop("version", None)
        self._scheduler = None
        self._jobstore_alias = None
        self._func = None
        self.func_ref = state.pop("func")
        self.revision = 0
        self.error = ""
        self.changes = set()
        for name, value in state.items():
            setattr(self, name, value)

    def __eq__(self, other: object) -> bool:
        return self.id == other.id if isinstance(other, Job) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<Job (id={self.id} name={self.name})>"

    def __str__(self) -> str:
        if self.next_run_time is not None:
            status = f"next run at: {self.next_run_time:%Y-%m-%d %H:%M:%S %Z}"
        else:
            status = "pending" if self.pending else self.state
            if status == ACTIVE:
                status = PAUSED
        return f"{self.name} (trigger: {self.trigger}, {status})"


def say_which(error: Exception, index: int, job_id: Any) -> None:
    """
    Have an error that one of many jobs caused say which one.

    :param index: the job's place among them, from 0
    :param job_id: its id, None when it was given none
    """
    if len(error.args) == 1 and isinstance(error.args[0], str):
        name = f"job {index}" if job_id is None else f"job {index} ({job_id!r})"
        error.args = (f"{name}: {error.args[0]}",)


def _valid_func(func: Any) -> tuple[Callable, str | None]:
    if isinstance(func, str):
        reference: str | None = func
        func = ref_to_obj(func)
        if not callable(func):
            raise TypeError(f"func must be callable; {reference!r} is {func!r}")
        return func, reference
    if not callable(func):
        raise TypeError(
            f"func must be a callable or a textual reference to one; got {func!r}"
        )
    plain = func
    if inspect.ismethod(func) and not inspect.isclass(func.__self__):
        plain = getattr(type(func.__self__), func.__name__, func)
    try:
        reference = obj_to_ref(plain)
    except ValueError:
        # Without one, stores and executors that serialise jobs refuse it; others do
        # not mind.
        reference = _reference_to_be(plain)
    return func, reference


def _reference_to_be(func: Any) -> str | None:
    """
    Return the reference of a function that is just being defined, or None.

    A decorator gets to see the function before the module has its name.
    """
    name = getattr(func, "__qualname__", "")
    module = sys.modules.get(getattr(func, "__module__", None) or "")
    if module is None or not name.isidentifier() or hasattr(module, name):
        return None
    return f"{module.__name__}:{name}"


def _valid_name(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(f"name must be a nonempty string; got {value!r}")
    return value


def _valid_trigger(value: Any) -> Any:
    if not callable(getattr(value, "get_next_fire_time", None)):
        raise TypeError(
            "trigger must be a trigger object (with get_next_fire_time); got "
            f"{type(value).__name__}; to use a trigger's alias call reschedule()"
        )
    return value


def _valid_executor(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(f"executor must be the alias of an executor; got {value!r}")
    return value


def _valid_grace(value: Any) -> int | None:
    if value is not None and (
        isinstance(value, bool) or not isinstance(value, int) or value <= 0
    ):
        raise TypeError(
            "misfire_grace_time must be a whole number of seconds greater than 0, "
            f"or None for no limit; got {value!r}"
        )
    return value


def _valid_max_instances(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise TypeError(
            f"max_instances must be a whole number greater than 0; got {value!r}"
        )
    return value


def _valid_on_lost(value: Any) -> str:
    if value not in ON_LOST:
        raise ValueError(f"on_lost must be one of {', '.join(ON_LOST)}; got {value!r}")
    return value


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "trigger": _valid_trigger,
    "executor": _valid_executor,
    "coalesce": bool,
    "misfire_grace_time": _valid_grace,
    "max_instances": _valid_max_instances,
    "on_lost": _valid_on_lost,
    "transactional": bool,
}
