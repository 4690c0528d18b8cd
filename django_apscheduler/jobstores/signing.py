"""
Signatures of stored jobs: what may run was written by who knows the key.

Without them, whoever can write to a job store can name code to run and arguments for it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

from django_apscheduler.serialization import trigger_classes

SALT = b"django_apscheduler.job"

Key = str | bytes

_default_keys: Callable[[], Sequence[Key]] | None = None


def set_default_keys(provider: Callable[[], Sequence[Key]] | None) -> None:
    """
    Take the keys of stores that are given none from ``provider``.

    :param provider: returns the key to sign with, then older ones that still verify
    """
    global _default_keys
    _default_keys = provider


def default_keys() -> tuple[Key, ...]:
    """Return the keys for stores that are given none; Django's, else no keys."""
    return () if _default_keys is None else tuple(_default_keys())


def sign(key: Key, job_id: str, func: str, args: str, kwargs: str, trigger: str) -> str:
    """
    Return the signature of a job with these columns.

    :param trigger: only the references of custom classes in it are signed
    """
    return _signature(key, _payload(job_id, func, args, kwargs, trigger))


def verify(
    keys: Iterable[Key],
    signature: str,
    job_id: str,
    func: str,
    args: str,
    kwargs: str,
    trigger: str,
) -> bool:
    """Tell whether `sign` made the signature, with any of the keys."""
    payload = _payload(job_id, func, args, kwargs, trigger)
    given = signature.encode("utf-8", "surrogatepass")
    return any(
        hmac.compare_digest(given, _signature(key, payload).encode()) for key in keys
    )


def _signature(key: Key, payload: str) -> str:
    keyed = _keyed(key).copy()
    keyed.update(payload.encode("utf-8", "surrogatepass"))
    return base64.urlsafe_b64encode(keyed.digest()).rstrip(b"=").decode()


@lru_cache(maxsize=8)
def _keyed(key: Key) -> Any:
    # To derive the key is most of the work of a signature, and a claim verifies
    # hundreds. Derived as by Django's salted_hmac().
    secret = key.encode() if isinstance(key, str) else key
    return hmac.new(hashlib.sha256(SALT + secret).digest(), digestmod=hashlib.sha256)


def _payload(job_id: str, func: str, args: str, kwargs: str, trigger: str) -> str:
    """Return one text for the columns, unlike that of any others."""
    classes = " ".join(trigger_classes(trigger))
    return "".join(
        f"{len(text)}:{text}" for text in (job_id, func, args, kwargs, classes)
    )
