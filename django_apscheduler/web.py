"""
A scheduler inside a web process, for projects that cannot run one of its own.

Each worker of the web server calls `start` once it has been forked, and `stop` when it
ends; `django_apscheduler.asgi` does both for servers that speak ASGI's lifespan. The
workers share the job stores, so each run is made by one of them.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from typing import Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError
from django.utils.autoreload import DJANGO_AUTORELOAD_ENV

from django_apscheduler import conf, registry
from django_apscheduler.connections import clean
from django_apscheduler.jobstores.memory import MemoryJobStore
from django_apscheduler.schedulers import forks
from django_apscheduler.schedulers.background import BackgroundScheduler

logger = logging.getLogger(__name__)

#: Seconds between attempts to start while the database is away.
RETRY_SECONDS = 5.0
#: Developers wait less than production: seconds for running jobs when `runserver` ends.
RELOAD_DRAIN_SECONDS = 3.0
#: Seconds before a server's own time limit at which the wait for running jobs ends.
SPARE_SECONDS = 5.0


class _Worker:
    """
    What `start` has begun in this process.

    :ivar pid: a fork inherits this object, but not what it stands for
    :ivar scheduler: None as long as the database keeps it from starting
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.scheduler: Any = None
        self.over = threading.Event()


_lock = threading.Lock()
_worker: _Worker | None = None
_awaits_uwsgi = False


def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def start() -> None:
    """
    Start the scheduler of the settings in this process, on threads of its own.

    It becomes what `get_scheduler` returns here, and stops when the process ends, if
    not before. Called once more, it logs that and changes nothing. In the master of
    uWSGI it has each worker start one after the fork. While the database is away it
    returns, and the start is tried again until it works.

    Declared jobs are not synchronised: ``manage.py apscheduler sync`` is part of the
    deploy, and what it would change is logged.

    :raises RuntimeError: when called while apps load (from ``AppConfig.ready()``, say)
    :raises ImproperlyConfigured: for faulty settings, missing tables, and job stores
        that workers cannot share
    """
    if not apps.ready:
        raise RuntimeError(
            "django_apscheduler.web.start() was called while Django's apps were still "
            "loading, as they also do for migrate, shell and every other command; call "
            "it where only web workers get to: in the server's hooks or in wsgi.py"
        )
    if _left_to_uwsgi():
        return
    global _worker
    with _lock:
        if _runs_already():
            return
        _worker = worker = _Worker()
        try:
            _start(worker)
        except OperationalError as error:
            logger.error(
                "The scheduler could not start, for the database says: %s; it is tried "
                "again every %g s",
                str(error).strip(),
                RETRY_SECONDS,
            )
            threading.Thread(
                target=_keep_trying, args=(worker,), name="apscheduler-web", daemon=True
            ).start()
        except BaseException:
            _worker = None
            raise
        atexit.register(stop)


def stop(timeout: float | None = None) -> bool:
    """
    Let running jobs end and shut the scheduler down that `start` has started here.

    :param timeout: seconds to wait at most for running jobs; ``drain_timeout`` of the
        settings when None. The process may end then: what was running is dealt with by
        other schedulers, as its ``on_lost`` option says.
    :return: whether all have ended; true if nothing was started
    """
    global _worker
    with _lock:
        worker, _worker = _worker, None
    if worker is None or worker.pid != os.getpid():
        return True
    atexit.unregister(stop)
    worker.over.set()
    if worker.scheduler is None:
        return True
    if timeout is None:
        timeout = conf.configuration().drain_timeout
        if os.environ.get(DJANGO_AUTORELOAD_ENV) == "true":
            timeout = min(timeout, RELOAD_DRAIN_SECONDS)
    registry.set_scheduler(None)
    return _finish(worker.scheduler, timeout)


def _finish(scheduler: Any, timeout: float) -> bool:
    if not scheduler.running:
        return True
    if scheduler.drain(timeout):
        scheduler.shutdown()
        return True
    logger.error(
        "The scheduler of this worker stops after %g s though %s had not ended; other "
        "schedulers, or the next start, deal with it as its on_lost option says",
        timeout,
        ", ".join(scheduler.running_jobs()) or "a job",
    )
    # Not shut down: that would wait for the job, and would end the lease as if all was
    # in order. The process ends, and the lease runs out.
    for executor in scheduler._executors.values():
        executor.waits_at_exit = False
    return False


