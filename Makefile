# make demo, test, bench, chaos: everything they need is installed into .venv first. Needs Python 3.11 or later, and make.

PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed

# What was compiled once is kept: the tests' modules are compiled anew by each worker otherwise.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help demo test browser soak coverage bench chaos lint commands lock clean

help:
	@echo 'make demo      watch the whole move, on servers of its own and made-up data'
	@echo 'make test      run the tests (a quarter of an hour)'
	@echo 'make browser   look at the pages in Chromium, which has to be installed (three minutes)'
	@echo 'make soak      run the long ones (an hour); PART=3/12 runs a twelfth of them'
	@echo 'make coverage  run the tests, and say which lines and branches they reach'
	@echo 'make bench     measure what is promised about speed and memory (forty minutes)'
	@echo 'make chaos     break things, and look whether anything was lost (an hour and a half)'
	@echo 'make lint      ruff, mypy, and whether every dependency is declared'
	@echo 'make commands  write docs/commands.md anew, from what the commands say of themselves'
	@echo 'make lock      write requirements.lock anew'
	@echo 'make clean     remove what the others installed'

demo: $(INSTALLED)
	$(VENV)/bin/botdata demo

# Several workers; one where all would share a Supabase of the user's.
WORKERS := $(if $(TEST_SUPABASE_URL),,--numprocesses auto --dist worksteal)

test: $(INSTALLED)
	$(VENV)/bin/pytest $(WORKERS)

browser: $(INSTALLED)
	$(VENV)/bin/pytest -m browser

# All that is too long for every run; PART=3/12 runs the third twelfth of it. Each of so many parts takes ten minutes
# at most; CI runs one.
SOAK_PARTS := 12

soak: $(INSTALLED)
	$(VENV)/bin/pytest $(WORKERS) -m soak $(if $(PART),--part $(PART))

coverage: $(INSTALLED)
	$(VENV)/bin/coverage erase
	$(VENV)/bin/coverage run -m pytest $(WORKERS)
	$(VENV)/bin/coverage combine --quiet
	$(VENV)/bin/python -m tests.support.coverage_report

bench: $(INSTALLED)
	$(VENV)/bin/python -m benchmarks

chaos: $(INSTALLED)
	$(VENV)/bin/python -m tests.chaos $(if $(SHARE),--share $(SHARE))

lint: $(INSTALLED)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/deptry . --no-ansi

commands: $(INSTALLED)
	$(VENV)/bin/typer app.cli.command_tree utils docs --name botdata > docs/commands.md

# Written last, so that an install that was broken off is done again.
$(INSTALLED): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'Python 3.11 or later is needed. Name one: make $(MAKECMDGOALS) PYTHON=python3.12' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
	  { echo 'This Python cannot make virtual environments. On Debian: apt install python3-venv' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

lock: $(INSTALLED)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'
	$(VENV)/bin/uv --no-config pip compile pyproject.toml --quiet --upgrade --universal --generate-hashes \
	  --extra demo --extra otel --extra watch --group dev --no-header --no-annotate --output-file requirements.lock

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage* build dist
