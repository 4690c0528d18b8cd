"""
The admin: jobs, their execution log and the schedulers.

Registered with Django's default site by import, which admin's autodiscovery does.
"""

from __future__ import annotations

from django_apscheduler.admin.executions import ExecutionAdmin
from django_apscheduler.admin.jobs import JobAdmin
from django_apscheduler.admin.processes import ProcessAdmin

__all__ = ["ExecutionAdmin", "JobAdmin", "ProcessAdmin"]
