"""Gunicorn's configuration: the hooks, and nothing else."""

from django_apscheduler.web import post_worker_init, worker_exit  # noqa: F401
