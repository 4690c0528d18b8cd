# `make help` lists the commands. Each makes .venv when it is missing.
# Another Python than python3:  make run PYTHON=python3.12

PYTHON ?= python3
BIN := .venv/bin
PORT ?=
ARGS ?=
ENVIRONMENT = $(PYTHON) scripts/environment.py

.DEFAULT_GOAL := help
.PHONY: help run test chaos lint check tox docs messages screenshots bench clean python

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | \
		awk -F '\t' '{printf "  make %-11s %s\n", $$1, $$2}'

run: python  ## the demo project: web server and scheduler on SQLite (PORT=8000)
	@$(ENVIRONMENT)
	@PORT=$(PORT) exec $(BIN)/python testproject/run.py

test: python  ## the suite on SQLite, PostgreSQL and MariaDB (ARGS="-x -k cron")
	@$(ENVIRONMENT) test
	@$(BIN)/python -m tests $(ARGS)

chaos: python  ## schedulers killed, frozen and cut off for minutes, on every database
	@$(ENVIRONMENT) test
	@$(BIN)/python -m tests.chaos $(ARGS)

lint: python  ## ruff, mypy, import-linter
	@$(ENVIRONMENT) test lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test  ## lint, then test

tox: python  ## every Python, Django and PostgreSQL driver that is installed here
	@$(ENVIRONMENT) dev
	$(BIN)/tox run $(ARGS)

docs: python  ## the manual as HTML in docs/_build
	@$(ENVIRONMENT) docs
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "open docs/_build/html/index.html"

messages: python  ## texts of the admin into the catalogues to translate (ARGS=fr: a new one)
	@$(ENVIRONMENT)
	@$(BIN)/python scripts/messages.py $(ARGS)

screenshots: python  ## every page of the admin as PNG (ARGS=folder)
	@$(ENVIRONMENT) test browser
	@$(BIN)/python scripts/screenshots.py $(or $(ARGS),docs/_build/screenshots)

bench: python  ## benchmarks, side by side with other schedulers
	@$(ENVIRONMENT) test
	$(BIN)/python -m benchmarks $(ARGS)

clean:  ## remove .venv, caches and the demo's database
	rm -rf .venv .tox .benchmarks build dist docs/_build testproject/var *.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

python:
	@command -v $(PYTHON) >/dev/null || { \
		echo "There is no $(PYTHON) here. Install Python 3.10 or newer, or name one:"; \
		echo "    make run PYTHON=/path/to/python3.12"; exit 1; }
