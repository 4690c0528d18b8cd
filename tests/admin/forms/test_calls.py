"""What forms may offer, how arguments are read and checked, what is not shown."""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from unittest import mock
from uuid import UUID

from django.core.exceptions import ValidationError
from django.test import SimpleTestCase, override_settings

from django_apscheduler import registry, serialization
from django_apscheduler.admin.forms import calls, describing
from django_apscheduler.redaction import MARK


def send_report(days, to="all", *, dry_run=False):
    """Send the report."""


def anything(*args, **kwargs):
    """Take what comes."""


def by_place(first, /, second):
    """Take one argument by place only."""


def nothing():
    """Take nothing."""


def connect(host, password, options=None):
    """Connect somewhere."""


FUNCTIONS = (send_report, anything, by_place, nothing, connect)


def ref(func):
    return f"{__name__}:{func.__name__}"


class Registered(SimpleTestCase):
    """The functions above are offered."""

    def setUp(self):
        patch = mock.patch.dict(registry._callables)
        patch.start()
        self.addCleanup(patch.stop)
        for func in FUNCTIONS:
            registry.register_callable(func)

    def message(self, parse, *arguments):
        with self.assertRaises(ValidationError) as caught:
            parse(*arguments)
        (message,) = caught.exception.messages
        return message


class OfferTest(Registered):
    def test_registered_callables_are_offered_with_label_doc_and_signature(self):
        (choice,) = (c for c in calls.choices() if c.ref == ref(send_report))
        self.assertEqual(choice.label, "Send the report")
        self.assertEqual(choice.doc, "Send the report.")
        self.assertEqual(choice.signature, "(days, to='all', *, dry_run=False)")

    def test_a_jobs_module_that_cannot_be_imported_is_named_and_hides_nothing(self):
        with tempfile.TemporaryDirectory() as folder:
            app = Path(folder, "app_of_a_broken_jobs_module")
            app.mkdir()
            (app / "__init__.py").write_text("")
            (app / "jobs.py").write_text("import nowhere_to_be_found")
            with (
                mock.patch.object(sys, "path", [folder, *sys.path]),
                mock.patch.object(registry, "_discovered", False),
                override_settings(INSTALLED_APPS=["django_apscheduler", app.name]),
            ):
                offer = calls.offer()
                self.assertEqual(calls.check(ref(nothing), [], {}), {})
            sys.modules.pop(app.name)
        self.assertIn(ref(send_report), [choice.ref for choice in offer.choices])
        self.assertIn(
            "Could not import app_of_a_broken_jobs_module.jobs: ModuleNotFoundError: "
            "No module named 'nowhere_to_be_found'",
            offer.problem,
        )
        self.assertEqual(calls.offer().problem, "")


