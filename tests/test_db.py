"""Times are the same instants whatever settings and connections say."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.db import OperationalError, connection, connections, models, transaction
from django.db.models import F, Max
from django.test.utils import isolate_apps

from django_apscheduler import db as database
from django_apscheduler.db import (
    DatabaseNow,
    KeyField,
    PartialIndex,
    PrivateConnection,
    UTCDateTimeField,
    database_now,
    moment,
)
from django_apscheduler.models import DjangoJob

UTC = timezone.utc
#: The first of the two readings of half past two in Berlin that night, and the second.
FIRST = datetime(2026, 10, 25, 0, 30, 0, 123456, tzinfo=UTC)
SECOND = FIRST + timedelta(hours=1)


@pytest.fixture(
    params=[(True, "UTC"), (True, "Europe/Berlin"), (False, "Europe/Berlin")]
)
def zones(request, settings, db):
    """Each of Django's ways with time zones."""
    settings.USE_TZ, settings.TIME_ZONE = request.param
    # An open connection keeps the zone it was opened in.
    connection.ensure_timezone()
    yield
    settings.USE_TZ, settings.TIME_ZONE = True, "UTC"
    connection.ensure_timezone()


def save(id, time):
    return DjangoJob.objects.create(id=id, next_run_time=time)


@pytest.mark.usefixtures("zones")
def test_an_instant_comes_back_in_utc():
    for id, time in (("first", FIRST), ("second", SECOND)):
        save(id, time.astimezone(ZoneInfo("Europe/Berlin")))
        loaded = DjangoJob.objects.get(pk=id).next_run_time
        assert loaded == time
        assert loaded.tzinfo is UTC
    assert DjangoJob.objects.aggregate(last=Max("next_run_time"))["last"] == SECOND
    times = DjangoJob.objects.order_by("next_run_time")
    assert list(times.values_list("next_run_time", flat=True)) == [FIRST, SECOND]


@pytest.mark.usefixtures("zones")
def test_instants_compare_as_instants():
    save("first", FIRST)
    save("second", SECOND)

    def ids(**lookups):
        return list(DjangoJob.objects.filter(**lookups).values_list("id", flat=True))

    assert ids(next_run_time=FIRST) == ["first"]
    assert ids(next_run_time__gt=FIRST) == ["second"]
    assert ids(next_run_time__range=(FIRST, FIRST)) == ["first"]
    assert ids(next_run_time__in=[SECOND]) == ["second"]
    assert ids(next_run_time__lt=F("next_run_time") + timedelta(hours=1)) == [
        "first",
        "second",
    ]
    latest = DjangoJob.objects.order_by("-next_run_time").values("next_run_time")[:1]
    assert ids(next_run_time=models.Subquery(latest)) == ["second"]


@pytest.mark.usefixtures("zones")
def test_the_databases_clock_is_in_utc():
    before = datetime.now(UTC) - timedelta(seconds=2)
    assert before < database_now("default") < before + timedelta(seconds=4)
    save("job", FIRST)
    DjangoJob.objects.update(next_run_time=moment(None, timedelta(hours=1)))
    later = DjangoJob.objects.get().next_run_time - timedelta(hours=1)
    assert before < later < before + timedelta(seconds=4)
    assert DjangoJob.objects.filter(next_run_time__gt=DatabaseNow()).exists()
    read = DjangoJob.objects.values_list(DatabaseNow(), flat=True).get()
    assert before < read < before + timedelta(seconds=4)


@pytest.mark.django_db
def test_saving_a_naive_time_is_refused():
    with pytest.raises(ValueError, match="next_run_time must be an aware datetime"):
        save("job", datetime(2026, 1, 1))


@pytest.mark.django_db
def test_saving_a_naive_time_is_refused_without_time_zones_too(settings):
    settings.USE_TZ = False
    with pytest.raises(ValueError, match="next_run_time must be an aware datetime"):
        save("job", datetime(2026, 1, 1))


