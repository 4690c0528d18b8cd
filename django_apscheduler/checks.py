"""
System checks: mistakes told by ``manage.py check``, before the first job runs.

Checks of the database run only where Django says which databases to look at
(``check --database default``, ``migrate``); the others make no query.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import DatabaseError, connections
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from django_apscheduler import conf, redaction, registry, util
from django_apscheduler.schedulers.plugins import load_plugin

APP_LABEL = "django_apscheduler"

#: The first servers with SKIP LOCKED, on which a claim stands.
OLDEST_MYSQL = (8, 0, 1)
OLDEST_MARIADB = (10, 6)

#: How many connections psycopg's pool opens at most, unless told.
DEFAULT_POOL_SIZE = 4


def register_checks() -> None:
    """Register all checks; called when the app is ready."""
    register(check_settings)
    register(check_redaction)
    register(check_installed_apps)
    register(check_declared_jobs)
    register(check_pools)
    register(check_databases, Tags.database)


def check_settings(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """E001: the dictionary; E002: what its aliases and references name."""
    problems = conf.problems()
    if problems:
        return [
            Error(
                f"settings.APSCHEDULER: {problem}.",
                hint="See the documentation, 'Configuration'.",
                id=f"{APP_LABEL}.E001",
            )
            for problem in problems
        ]
    found = conf.configuration()
    groups = {"jobstores": found.jobstores, "executors": found.executors}
    return [
        Error(
            f"settings.APSCHEDULER: {group}.{alias}: {problem}",
            hint="Correct 'type' (an alias) or 'class' (module:Class), or install what "
            "it needs.",
            id=f"{APP_LABEL}.E002",
        )
        for group, plugins in groups.items()
        for alias, plugin in plugins.items()
        if (problem := _plugin_problem(group, plugin))
    ]


def _plugin_problem(group: str, plugin: Any) -> str:
    if not isinstance(plugin, dict):
        return ""
    try:
        if "class" in plugin:
            util.maybe_ref(plugin["class"])
        else:
            load_plugin(group, plugin["type"])
    except (ImportError, LookupError, ValueError) as error:
        return str(error)
    return ""


def check_redaction(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """E010: which arguments are hidden, when the setting cannot say."""
    problem = redaction.setting_problem()
    if not problem:
        return []
    return [
        Error(
            f"settings.{problem}.",
            hint="Until it is corrected the default names are hidden.",
            id=f"{APP_LABEL}.E010",
        )
    ]


def check_installed_apps(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """W001: the app whose templates the admin's date filters use."""
    if not apps.is_installed("django.contrib.admin") or apps.is_installed(
        "rangefilter"
    ):
        return []
    return [
        Warning(
            "'rangefilter' is not in INSTALLED_APPS; the admin's lists of jobs and "
            "executions cannot show their filters without its templates.",
            hint="Add 'rangefilter' to INSTALLED_APPS; it is installed already.",
            id=f"{APP_LABEL}.W001",
        )
    ]


