# Everything a fresh machine needs is installed by these targets: Python packages into .venv, nothing else is asked for.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO_STAMP := $(VENV)/.installed-demo
# commands start faster when the project's own modules are compiled, too
COMPILE := $(BIN)/python -m compileall -q assets_core io_managers lineage ui example_project

.PHONY: help demo test fast lint types bench soak setup clean-demo

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 14

$(BIN)/python:
	@[ -n "$(PYTHON)" ] || { echo "assetline needs Python 3.11 or newer: install it, or run make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { command -v apt-get >/dev/null && apt-get update -qq && apt-get install -y -qq python3-venv && $(PYTHON) -m venv $(VENV); }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(DEMO_STAMP): pyproject.toml requirements.lock | $(BIN)/python
	@echo "Installing assetline and the example's data ..."
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint requirements.lock --compile-bytecode --editable '.[all]'
	@$(COMPILE)
	@touch $@

$(STAMP): pyproject.toml requirements.lock | $(BIN)/python
	@echo "Installing assetline, its servers and its test tools ..."
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint requirements.lock --compile-bytecode --editable '.[dev]'
	@$(COMPILE)
	@touch $@ $(DEMO_STAMP)

setup: $(STAMP)  ## install everything into .venv

demo: $(DEMO_STAMP)  ## materialise a month of real flights, show what was made and what was blocked
	@$(BIN)/python -m example_project.demo

clean-demo:  ## forget what the demo made
	@rm -rf example_project/.assetline

test: $(STAMP)  ## every test, with real servers
	@$(MAKE) --no-print-directory lint types
	@$(BIN)/python -m pytest -n 2 --dist loadfile -q

fast: $(STAMP)  ## the quick tier: no servers, no kills, nothing that takes a second
	@$(BIN)/python -m pytest -n 2 --dist loadfile -q -m 'not slow and not s3 and not faults'

lint: $(STAMP)  ## ruff, and the floors of the house
	@$(BIN)/ruff check . && $(BIN)/ruff format --check --quiet . && $(BIN)/lint-imports --no-logo

types: $(STAMP)  ## strict type checking
	@$(BIN)/mypy

bench: $(STAMP)  ## every benchmark: ratios against the raw limit, in one run
	@$(BIN)/python -m tests.benchmarks

soak: $(STAMP)  ## the same suites for longer: more seeds, more kills, more examples
	@ASSETLINE_TEST_PROFILE=soak $(BIN)/python -m pytest -n 2 --dist loadfile -q --timeout 3600