def _runs_already() -> bool:
    running = registry.running_scheduler()
    begun = _worker is not None and _worker.pid == os.getpid()
    if begun or running is not None:
        logger.warning(
            "A scheduler has been started in this process (%d) already, and goes on; "
            "call start() in one place only",
            os.getpid(),
        )
    return begun or running is not None


def _start(worker: _Worker) -> None:
    # Imported late: web servers import this module before Django is set up.
    from django_apscheduler import sync

    settings = conf.configuration()
    scheduler = BackgroundScheduler(**settings.scheduler_options())
    _refuse_unshared(scheduler)
    with clean():
        sync.declare_elsewhere(scheduler, settings)
        scheduler.start(paused=True)
        try:
            sync.publish()
            _compare_declarations(scheduler)
        except BaseException:
            scheduler.shutdown(wait=False)
            raise
    worker.scheduler = scheduler
    registry.set_scheduler(scheduler)
    scheduler.resume()


def _keep_trying(worker: _Worker) -> None:
    while not worker.over.wait(RETRY_SECONDS):
        with _lock:
            if worker.over.is_set():
                return
            try:
                _start(worker)
            except OperationalError as error:
                logger.warning("The scheduler still cannot start: %s", error)
            except Exception:
                logger.critical("The scheduler cannot start", exc_info=True)
                return
            else:
                return


def _refuse_unshared(scheduler: Any) -> None:
    found = [
        alias
        for alias, store in scheduler._jobstores.items()
        if not (store.shared or isinstance(store, MemoryJobStore))
    ]
    if found:
        raise ImproperlyConfigured(
            f"The job stores {', '.join(found)} cannot be shared, so every worker of "
            "the web server would run their jobs; keep them in the Django job store, "
            "or run one `manage.py runapscheduler`"
        )


def _compare_declarations(scheduler: Any) -> None:
    """Log what a synchronisation would change, for nobody may have thought of one."""
    from django_apscheduler import sync

    try:
        report = sync.synchronise(scheduler, dry_run=True)
    except registry.DeclarationError as error:
        # Among them a schedule that has ended since the deploy, which is no reason to
        # refuse a worker that serves pages.
        logger.error("%s. The jobs in the job store run all the same", error)
        return
    if report:
        found = {*report.added, *report.changed, *report.enabled, *report.disabled}
        logger.warning(
            "The jobs declared in code and those in the job store differ in %s; web "
            "workers leave that alone: run `manage.py apscheduler sync` with each deploy",
            ", ".join(sorted(found)),
        )


# What servers call.


def post_worker_init(worker: Any) -> None:
    """Call `start`; gunicorn's hook of this name, for ``gunicorn.conf.py``."""
    start()


def worker_exit(server: Any, worker: Any) -> None:
    """
    Call `stop`; gunicorn's hook of this name, for ``gunicorn.conf.py``.

    It waits less than gunicorn does before it kills the worker.
    """
    if _worker is None:
        # Its application may not even have loaded.
        return
    limits = [conf.configuration().drain_timeout]
    # 0 is no limit; the second holds when a worker ends alone, for max_requests.
    for limit in (worker.cfg.graceful_timeout, worker.cfg.timeout):
        if limit:
            limits.append(max(0.0, limit - SPARE_SECONDS))
    stop(min(limits))


def _left_to_uwsgi() -> bool:
    """Have uWSGI's workers start after the fork, if this is the process they come from."""
    global _awaits_uwsgi
    try:
        import uwsgi
    except ImportError:
        return False
    if not forks.before_uwsgi_forks(uwsgi):
        return False
    if _awaits_uwsgi:
        return True
    _awaits_uwsgi = True
    try:
        from uwsgidecorators import postfork
    except Exception:
        # It needs a master process, and is not part of every installation.
        uwsgi.post_fork_hook = start
    else:
        postfork(start)
    return True