@pytest.mark.usefixtures("zones")
def test_without_time_zones_a_lookup_reads_naive_times_as_django_does(settings):
    save("first", FIRST)
    if settings.USE_TZ:
        with pytest.raises(ValueError, match="make_aware"):
            DjangoJob.objects.filter(next_run_time__gt=datetime(2026, 1, 1)).exists()
    else:
        found = DjangoJob.objects.filter(
            next_run_time__lte=datetime(2026, 10, 25, 2, 31)
        )
        assert found.count() == 1


@pytest.mark.parametrize("use_tz", [True, False])
def test_a_form_shows_and_reads_local_times(settings, use_tz):
    settings.USE_TZ, settings.TIME_ZONE = use_tz, "Europe/Berlin"
    field = UTCDateTimeField().formfield()
    shown = field.prepare_value(datetime(2026, 1, 1, 12, tzinfo=UTC))
    assert shown == datetime(2026, 1, 1, 13)
    read = field.clean("2026-01-01 13:00:00")
    assert read == datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert not field.has_changed(datetime(2026, 1, 1, 12, tzinfo=UTC), shown)


@pytest.mark.django_db
def test_keys_are_compared_byte_by_byte():
    save("report", FIRST)
    others = [
        "Report",
        "réport",
        "report ",
        " report",
        "report\t",
        "",
        "repor\N{PILE OF POO}",
    ]
    for other in others:
        save(other, SECOND)
    assert DjangoJob.objects.get(pk="report").next_run_time == FIRST
    assert set(DjangoJob.objects.values_list("pk", flat=True)) == {"report", *others}


@pytest.mark.parametrize(
    ("mariadb", "version", "collation"),
    [
        (True, (10, 6, 1), "utf8mb4_nopad_bin"),
        (False, (8, 4, 0), "utf8mb4_0900_bin"),
        (False, (8, 0, 16), "utf8mb4_bin"),
    ],
)
def test_mysql_is_told_to_compare_keys_byte_by_byte(mariadb, version, collation):
    server = SimpleNamespace(
        vendor="mysql",
        mysql_is_mariadb=mariadb,
        mysql_version=version,
        data_types=connection.data_types,
        data_type_check_constraints={},
        ops=connection.ops,
    )
    parameters = KeyField(max_length=5).db_parameters(server)
    assert parameters["collation"] == collation


@pytest.mark.django_db
def test_uuids_have_one_form_whatever_release_of_django_made_the_table():
    job = save("report", FIRST)
    with connection.cursor() as cursor:
        cursor.execute("SELECT uid FROM django_apscheduler_djangojob")
        ((stored,),) = cursor.fetchall()
        table = connection.introspection.get_table_description(
            cursor, "django_apscheduler_djangojob"
        )
    if connection.vendor == "mysql":
        assert stored == job.uid.hex
        (column,) = (column for column in table if column.name == "uid")
        assert column.display_size == 32
    assert UUID(str(stored)) == job.uid
    job.refresh_from_db()
    assert DjangoJob.objects.get(uid=str(job.uid)) == job


@pytest.mark.django_db
@isolate_apps("django_apscheduler")
@pytest.mark.parametrize("partial", [True, False])
def test_the_index_of_few_rows_is_partial_where_it_can_be(partial, monkeypatch):
    class Thing(models.Model):
        status = models.CharField(max_length=5)
        key = models.CharField(max_length=5)

        class Meta:
            app_label = "django_apscheduler"

        def __str__(self):
            return self.key

    if partial and not connection.features.supports_partial_indexes:
        pytest.skip("this database has no partial indexes")
    monkeypatch.setattr(connection.features, "supports_partial_indexes", partial)
    index = PartialIndex(key="key", column="status", values=["a"], name="few")
    assert index.clone().deconstruct() == index.deconstruct()
    editor = connection.SchemaEditorClass(connection, collect_sql=True)
    sql = str(index.create_sql(Thing, editor))
    narrow = partial and connection.vendor != "sqlite"
    expected = ["key"] if narrow else ["status", "key"]
    columns = ", ".join(connection.ops.quote_name(name) for name in expected)
    assert f"({columns})" in sql
    assert ("WHERE" in sql) is partial


