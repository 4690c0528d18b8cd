"""Executors: what runs the bodies of jobs."""

#: Plugin alias → reference of the class.
EXECUTORS = {
    "threadpool": "django_apscheduler.executors.pool:ThreadPoolExecutor",
    "processpool": "django_apscheduler.executors.pool:ProcessPoolExecutor",
    "asyncio": "django_apscheduler.executors.asyncio:AsyncIOExecutor",
    "tornado": "django_apscheduler.executors.tornado:TornadoExecutor",
    "twisted": "django_apscheduler.executors.twisted:TwistedExecutor",
    "gevent": "django_apscheduler.executors.gevent:GeventExecutor",
    "debug": "django_apscheduler.executors.debug:DebugExecutor",
}
