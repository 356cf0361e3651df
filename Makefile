# make demo, test, bench, chaos: everything they need is installed into .venv first. Needs Python 3.11 or later, and make.

PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test bench chaos lint lock clean

help:
	@echo 'make demo   watch the whole move, on servers of its own and made-up data'
	@echo 'make test   run every test'
	@echo 'make bench  measure what is promised about speed and memory (twenty minutes)'
	@echo 'make chaos  break things, and look whether anything was lost (an hour)'
	@echo 'make lint   ruff and mypy'
	@echo 'make lock   write requirements.lock anew'
	@echo 'make clean  remove what the others installed'

demo: $(INSTALLED)
	$(VENV)/bin/botdata demo

# A worker a processor, each with servers of its own; one where all would share a Supabase of the user's.
test: $(INSTALLED)
	$(VENV)/bin/pytest $(if $(TEST_SUPABASE_URL),,--numprocesses auto --dist loadfile)

bench: $(INSTALLED)
	$(VENV)/bin/python -m benchmarks

chaos: $(INSTALLED)
	$(VENV)/bin/python -m tests.chaos

lint: $(INSTALLED)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

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
	  --extra demo --extra otel --group dev --no-header --no-annotate --output-file requirements.lock

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