def check_declared_jobs(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """E003: jobs modules; E004: jobs that could not run; E005, W002: where they run."""
    if conf.problems():
        # Told by check_settings; what follows would only repeat it.
        return []
    try:
        declared = registry.declarations()
    except registry.DiscoveryError as error:
        return [Error(str(error), id=f"{APP_LABEL}.E003")]
    found = conf.configuration()
    messages: list[CheckMessage] = []
    for declaration in declared.values():
        what = f"The job {declaration.id!r}, declared at {declaration.place}"
        for fault in registry.faults(declaration):
            messages.append(
                Error(f"{what}, could not run: {fault}", id=f"{APP_LABEL}.E004")
            )
        if declaration.jobstore not in found.jobstores:
            messages.append(
                Error(
                    f"{what}, names the job store {declaration.jobstore!r}; "
                    f"settings.APSCHEDULER has {', '.join(found.jobstores)}.",
                    id=f"{APP_LABEL}.E005",
                )
            )
        executor = declaration.options.get("executor", "default")
        if executor not in found.executors:
            messages.append(
                Warning(
                    f"{what}, names the executor {executor!r}, which "
                    "settings.APSCHEDULER does not have; the job waits for a scheduler "
                    "that has it.",
                    hint=f"Configured executors: {', '.join(found.executors)}.",
                    id=f"{APP_LABEL}.W002",
                )
            )
    return messages


def check_pools(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """W003: a connection pool that is smaller than the number of workers."""
    if conf.problems():
        return []
    workers = sum(
        int(executor.get("max_workers", 10))
        for executor in conf.configuration().executors.values()
        if isinstance(executor, dict) and executor.get("type") == "threadpool"
    )
    messages: list[CheckMessage] = []
    for alias, database in settings.DATABASES.items():
        pool = (database.get("OPTIONS") or {}).get("pool")
        if not pool:
            continue
        options = pool if isinstance(pool, dict) else {}
        size = options.get("max_size") or options.get("min_size") or DEFAULT_POOL_SIZE
        if size < workers:
            messages.append(
                Warning(
                    f"The connection pool of the database {alias!r} has {size} "
                    f"connections for {workers} worker threads: jobs that use the "
                    "database wait for each other, and fail after the pool's timeout.",
                    hint="Set OPTIONS['pool']['max_size'] to the number of workers, or "
                    "have fewer workers.",
                    id=f"{APP_LABEL}.W003",
                )
            )
    return messages


def check_databases(
    app_configs: Any = None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """What the databases that hold jobs must be able to do."""
    if not databases or conf.problems():
        return []
    from django_apscheduler.sync import django_stores

    messages: list[CheckMessage] = []
    for using in django_stores(conf.configuration()):
        if using in databases:
            messages += _check_database(using)
    return messages


def _check_database(using: str) -> Iterable[CheckMessage]:
    connection: Any = connections[using]
    try:
        if connection.vendor == "sqlite":
            yield from _check_sqlite(using)
        elif connection.vendor == "mysql":
            yield from _check_mysql(using)
        yield from _check_lineage(using)
    except DatabaseError as error:
        reason = " ".join(str(error).split())
        yield Error(
            f"The database {using!r} cannot be used: {reason}", id=f"{APP_LABEL}.E006"
        )


def _check_sqlite(using: str) -> Iterable[CheckMessage]:
    connection: Any = connections[using]
    if connection.is_in_memory_db():
        # Tests do that, and rightly: only a scheduler needs a file.
        return
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode")
        (mode,) = cursor.fetchone()
        used = _has_had_schedulers(cursor)
    # A new project has nothing that could be in anybody's way, and gets no warning
    # with its first `migrate`.
    if mode.lower() != "wal" and used:
        yield Warning(
            f"The SQLite database {using!r} is in the journal mode {mode.upper()}: while "
            "anybody writes nobody can read, so that web pages and jobs wait for each "
            "other.",
            hint="Switch it once, it stays so: sqlite3 "
            f"{connection.settings_dict['NAME']} 'PRAGMA journal_mode=WAL'",
            id=f"{APP_LABEL}.W004",
        )


def _has_had_schedulers(cursor: Any) -> bool:
    table = f"{APP_LABEL}_schedulerprocess"
    cursor.execute("SELECT 1 FROM sqlite_master WHERE name = %s", [table])
    if cursor.fetchone() is None:
        return False
    cursor.execute(f"SELECT 1 FROM {table} LIMIT 1")
    return cursor.fetchone() is not None


def _check_mysql(using: str) -> Iterable[CheckMessage]:
    connection: Any = connections[using]
    mariadb = connection.mysql_is_mariadb
    oldest = OLDEST_MARIADB if mariadb else OLDEST_MYSQL
    if connection.mysql_version < oldest:
        yield Error(
            f"The database {using!r} is {connection.display_name} "
            f"{'.'.join(map(str, connection.mysql_version))}, which cannot skip rows "
            "that others have locked: schedulers that share it would wait for each "
            "other.",
            hint=f"Use {connection.display_name} {'.'.join(map(str, oldest))} or newer.",
            id=f"{APP_LABEL}.E007",
        )


def _check_lineage(using: str) -> Iterable[CheckMessage]:
    """E008: tables in a state from which no migration of ours leads on."""
    recorder = MigrationRecorder(connections[using])
    if not recorder.has_table():
        return
    applied = {name for app, name in recorder.applied_migrations() if app == APP_LABEL}
    loader = MigrationLoader(None, ignore_no_migrations=True)
    ours, replaced = set(), set()
    for (app, name), migration in loader.disk_migrations.items():
        if app == APP_LABEL:
            ours.add(name)
            replaced |= {old for _, old in migration.replaces}
    unknown = sorted(applied - ours - replaced)
    if unknown:
        yield Error(
            f"The database {using!r} has migrations of {APP_LABEL} that this release "
            f"does not know: {', '.join(unknown)}.",
            hint="They come from a newer release, or from another package of this name: "
            "install that one and migrate back, or start with an empty schema.",
            id=f"{APP_LABEL}.E008",
        )
    earlier = sorted(applied & replaced)
    if earlier and not applied & ours and set(earlier) != replaced:
        yield Error(
            f"The database {using!r} is half-way through the migrations of the earlier "
            f"package: it stands at {earlier[-1]}, and {sorted(replaced)[-1]} is where "
            "this release takes over.",
            hint="Install the earlier package's last release once more, run "
            f"'migrate {APP_LABEL}', and come back.",
            id=f"{APP_LABEL}.E009",
        )
