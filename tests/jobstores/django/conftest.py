"""What the tests of the shared store have in common besides `support`."""

from __future__ import annotations

import pytest

from django_apscheduler.jobstores.django import DjangoJobStore
from tests.jobstores.django.support import Owner


@pytest.fixture
def running():
    """Start stores that run, and stop them in the end."""
    started = []

    def start(**options):
        store = DjangoJobStore(**options)
        store.start(Owner(), "default", run=True)
        started.append(store)
        return store

    yield start
    for store in started:
        store.shutdown()
