"""
Jobs declared in code, the callables that forms may offer, and the process's scheduler.

An app declares its jobs in a module named ``jobs``::

    from django_apscheduler import scheduled_job

    @scheduled_job("cron", hour=3, id="nightly-report")
    def nightly_report(): ...

Importing such a module needs no scheduler and touches no database. Declared jobs reach
the job store when ``runapscheduler`` starts or ``manage.py apscheduler sync`` runs.
"""

from __future__ import annotations

import copy
import inspect
import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, TypeVar

from django.apps import apps
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.utils.module_loading import module_has_submodule

from django_apscheduler import clock, conf, util
from django_apscheduler.schedulers.plugins import make_plugin
from django_apscheduler.util import undefined

F = TypeVar("F", bound=Callable[..., Any])

#: The module of an app in which jobs are declared.
MODULE = "jobs"

_lock = threading.RLock()
_declarations: dict[str, Declaration] = {}
_callables: dict[str, RegisteredCallable] = {}
_discovered = False
# The process's scheduler, with the id of the process that it serves.
_scheduler: tuple[int, Any] | None = None


class DeclarationError(ValueError):
    """Raised when a job declared in code cannot be what it says."""


class DiscoveryError(ImportError):
    """Raised when the ``jobs`` module of an app cannot be imported."""


@dataclass(frozen=True, eq=False)
class Declaration:
    """
    A job as declared in code.

    :ivar id: stable name of the job, unique among all declared jobs
    :ivar func: the decorated function
    :ivar place: ``file:line`` of the decorator
    :ivar trigger_spec: the trigger's alias, ``module:Class`` reference or object
    :ivar trigger_args: arguments for the trigger, when it is not an object
    :ivar jobstore: alias of the job store
    :ivar options: options of the job that the declaration gives, by name
    """

    id: str
    func: Callable[..., Any]
    place: str
    trigger_spec: Any
    trigger_args: dict[str, Any] = field(default_factory=dict)
    jobstore: str = "default"
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def func_ref(self) -> str:
        """Reference to the function. It exists before the decorated name does."""
        return reference(self.func)

    @property
    def trigger(self) -> Any:
        """
        A new trigger object, made when asked for: the default time zone is Django's,
        which is not known while apps load, and a trigger once asked for its fire times
        remembers what it counts from.

        :raises DeclarationError: when the trigger's alias or arguments are wrong
        """
        try:
            return _make_trigger(self.trigger_spec, dict(self.trigger_args))
        except (LookupError, TypeError, ValueError) as error:
            raise DeclarationError(
                f"The job {self.id!r} declared at {self.place} has no usable trigger: "
                f"{error}"
            ) from error

    def job_options(self) -> dict[str, Any]:
        """Return the arguments of ``add_job()`` that the declaration stands for."""
        return {
            "func": self.func_ref,
            "trigger": self.trigger,
            "id": self.id,
            **self.options,
        }


@dataclass(frozen=True)
class RegisteredCallable:
    """
    A callable that forms may offer for scheduling.

    :ivar ref: ``module:name``
    :ivar label: for people
    :ivar doc: its docstring, or ""
    :ivar signature: such as ``(days: int = 30)``, or "" when it tells none
    """

    ref: str
    func: Callable[..., Any]
    label: str
    doc: str
    signature: str


def _make_trigger(spec: Any, arguments: dict[str, Any]) -> Any:
    if isinstance(spec, str):
        if ":" not in spec and spec not in ("and", "or"):
            # As in a scheduler's add_job(): the zone is part of what is declared.
            arguments.setdefault("timezone", conf.configuration().timezone)
        return make_plugin("triggers", spec, arguments)
    if not callable(getattr(spec, "get_next_fire_time", None)):
        raise TypeError(
            "expected a trigger, its alias such as 'cron', or a reference like "
            f"'module:Class'; got {spec!r}"
        )
    if arguments:
        raise TypeError(
            f"{spec!r} is a trigger already and takes no arguments; got "
            f"{', '.join(sorted(arguments))}"
        )
    return copy.deepcopy(spec)


def reference(func: Callable[..., Any]) -> str:
    """
    Return ``module:name`` for a function that is just being defined.

    :raises DeclarationError: for what cannot be imported by name
    """
    name = util.get_callable_name(func)
    if "<" in name or not getattr(func, "__module__", None):
        raise DeclarationError(
            f"{name} cannot be declared as a job: it has no importable name; "
            "move it to the top level of a module"
        )
    return f"{func.__module__}:{name}"


