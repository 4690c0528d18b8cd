"""Schedulers: what binds triggers, job stores and executors together."""

STATE_STOPPED = 0
STATE_RUNNING = 1
STATE_PAUSED = 2


class SchedulerAlreadyRunningError(Exception):
    """Raised when a scheduler is started or configured while it is running."""

    def __str__(self) -> str:
        return "Scheduler is already running"


class SchedulerNotRunningError(Exception):
    """Raised when a scheduler is paused, resumed or shut down without running."""

    def __str__(self) -> str:
        return "Scheduler is not running"


#: Plugin alias → reference of the class.
SCHEDULERS = {
    "blocking": "django_apscheduler.schedulers.blocking:BlockingScheduler",
    "background": "django_apscheduler.schedulers.background:BackgroundScheduler",
    "asyncio": "django_apscheduler.schedulers.asyncio:AsyncIOScheduler",
    "tornado": "django_apscheduler.schedulers.tornado:TornadoScheduler",
    "twisted": "django_apscheduler.schedulers.twisted:TwistedScheduler",
    "qt": "django_apscheduler.schedulers.qt:QtScheduler",
    "gevent": "django_apscheduler.schedulers.gevent:GeventScheduler",
}
