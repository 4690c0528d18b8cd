"""
Django signals, one for each event of a scheduler.

Receivers are called with ``sender`` (the scheduler's class), ``event`` (see
`django_apscheduler.events`), ``job_id`` (None for events that concern no job) and
``scheduler``, in the process and usually on the thread where the event happened, after
what it tells of is durable::

    @receiver(job_error)
    def tell_somebody(sender, event, job_id, **kwargs):
        mail_admins(f"{job_id} failed", event.traceback)

A receiver that raises is logged and hurts nobody. Signals are not durable: what must
not be missed reads the rows of `DjangoJobExecution`.
"""

from __future__ import annotations

from typing import Any

from django.dispatch import Signal

from django_apscheduler import events
from django_apscheduler.connections import clean

scheduler_started = Signal()
scheduler_shutdown = Signal()
scheduler_paused = Signal()
scheduler_resumed = Signal()
executor_added = Signal()
executor_removed = Signal()
jobstore_added = Signal()
jobstore_removed = Signal()
all_jobs_removed = Signal()
job_added = Signal()
job_removed = Signal()
job_modified = Signal()
job_submitted = Signal()
job_executed = Signal()
job_error = Signal()
job_missed = Signal()
job_max_instances = Signal()
job_lost = Signal()
job_cancelled = Signal()
job_broken = Signal()
job_progress = Signal()

#: Event code → signal: the signal's name is the event's in lower case.
SIGNALS: dict[int, Signal] = {
    code: globals()[name.lower()] for code, name in events.EVENT_NAMES.items()
}


def send(scheduler: Any, event: events.SchedulerEvent) -> None:
    """
    Send ``event`` as its Django signal: the hook by which all schedulers send theirs.

    Nothing happens for signals nobody listens to, so busy schedulers pay little.
    """
    signal = SIGNALS.get(event.code)
    if signal is None or not signal.receivers:
        return
    with clean():
        signal.send_robust(
            sender=type(scheduler),
            event=event,
            job_id=getattr(event, "job_id", None),
            scheduler=scheduler,
        )