def scheduled_job(
    trigger: Any,
    args: Iterable[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    id: str | None = None,
    name: str | None = None,
    misfire_grace_time: Any = undefined,
    coalesce: Any = undefined,
    max_instances: Any = undefined,
    next_run_time: Any = undefined,
    jobstore: str = "default",
    executor: Any = undefined,
    on_lost: Any = undefined,
    transactional: Any = undefined,
    **trigger_args: Any,
) -> Callable[[F], F]:
    """
    Declare the decorated function as a job; for use in an app's ``jobs`` module.

    The arguments are those of a scheduler's ``add_job()``. Options that are not given
    take the ``job_defaults`` of the settings.

    :param trigger: the trigger's alias, ``module:Class`` reference or object
    :param id: stable name of the job; by default ``module.function``
    :raises DeclarationError: when a declared job has this id already, when the trigger
        is unusable or when the function has no importable name
    """
    given = {
        "misfire_grace_time": misfire_grace_time,
        "coalesce": coalesce,
        "max_instances": max_instances,
        "next_run_time": next_run_time,
        "executor": executor,
        "on_lost": on_lost,
        "transactional": transactional,
    }
    options = {key: value for key, value in given.items() if value is not undefined}
    if name is not None:
        options["name"] = name
    if args is not None:
        options["args"] = tuple(args)
    if kwargs is not None:
        options["kwargs"] = dict(kwargs)
    caller = sys._getframe(1)
    place = f"{caller.f_code.co_filename}:{caller.f_lineno}"

    def declare(func: F) -> F:
        declaration = Declaration(
            id=id or reference(func).replace(":", "."),
            func=func,
            place=place,
            trigger_spec=trigger,
            trigger_args=trigger_args,
            jobstore=jobstore,
            options=options,
        )
        _declare(declaration)
        return func

    return declare


def _declare(declaration: Declaration) -> None:
    # While apps still load, the trigger's default time zone is not known.
    if apps.ready:
        declaration.trigger  # noqa: B018 (raises when unusable)
    ref = declaration.func_ref
    with _lock:
        known = _declarations.get(declaration.id)
        # The same line of the same file again is a module that was reloaded.
        reloaded = known is not None and (known.place, known.func_ref) == (
            declaration.place,
            ref,
        )
        if known is not None and (not reloaded or known.func is declaration.func):
            raise DeclarationError(
                f"Two jobs are declared with the id {declaration.id!r}: "
                f"{known.func_ref} at {known.place} and {ref} at "
                f"{declaration.place}; give one of them another id"
            )
        _declarations[declaration.id] = declaration
        register_callable(declaration.func)


def register_job(scheduler: Any, *args: Any, **kwargs: Any) -> Callable[[F], F]:
    """
    Add the decorated function to ``scheduler``; the earlier package's decorator.

    The arguments are those of ``add_job()`` after the function; ``id`` is
    ``module.function`` unless given. `scheduled_job` needs no scheduler at import time.
    """

    def add(func: F) -> F:
        options = dict(kwargs)
        if options.get("id") is None:
            options["id"] = reference(func).replace(":", ".")
        scheduler.add_job(func, *args, **options)
        return func

    return add


def register_callable(func: F | None = None, *, label: str | None = None) -> Any:
    """
    Offer a callable in the admin's form for new jobs; usable as a decorator.

    Declared jobs' functions are offered without it.

    :param label: for people; by default the first line of the docstring, or the name
    """
    if func is None:
        return lambda decorated: register_callable(decorated, label=label)
    doc = inspect.getdoc(func) or ""
    ref = reference(func)
    try:
        signature = str(inspect.signature(func))
    except (TypeError, ValueError):
        signature = ""
    title = label or doc.partition("\n")[0].strip().rstrip(".")
    if not title:
        title = util.get_callable_name(func).replace("_", " ").strip().capitalize()
    with _lock:
        known = _callables.get(ref)
        if known is None or known.func is not func or label:
            _callables[ref] = RegisteredCallable(ref, func, title, doc, signature)
    return func


def callables() -> dict[str, RegisteredCallable]:
    """Return what forms may offer: reference → callable, ordered by label."""
    autodiscover()
    return known_callables()


def known_callables() -> dict[str, RegisteredCallable]:
    """Return those of `callables` that have registered so far; imports nothing."""
    with _lock:
        found = sorted(_callables.values(), key=lambda entry: (entry.label, entry.ref))
    return {entry.ref: entry for entry in found}


def declarations() -> dict[str, Declaration]:
    """
    Return the jobs declared in code, by id.

    :raises DiscoveryError: when an app's ``jobs`` module cannot be imported
    """
    autodiscover()
    with _lock:
        return dict(_declarations)


def autodiscover() -> None:
    """
    Import the ``jobs`` module of every installed app that has one, once.

    All are tried, so that one error does not hide another.

    :raises DiscoveryError: naming each module that cannot be imported and why; it is
        tried again on the next call
    """
    global _discovered
    with _lock:
        if _discovered:
            return
        failures: list[tuple[str, Exception]] = []
        for app in apps.get_app_configs():
            if app.module is None or not module_has_submodule(app.module, MODULE):
                continue
            module = f"{app.name}.{MODULE}"
            try:
                import_module(module)
            except Exception as error:
                failures.append((module, error))
        if failures:
            reasons = "; ".join(
                f"{module}: {type(error).__name__}: {error}"
                for module, error in failures
            )
            raise DiscoveryError(
                f"Could not import {reasons}. No declared job is started or disabled "
                "until this is mended"
            ) from failures[0][1]
        _discovered = True


def get_scheduler() -> Any:
    """
    Return the process's scheduler, with the stores and defaults of the settings.

    In ``runapscheduler``, and in a web worker that `django_apscheduler.web` has started
    one in, it is the one that runs. Elsewhere it writes to the job stores
    and runs nothing, so that what a view does inside ``atomic()`` is part of the view's
    transaction; the running schedulers, in whatever process, notice at once.

    Safe to call from any thread, and after a fork.
    """
    global _scheduler
    with _lock:
        # A fork inherits its parent's scheduler without the threads that drive it.
        if _scheduler is None or _scheduler[0] != os.getpid():
            _scheduler = (os.getpid(), _remote_scheduler())
        return _scheduler[1]


def running_scheduler() -> Any:
    """Return the scheduler that runs in this process as `get_scheduler`'s, or None."""
    with _lock:
        found = _scheduler
    if found is None or found[0] != os.getpid() or not found[1].running:
        return None
    return found[1]


def _remote_scheduler() -> Any:
    from django_apscheduler.schedulers.remote import RemoteScheduler

    return RemoteScheduler(**conf.configuration().scheduler_options())


def shared_stores() -> list[Any]:
    """Return this project's Django job stores, open for edits."""
    scheduler = get_scheduler()
    scheduler._opens_stores()
    return [store for store in scheduler._jobstores.values() if store.shared]


def set_scheduler(scheduler: Any) -> None:
    """
    Make ``scheduler`` the one that `get_scheduler` returns in this process.

    :param scheduler: None to go back to one that only writes
    """
    global _scheduler
    with _lock:
        _scheduler = None if scheduler is None else (os.getpid(), scheduler)


def _renew_lock() -> None:
    # Another thread of the parent may have held it at the moment of the fork.
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


@receiver(setting_changed)
def _forget_scheduler(setting: str, **kwargs: Any) -> None:
    """Under ``override_settings`` a scheduler has the settings of the moment."""
    if setting in ("APSCHEDULER", "DATABASES", "TIME_ZONE"):
        set_scheduler(None)


def faults(declaration: Declaration) -> list[str]:
    """Return why a declared job could not run, as sentences; empty when it could."""
    found = []
    try:
        func = util.ref_to_obj(declaration.func_ref)
        util.check_callable_args(
            func,
            declaration.options.get("args", ()),
            declaration.options.get("kwargs", {}),
        )
    except (LookupError, ValueError) as error:
        found.append(str(error))
    executor = declaration.options.get("executor", "default")
    if not isinstance(executor, str):
        found.append(f"executor must be an alias; got {executor!r}")
    try:
        trigger = declaration.trigger
    except DeclarationError as error:
        return [*found, str(error)]
    if trigger.get_next_fire_time(None, clock.now()) is None:
        found.append(
            f"its trigger never fires: {trigger}; a job whose time has passed can be "
            "taken out of the code"
        )
    return found
