"""Log records made inside a body carry the run they belong to."""

from __future__ import annotations

import logging
import threading
from typing import Any

from django_apscheduler.executors.base import current_run

#: Attribute of a log record → attribute of the current run. The prefix keeps them from
#: colliding with names that programs pass in ``extra=``, which logging forbids.
FIELDS = {
    "apscheduler_job_id": "job_id",
    "apscheduler_run_time": "run_time",
    "apscheduler_attempt": "attempt",
    "apscheduler_execution_id": "execution_id",
}

_lock = threading.Lock()
_installed = False


def mark_log_records() -> None:
    """
    Give every log record of this process the attributes named in `FIELDS`.

    They are None outside of bodies, so that format strings can name them anywhere.
    Calling this again changes nothing.
    """
    global _installed
    with _lock:
        if _installed:
            return
        _installed = True
        make_record = logging.getLogRecordFactory()

    def make_marked_record(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make_record(*args, **kwargs)
        run = current_run()
        for attribute, name in FIELDS.items():
            setattr(record, attribute, None if run is None else getattr(run, name))
        return record

    logging.setLogRecordFactory(make_marked_record)
