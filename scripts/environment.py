#!/usr/bin/env python3
"""
Make `.venv` and install this package into it, with the extras named as arguments.

    python3 scripts/environment.py [extra ...]

It needs nothing but Python 3.10 or newer. What is there already is reused: pip runs only
when an extra is new, or when setup.cfg, pyproject.toml, the Python or the place of the
folder changed. The syntax is kept old, so that an old Python can say that it is too old.
"""

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
PYTHON = os.path.join(VENV, "bin", "python")
STAMP = os.path.join(VENV, "installed.json")
OLDEST = (3, 10)
# The extra that holds others, as setup.cfg says.
HOLDS = {"dev": {"test", "browser", "docs", "lint", "qt"}}


def fail(message):
    sys.stderr.write(message + "\n")
    sys.exit(1)


def runs(name, *arguments):
    """Tell whether a command works; pyenv leaves commands behind that do not."""
    if shutil.which(name) is None:
        return False
    done = subprocess.Popen(
        [name, *(arguments or ["--version"])],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return done.wait() == 0


def check_python():
    """End with the remedy when this Python is too old or cannot make environments."""
    if sys.version_info < OLDEST:
        newer = ["python3.%d" % minor for minor in range(14, 9, -1)]
        found = [name for name in newer if runs(name)]
        example = found[0] if found else "/path/to/python3.12"
        fail(
            "Python %d.%d or newer is needed; %s is Python %d.%d.%s\n    make run PYTHON=%s"
            % (
                OLDEST[0],
                OLDEST[1],
                sys.executable,
                sys.version_info[0],
                sys.version_info[1],
                " A newer one is here:" if found else " With a newer one:",
                example,
            )
        )
    # Debian and Ubuntu split these two off; venv without ensurepip makes a broken folder.
    missing = [n for n in ("venv", "ensurepip") if importlib.util.find_spec(n) is None]
    if missing:
        fail(
            "This Python lacks the module %s, with which environments are made.\n"
            "On Debian and Ubuntu:\n    apt install python3-venv\n"
            "or, for exactly this Python:\n    apt install python%d.%d-venv"
            % (missing[0], sys.version_info[0], sys.version_info[1])
        )


def fingerprint():
    """Answer a text that changes when what is installed has to change."""
    digest = hashlib.sha256()
    for name in ("setup.cfg", "pyproject.toml"):
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read())
    digest.update(("%s %s" % (ROOT, sys.version)).encode())
    return digest.hexdigest()


def installed(current):
    """Answer the extras that .venv holds, or None when it has to be made anew."""
    try:
        with open(STAMP) as file:
            stamp = json.load(file)
    except (OSError, ValueError):
        return None
    works = runs(PYTHON, "-c", "import django, django_apscheduler")
    if not works or stamp["fingerprint"] != current:
        return None
    return set(stamp["extras"])


def held_by(extra):
    return HOLDS.get(extra, set())


def install(extras, current):
    """Make or refresh .venv; a stamp is left only when all went well."""
    if os.path.exists(STAMP):
        os.remove(STAMP)
    if subprocess.call([sys.executable, "-m", "venv", "--clear", VENV]) != 0:
        fail("The environment %s could not be made; see above." % VENV)
    pip_install(extras, current)


def pip_install(extras, current):
    what = ROOT + ("[%s]" % ",".join(sorted(extras)) if extras else "")
    pip = [PYTHON, "-m", "pip", "--disable-pip-version-check", "install", "-qq"]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    if subprocess.call([*pip, "--editable", what], cwd=ROOT, env=environment) != 0:
        fail(
            "pip could not install the package; see above. It needs access to PyPI "
            "(or PIP_INDEX_URL, for a mirror). Run the command again to go on."
        )
    with open(STAMP, "w") as file:
        json.dump({"fingerprint": current, "extras": sorted(extras)}, file)


def main():
    check_python()
    wanted = set(sys.argv[1:])
    current = fingerprint()
    present = installed(current)
    if present is not None and wanted <= present.union(*map(held_by, present)):
        return
    names = " with " + ", ".join(sorted(wanted)) if wanted else ""
    print("Installing into .venv%s; this happens once and takes a moment ..." % names)
    sys.stdout.flush()
    if present is None:
        install(wanted, current)
    else:
        pip_install(wanted | present, current)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        fail("Interrupted; the same command goes on from here.")
