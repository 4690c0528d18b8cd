"""What the tests of persistent job stores share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.jobstores.places import Place, place

#: SQLAlchemy's store is tried on every database that the suite runs on.
PERSISTENT = (
    pytest.param("sqlalchemy", marks=pytest.mark.database),
    "mongodb",
    "redis",
)


@pytest.fixture(params=PERSISTENT)
def here(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A place for jobs, for each of the persistent stores."""
    found = place(request.param, request)
    yield found
    found.clear()