@pytest.mark.django_db(transaction=True)
class TestPrivateConnection:
    """The engine's own connection is apart from the user's, and mends itself."""

    @pytest.fixture
    def private(self):
        private = PrivateConnection("default")
        yield private
        private.close()

    def test_it_is_used_only_inside_the_block(self, private):
        ordinary = connections["default"]
        with private as own:
            assert connections["default"] is own is not ordinary
            assert own.settings_dict["NAME"] == ordinary.settings_dict["NAME"]
        assert connections["default"] is ordinary

    def test_it_sees_nothing_of_an_open_transaction(self, private):
        with transaction.atomic():
            save("job", FIRST)
            with private:
                assert not DjangoJob.objects.exists()
        with private:
            assert DjangoJob.objects.exists()

    def test_it_stays_open_and_is_replaced_after_a_fault(self, private):
        with private as own:
            own.ensure_connection()
            with private as again:
                assert again is own
        assert own.connection is not None
        with pytest.raises(ZeroDivisionError), private:
            1 / 0  # noqa: B018
        assert own.connection is None
        with private as new:
            assert new is not own
            assert DjangoJob.objects.count() == 0

    def test_threads_take_turns(self, private):
        seen = []

        def work():
            with private as own:
                seen.append((own, DjangoJob.objects.count()))

        with private as own:
            DjangoJob.objects.count()
            threads = [threading.Thread(target=work) for _ in range(3)]
            for thread in threads:
                thread.start()
            assert seen == []
        for thread in threads:
            thread.join()
        assert seen == [(own, 0)] * 3

    def test_it_belongs_to_no_pool_and_is_not_aged(self, private):
        with private as own:
            assert own.settings_dict["CONN_MAX_AGE"] is None
            assert "pool" not in own.settings_dict["OPTIONS"]
            own.ensure_connection()
            own.close_if_unusable_or_obsolete()
            assert own.connection is not None


class PostgreSQLError(Exception):
    def __init__(self, sqlstate):
        self.sqlstate = sqlstate


def ended(code):
    """Return what Django raises when the database ends a transaction."""
    if isinstance(code, int):
        return OperationalError(code, "Deadlock found when trying to get lock")
    error = OperationalError("deadlock detected")
    error.__cause__ = PostgreSQLError(code)
    return error


@pytest.mark.parametrize("code", [1213, "40P01", "40001"])
@pytest.mark.django_db(transaction=True)
def test_what_was_ended_as_a_deadlock_begins_again(code, monkeypatch):
    monkeypatch.setattr(database, "REPEAT_SECONDS", 0)
    answers = [ended(code), ended(code), "done"]

    def act():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert database.repeat_deadlocks("default", act) == "done"
    answers = [ended(code)] * 99
    with pytest.raises(OperationalError):
        database.repeat_deadlocks("default", act)
    assert len(answers) == 99 - database.REPEATS - 1
    answers = [ended(code), "done"]
    with pytest.raises(OperationalError), transaction.atomic():
        database.repeat_deadlocks("default", act)
    assert answers == ["done"]


@pytest.mark.parametrize("code", [1205, 2006, "55P03"])
@pytest.mark.django_db(transaction=True)
def test_other_errors_do_not(code):
    calls = []

    def act():
        calls.append(code)
        raise ended(code)

    with pytest.raises(OperationalError):
        database.repeat_deadlocks("default", act)
    assert calls == [code]


@pytest.mark.django_db(transaction=True)
def test_an_error_that_says_nothing_is_no_deadlock():
    def act():
        raise OperationalError

    with pytest.raises(OperationalError):
        database.repeat_deadlocks("default", act)