class ParseTest(Registered):
    def test_arguments_are_json_and_empty_text_is_none(self):
        for text, values in (
            ("", ()),
            (" \n", ()),
            ("[]", ()),
            (
                '[1, "a", null, true, 1.5, {"b": [2]}]',
                (1, "a", None, True, 1.5, {"b": [2]}),
            ),
        ):
            with self.subTest(text=text):
                self.assertEqual(calls.parse_args(text), values)
        self.assertEqual(calls.parse_kwargs(""), {})
        self.assertEqual(calls.parse_kwargs('{\n"days": 30\n}'), {"days": 30})

    def test_marked_values_become_what_json_lacks(self):
        for marked, value in (
            ({"$date": "2026-03-29"}, date(2026, 3, 29)),
            (
                {"$datetime": "2026-03-29T01:00:00+00:00"},
                datetime(2026, 3, 29, 1, tzinfo=timezone.utc),
            ),
            ({"$timedelta": 90}, timedelta(seconds=90)),
            ({"$decimal": "1.10"}, Decimal("1.10")),
            (
                {"$uuid": "12345678-1234-5678-1234-567812345678"},
                UUID("12345678123456781234567812345678"),
            ),
            ({"$tuple": [1, {"$set": [2]}]}, (1, {2})),
            ({"$dict": {"$date": 1}}, {"$date": 1}),
        ):
            with self.subTest(marked=marked):
                text = json.dumps({"value": marked})
                self.assertEqual(calls.parse_kwargs(text), {"value": value})
                self.assertEqual(calls.parse_args(json.dumps([marked])), (value,))

    def test_what_was_stored_is_read_back_the_same(self):
        values = {"when": date(2026, 1, 2), "many": (1, {"$x": {Decimal("2")}})}
        text = calls.shown_kwargs(serialization.dump_arguments(values))
        self.assertEqual(calls.parse_kwargs(text), values)

    def test_faults_are_told_with_their_line(self):
        for text, message in (
            ('{\n"a": 1\n"b": 2}', "Keyword arguments, line 3: expected ','"),
            ('{"a" 1}', "Keyword arguments, line 1: expected ':'"),
            (
                "{\n  'a': 1}",
                'Keyword arguments, line 2: texts and names go in straight double quotes, "like this"',
            ),
            (
                "{“a”: 1}",
                'Keyword arguments, line 1: texts and names go in straight double quotes, "like this"',
            ),
            ('{"a": True}', "Keyword arguments, line 1: write true instead of True"),
            ('{"a": None}', "Keyword arguments, line 1: write null instead of None"),
            (
                '{"a": 1,}',
                "Keyword arguments, line 1: there is a comma too many before the closing bracket",
            ),
            (
                '{"a": 1',
                "Keyword arguments, line 1: the text ends too early; is a closing bracket missing?",
            ),
            (
                '{"a": "b}',
                "Keyword arguments, line 1: a text is not closed; expected '\"'",
            ),
            (
                '{"a": "b\nc"}',
                "Keyword arguments, line 1: a text holds a line break or tab; write \\n",
            ),
            (
                '{"a": "C:\\x"}',
                "Keyword arguments, line 1: a text holds a backslash; write \\\\",
            ),
            (
                '{"a": 1}}',
                "Keyword arguments, line 1: expected nothing more after the closing bracket",
            ),
            (
                '{"a": }',
                "Keyword arguments, line 1: expected a value, such as 1, true, null or a text in double quotes",
            ),
            ("{a: 1}", "Keyword arguments, line 1: expected a name in double quotes"),
        ):
            with self.subTest(text=text):
                self.assertEqual(self.message(calls.parse_kwargs, text), message)

    def test_the_wrong_kind_of_value_is_named(self):
        for text, got in (
            ("[1]", "a list"),
            ('"a"', "a text"),
            ("3", "a number"),
            ("null", "null"),
            ("true", "true"),
        ):
            with self.subTest(text=text):
                self.assertEqual(
                    self.message(calls.parse_kwargs, text),
                    "Keyword arguments: expected an object such as "
                    f'{{"days": 30}}; got {got}.',
                )
        self.assertEqual(
            self.message(calls.parse_args, '{"days": 30}'),
            'Arguments: expected a list such as [1, "monthly"]; got an object.',
        )
        self.assertEqual(
            self.message(calls.parse_kwargs, '{"$tuple": [1]}'),
            "Keyword arguments: “$tuple” marks a value; it is no name.",
        )

    def test_what_python_reads_but_cannot_be_stored_is_refused(self):
        for text, message in (
            ('{"a": 1, "b": {"c": 1, "c": 2}}', "“c” occurs twice"),
            ('{"a": NaN}', "NaN is no number that can be stored; use null or a text"),
            (
                '{"a": -Infinity}',
                "-Infinity is no number that can be stored; use null or a text",
            ),
            ('{"a": 1e999}', "the number 1e999 is too large"),
            ('{"a": %s}' % ("9" * 5000), "a number of 5000 digits is too large"),
            ('{"a": %s}' % ("[" * 50_000), "nested too deep"),
        ):
            with self.subTest(text=text[:40]):
                self.assertEqual(
                    self.message(calls.parse_kwargs, text),
                    f"Keyword arguments: {message}",
                )
        for text, part in (
            ('{"a": {"$date": "yesterday"}}', "$date does not accept 'yesterday'"),
            ('{"a": {"$set": [[1]]}}', "$set does not accept"),
            ('{"a": "\\ud800"}', "not valid Unicode"),
            ('{"a": ' + "[" * 150 + "]" * 150 + "}", "nested more than 100 deep"),
        ):
            with self.subTest(text=text[:40]):
                self.assertIn(part, self.message(calls.parse_kwargs, text))
        text = json.dumps({"a": "x" * calls.LONGEST_TEXT})
        self.assertIn("characters are too many", self.message(calls.parse_kwargs, text))

    def test_marks_that_name_code_are_refused_before_anything_is_imported(self):
        module = "tests.admin.never_imported"
        for marked in (
            {"$trigger": {"type": f"{module}:run", "args": {}}},
            {"$pickle": "gASVAAAA"},
            {"$unheard": 1},
            {"$tuple": [{"$trigger": {"type": f"{module}:run"}}]},
            {"$dict": {"a": {"$trigger": {"type": f"{module}:run"}}}},
            [{"b": {"$trigger": {"type": f"{module}:run"}}}],
        ):
            with (
                self.subTest(marked=marked),
                mock.patch.object(serialization, "ref_to_obj") as imported,
            ):
                message = self.message(calls.parse_kwargs, json.dumps({"a": marked}))
                self.assertIn("is not a known mark", message)
                imported.assert_not_called()
                self.assertNotIn(module, sys.modules)


