"""The jobs of the first release."""

from django_apscheduler import scheduled_job
from tests.chaos.bodies import anything
from tests.chaos.releases import EVERY_TIME


@scheduled_job("interval", seconds=0.2, id="kept", **EVERY_TIME)
def kept():
    anything()


@scheduled_job(
    "interval", seconds=0.2, id="changed", kwargs={"release": 1}, **EVERY_TIME
)
def changed(release):
    anything()


@scheduled_job("interval", seconds=0.2, id="removed", **EVERY_TIME)
def removed():
    anything()
