"""
What pages ask for again and again while they are open: has anything moved on?

Answers are JSON with an ETag, so that a question whose answer is still the same costs
next to nothing to answer; ``live.js`` asks ever more rarely and not while nobody looks.
"""

from __future__ import annotations

import hashlib
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.cache import get_conditional_response, patch_cache_control
from django.utils.translation import gettext

from django_apscheduler import conf
from django_apscheduler.admin import badges, words
from django_apscheduler.models import DjangoJobExecution


def answer(request: HttpRequest, content: dict[str, Any]) -> HttpResponse:
    """Return JSON, or 304 to whoever has it already."""
    response = JsonResponse(content)
    etag = f'"{hashlib.sha256(response.content).hexdigest()[:32]}"'
    response["ETag"] = etag
    # Kept by the browser alone, and asked for anew each time.
    patch_cache_control(response, private=True, no_cache=True)
    return get_conditional_response(request, etag=etag, response=response) or response


def state_of(row: DjangoJobExecution) -> dict[str, Any]:
    """
    Return where an execution stands.

    :return: ``mark`` changes whenever its page would show something else, ``so_far`` is
        how long the body has been running, in words
    """
    moments = (row.expires_time, row.claimed_time, row.started_time, row.finished_time)
    mark = [row.status, str(row.attempt), *(str(m or "") for m in moments)]
    look = badges.STATUSES.get(row.status)
    so_far = ""
    if row.status == DjangoJobExecution.STARTED and row.started_time is not None:
        # Whole seconds, for the answer is compared with the one before.
        seconds = max((row.shown_at - row.started_time).total_seconds(), 0.0)
        so_far = words.coarse(seconds)
    return {
        "mark": hashlib.sha256("|".join(mark).encode()).hexdigest()[:16],
        "final": row.status not in DjangoJobExecution.ACTIVE,
        "said": gettext("The run is now: %(status)s")
        % {"status": look.word if look else row.status},
        "so_far": so_far,
    }


def watch(row: DjangoJobExecution, address: str) -> dict[str, Any] | None:
    """
    Return what the page of an execution needs to update itself; None when it has ended.

    :return: ``seconds`` is for how long it waits for a run that staff asked for, 0 for
        as long as it takes
    """
    state = state_of(row)
    if state["final"]:
        return None
    asked_for = row.origin == DjangoJobExecution.Origin.MANUAL
    return {
        "address": address,
        "mark": state["mark"],
        "seconds": int(conf.run_now_timeout()) if asked_for else 0,
    }
