"""
Signatures of job rows: what may run was written by this project's code.

A row written by hand, or by whoever can write to the database, cannot name code to run,
nor arguments for it. Schedules and options stay free to edit.
"""

from __future__ import annotations

from django.conf import settings

from django_apscheduler.jobstores import signing

#: Why a row is broken whose signature does not verify.
INVALID = (
    "The job's signature does not match its callable and arguments: they were changed "
    "other than through a scheduler or the admin, or SECRET_KEY was replaced without "
    "SECRET_KEY_FALLBACKS. If the row is as it should be, sign it again with "
    "`manage.py apscheduler resign`; otherwise add the job again with "
    "replace_existing=True."
)


def keys() -> tuple[str | bytes, ...]:
    """Return the project's keys: the present one, then those that still verify."""
    return (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)


def sign(job_id: str, func: str, args: str, kwargs: str, trigger: str) -> str:
    """
    Return the signature of a row with these columns.

    :param trigger: only the references of custom classes in it are signed
    """
    return signing.sign(settings.SECRET_KEY, job_id, func, args, kwargs, trigger)


def verify(
    signature: str, job_id: str, func: str, args: str, kwargs: str, trigger: str
) -> bool:
    """Tell whether `sign` made the signature, with the present key or a fallback."""
    return signing.verify(keys(), signature, job_id, func, args, kwargs, trigger)
