"""Jobs as a JSON file: export and import."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from django_apscheduler import serialization
from django_apscheduler.job import Job
from django_apscheduler.util import undefined

FORMAT_VERSION = 1

_PLAIN = (
    "id",
    "name",
    "executor",
    "coalesce",
    "misfire_grace_time",
    "max_instances",
    "on_lost",
    "transactional",
)


@contextmanager
def _opened(file: Any, mode: str) -> Iterator[IO]:
    if hasattr(file, "read") or hasattr(file, "write"):
        yield file
    else:
        with open(file, mode, encoding="utf-8") as opened:
            yield opened


def dump_jobs(jobs: list[Job], outfile: Any) -> None:
    """Write ``jobs`` to a path or text file, as JSON that people can read."""
    document = {"version": FORMAT_VERSION, "jobs": [_dump(job) for job in jobs]}
    text = json.dumps(document, indent=2, ensure_ascii=False)
    with _opened(outfile, "w") as file:
        file.write(text + "\n")


def _dump(job: Job) -> dict[str, Any]:
    state = job.__getstate__()
    dumped = {name: state[name] for name in _PLAIN if name in state}
    dumped["func"] = state["func"]
    dumped["trigger"] = json.loads(serialization.dump_trigger(job.trigger))
    dumped["args"] = json.loads(serialization.dump_arguments(state["args"]))
    dumped["kwargs"] = json.loads(serialization.dump_arguments(state["kwargs"]))
    run_time = job.next_run_time
    dumped["paused"] = run_time is None and not job.pending
    dumped["next_run_time"] = None if run_time is None else run_time.isoformat()
    return dumped


def load_jobs(scheduler: Any, infile: Any) -> list[Job]:
    """
    Return the jobs that `dump_jobs` wrote to a path or text file.

    :raises ValueError: when the file holds something else
    """
    with _opened(infile, "r") as file:
        document = json.load(file)
    if not isinstance(document, dict) or document.get("version") != FORMAT_VERSION:
        raise ValueError(
            f'expected a file of exported jobs with "version": {FORMAT_VERSION}; got '
            f"{str(document)[:60]!r}"
        )
    return [_load(scheduler, entry) for entry in document["jobs"]]


def _load(scheduler: Any, entry: dict[str, Any]) -> Job:
    options = {name: entry[name] for name in _PLAIN if name in entry}
    next_run_time = entry.get("next_run_time")
    if next_run_time is None and not entry.get("paused"):
        next_run_time = undefined
    if next_run_time is not undefined:
        options["next_run_time"] = next_run_time
    return Job(
        scheduler,
        func=entry["func"],
        args=serialization.load_arguments(json.dumps(entry["args"])),
        kwargs=serialization.load_arguments(json.dumps(entry["kwargs"])),
        trigger=serialization.load_trigger(json.dumps(entry["trigger"])),
        **options,
    )