class CheckTest(Registered):
    def check(self, func, args=(), kwargs=None):
        found = calls.check(ref(func), args, kwargs or {})
        return {
            field: [text for error in errors for text in error.messages]
            for field, errors in found.items()
        }

    def test_only_exact_references_of_registered_callables_are_known(self):
        for name in (
            "os:system",
            "tests.admin.forms.test_calls:ref",
            "send_report",
            "",
        ):
            with self.subTest(name=name):
                found = calls.check(name, [], {})
                self.assertEqual(list(found), ["func"])
                self.assertEqual(
                    found["func"][0].messages,
                    [f"“{name}” is not one of the callables that this project offers."],
                )

    def test_of_thousands_of_wrong_names_a_few_are_told(self):
        names = [f"dayz{number}" for number in range(9_000)]
        told = calls.check(ref(send_report), [1], dict.fromkeys(names))
        self.assertEqual(len(told["kwargs"]), calls.LISTED_NAMES)
        self.assertIn("'dayz0'", told["kwargs"][0].messages[0])

    def test_a_call_that_does_not_fit_is_explained_by_field(self):
        for func, args, kwargs, expected in (
            (
                send_report,
                (),
                {"dayz": 3},
                {
                    "kwargs": [
                        "send_report() has no argument 'dayz'; did you mean 'days'?",
                        "send_report() needs the argument 'days'.",
                    ]
                },
            ),
            (
                send_report,
                (1,),
                {"colour": 3},
                {
                    "kwargs": [
                        "send_report() has no argument 'colour'; it also takes to, dry_run.",
                    ]
                },
            ),
            (
                nothing,
                (),
                {"colour": 3},
                {"kwargs": ["nothing() has no argument 'colour'."]},
            ),
            (
                send_report,
                (1, 2, 3),
                {},
                {
                    "args": [
                        "send_report() takes at most 2 positional arguments; got 3."
                    ]
                },
            ),
            (
                nothing,
                (1,),
                {},
                {"args": ["nothing() takes no positional arguments; got 1."]},
            ),
            (
                send_report,
                (1,),
                {"days": 2},
                {"kwargs": ["send_report() gets 'days' twice: by place and by name."]},
            ),
            (
                connect,
                (),
                {},
                {"kwargs": ["connect() needs the arguments 'host', 'password'."]},
            ),
            (
                by_place,
                (),
                {"first": 1, "second": 2},
                {
                    "kwargs": [
                        "by_place() takes 'first' by place only; put it into the arguments.",
                        "by_place() needs the argument 'first'.",
                    ]
                },
            ),
        ):
            with self.subTest(func=func.__name__, args=args, kwargs=kwargs):
                self.assertEqual(self.check(func, args, kwargs), expected)

    def test_a_call_is_accepted_exactly_when_python_would_make_it(self):
        names = ("days", "to", "dry_run", "first", "second", "other")
        choices = [
            dict.fromkeys(chosen, 1)
            for count in range(4)
            for chosen in itertools.combinations(names, count)
        ]
        fitting = 0
        for func, count, kwargs in itertools.product(FUNCTIONS, range(4), choices):
            try:
                func(*range(count), **kwargs)
                fits = True
            except TypeError:
                fits = False
            fitting += fits
            with self.subTest(func=func.__name__, count=count, kwargs=kwargs):
                found = self.check(func, tuple(range(count)), kwargs)
                self.assertEqual(not found, fits, found)
        self.assertGreater(fitting, 50)


