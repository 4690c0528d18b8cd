"""The jobs of the second release: one is new, one is gone, one is different."""

from django_apscheduler import scheduled_job
from tests.chaos.bodies import anything
from tests.chaos.releases import EVERY_TIME


@scheduled_job("interval", seconds=0.2, id="kept", **EVERY_TIME)
def kept():
    anything()


@scheduled_job(
    "interval", seconds=0.3, id="changed", kwargs={"release": 2}, **EVERY_TIME
)
def changed(release):
    anything()


@scheduled_job("interval", seconds=0.2, id="fresh", **EVERY_TIME)
def fresh():
    anything()


def by_hand():
    """Be added by a view of this release."""
    anything()
