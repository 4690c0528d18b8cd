"""
Signatures of job rows: what may run was written by this project's code.

A row written by hand, or by whoever can write to the database, cannot name code to run,
nor arguments for it. Schedules and options stay free to edit.
"""

from __future__ import annotations

import base64
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.utils.crypto import constant_time_compare, salted_hmac

from django_apscheduler.serialization import trigger_classes

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
    return _signature(
        settings.SECRET_KEY, _payload(job_id, func, args, kwargs, trigger)
    )


def verify(
    signature: str, job_id: str, func: str, args: str, kwargs: str, trigger: str
) -> bool:
    """Tell whether `sign` made the signature, with the present key or a fallback."""
    payload = _payload(job_id, func, args, kwargs, trigger)
    return any(
        constant_time_compare(signature, _signature(key, payload))
        for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    )


def _signature(key: str | bytes, payload: str) -> str:
    keyed = _keyed(key).copy()
    keyed.update(payload.encode("utf-8", "surrogatepass"))
    return base64.urlsafe_b64encode(keyed.digest()).rstrip(b"=").decode()


@lru_cache(maxsize=8)
def _keyed(key: str | bytes) -> Any:
    # Django's own Signer derives the key anew for each signature, which is most of its
    # work: a claim verifies hundreds.
    return salted_hmac(SALT, b"", key, algorithm="sha256")


def _payload(job_id: str, func: str, args: str, kwargs: str, trigger: str) -> str:
    """Return one text for the columns, unlike that of any others."""
    classes = " ".join(trigger_classes(trigger))
    return "".join(
        f"{len(text)}:{text}" for text in (job_id, func, args, kwargs, classes)
    )