class RedactionTest(Registered):
    def test_values_with_secret_names_are_not_shown_at_any_depth(self):
        stored = json.dumps(
            {
                "host": "db",
                "password": "hunter2",
                "X-Api-Key": "k1",
                "stripeSecretKey": {"$bytes": "azI="},
                "nested": [{"auth": {"access_token": ["t1"], "user": "ana"}}],
                "wrapped": {"$dict": {"$x": 1, "credentials": {"a": "c1"}}},
                "pair": {"$tuple": [{"Authorization": "Bearer z"}]},
                "token": None,
            }
        )
        shown = calls.shown_kwargs(stored)
        for secret in ("hunter2", "k1", "azI=", "t1", "c1", "Bearer"):
            self.assertNotIn(secret, shown)
        self.assertEqual(
            json.loads(shown),
            {
                "host": "db",
                "password": MARK,
                "X-Api-Key": MARK,
                "stripeSecretKey": MARK,
                "nested": [{"auth": {"access_token": MARK, "user": "ana"}}],
                "wrapped": {"$dict": {"$x": 1, "credentials": MARK}},
                "pair": {"$tuple": [{"Authorization": MARK}]},
                "token": None,
            },
        )

    def test_positional_arguments_are_hidden_by_the_names_of_their_parameters(self):
        stored = '["db","hunter2",{"token":"t1"}]'
        self.assertEqual(
            json.loads(calls.shown_args(stored, ref(connect))),
            ["db", MARK, {"token": MARK}],
        )
        self.assertEqual(
            json.loads(calls.shown_args(stored)), ["db", "hunter2", {"token": MARK}]
        )

    def test_so_are_those_of_a_function_that_is_loaded_and_not_offered(self):
        del registry._callables[ref(connect)]
        self.assertEqual(
            json.loads(calls.shown_args('["db","hunter2"]', ref(connect))), ["db", MARK]
        )
        for unknown in (
            "nowhere.to_be_found:connect",
            f"{__name__}:Registered",
            f"{__name__}:Registered.setUp",
            f"{__name__}:nothing_like_this",
            __name__,
            "",
        ):
            with self.subTest(ref=unknown):
                self.assertEqual(calls.parameter_names(unknown), ())
        self.assertNotIn("nowhere", sys.modules)

    def test_differences_hide_positional_arguments_likewise(self):
        stored = '["db","hunter2"]'
        self.assertEqual(
            describing.value("args", stored, ref(connect)), f'["db", "{MARK}"]'
        )

    def test_the_setting_says_which_names_are_secret(self):
        stored = '{"iban":"DE1","password":"hunter2"}'
        with override_settings(APSCHEDULER_REDACT_ARGUMENTS=["IBAN"]):
            self.assertEqual(
                json.loads(calls.shown_kwargs(stored)),
                {"iban": MARK, "password": "hunter2"},
            )
        for wrong in ("password", [3], None):
            with (
                self.subTest(wrong=wrong),
                override_settings(APSCHEDULER_REDACT_ARGUMENTS=wrong),
            ):
                self.assertNotIn("hunter2", calls.shown_kwargs(stored))

    def test_no_arguments_show_as_nothing_and_damaged_ones_as_such(self):
        for text in ("", "[]", "{}"):
            self.assertEqual(calls.shown_args(text), "")
        self.assertEqual(
            calls.shown_kwargs('{"password": "hunter2"'), "Cannot be read: not JSON."
        )

    def test_a_form_saved_unchanged_keeps_the_hidden_values(self):
        values = {
            "password": "hunter2",
            "list": [{"token": "a", "n": 1}, {"token": "b", "n": 2}],
            "when": date(2026, 1, 2),
            "token": {"deep": (1, 2)},
        }
        stored = serialization.dump_arguments(values)
        shown = calls.shown_kwargs(stored)
        self.assertNotIn("hunter2", shown)
        self.assertEqual(calls.parse_kwargs(shown, stored), values)

        stored = '["db","hunter2",{"token":"t1"}]'
        shown = calls.shown_args(stored, ref(connect))
        names = calls.parameter_names(ref(connect))
        self.assertEqual(
            calls.parse_args(shown, stored, names), ("db", "hunter2", {"token": "t1"})
        )

    def test_an_edit_beside_hidden_values_keeps_them(self):
        stored = '{"password":"hunter2","days":1}'
        text = json.dumps({"password": MARK, "days": 2, "more": 3})
        self.assertEqual(
            calls.parse_kwargs(text, stored),
            {"password": "hunter2", "days": 2, "more": 3},
        )
        text = json.dumps({"password": "new", "days": 1})
        self.assertEqual(
            calls.parse_kwargs(text, stored), {"password": "new", "days": 1}
        )

    def test_elements_of_a_list_keep_their_own_hidden_values_when_moved(self):
        stored = '{"list":[{"n":1,"token":"a"},{"n":2,"token":"b"},{"n":3}]}'
        for shown, kept in (
            ([{"n": 2, "token": MARK}, {"n": 1, "token": MARK}], ["b", "a"]),
            ([{"n": 2, "token": MARK}], ["b"]),
            (
                [{"n": 3}, {"n": 2, "token": MARK}, {"n": 1, "token": MARK}],
                [None, "b", "a"],
            ),
        ):
            with self.subTest(shown=shown):
                found = calls.parse_kwargs(json.dumps({"list": shown}), stored)
                self.assertEqual([item.get("token") for item in found["list"]], kept)

    def test_a_hidden_value_is_never_guessed(self):
        stored = '{"host":"db","list":[{"n":1,"token":"a"},{"n":2,"token":"b"}],"password":"x"}'
        same = '{"list":[{"token":"a"},{"token":"b"}]}'
        for text, against, path in (
            ({"host": MARK}, stored, "host"),
            ({"log": MARK}, stored, "log"),
            ({"password": MARK}, "", "password"),
            ({"message": {"password": MARK}}, stored, "message.password"),
            (
                {"list": [{"n": 9, "token": MARK}, {"n": 2, "token": MARK}]},
                stored,
                "list[0]",
            ),
            ({"list": [{"token": MARK}]}, same, "list[0]"),
        ):
            with self.subTest(text=text):
                self.assertEqual(
                    self.message(calls.parse_kwargs, json.dumps(text), against),
                    f"Keyword arguments: at {path}, {MARK} stands for a hidden value "
                    "that is kept, and none is stored there. Enter the value itself.",
                )
