"""
Signatures of job rows: what may run was written by this project's code.

A row written by hand, or by whoever can write to the database, cannot name code to run,
nor arguments for it. Schedules and options stay free to edit.
"""

from __future__ import annotations

from functools import lru_cache

from django.conf import settings
from django.core.signing import BadSignature, Signer

from django_apscheduler.serialization import canonical, trigger_classes

SALT = "django_apscheduler.job"

#: Why a row is broken whose signature does not verify.
INVALID = (
    "The job's signature does not match its callable and arguments: they were changed "
    "other than through a scheduler or the admin, or SECRET_KEY was replaced without "
    "SECRET_KEY_FALLBACKS. If the row is as it should be, sign it again with "
    "`manage.py apscheduler resign`; otherwise add the job again with "
    "replace_existing=True."
)


def sign(job_id: str, func: str, args: str, kwargs: str, trigger: str) -> str:
    """
    Return the signature of a row with these columns.

    :param trigger: only the references of custom classes in it are signed
    """
    return Signer(salt=SALT).signature(_payload(job_id, func, args, kwargs, trigger))


def verify(
    signature: str, job_id: str, func: str, args: str, kwargs: str, trigger: str
) -> bool:
    """Tell whether `sign` made the signature, with the present key or a fallback."""
    # The keys are part of the cache's key, so that replacing them takes effect.
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return _verify(keys, signature, job_id, func, args, kwargs, trigger)


@lru_cache(maxsize=16384)
def _verify(
    keys: tuple[str, ...],
    signature: str,
    job_id: str,
    func: str,
    args: str,
    kwargs: str,
    trigger: str,
) -> bool:
    payload = _payload(job_id, func, args, kwargs, trigger)
    try:
        # Compares in constant time.
        Signer(salt=SALT).unsign(f"{payload}:{signature}")
    except BadSignature:
        return False
    return True


def _payload(job_id: str, func: str, args: str, kwargs: str, trigger: str) -> str:
    return canonical([job_id, func, args, kwargs, trigger_classes(trigger)])
