# Everything here works on a fresh clone with nothing but make and Python 3.11 or newer.

SHELL := /bin/bash
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= 2
OUT ?= study
BENCH ?= $(basename $(notdir $(shell grep -l __main__ benchmarks/[a-z]*.py)))
# torch goes in first and at exactly this release: an open range takes the newest build, gigabytes of CUDA included.
TORCH ?= torch==2.13.0

# The first interpreter that runs, is new enough and can make a virtual environment (a shim may exist and fail to run).
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	"$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo "$$p"; break; }; done)

export OMP_NUM_THREADS ?= 1
export PIP_NO_INPUT ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK ?= 1
export PYRIGHT_PYTHON_IGNORE_WARNINGS ?= 1

.DEFAULT_GOAL := help
.PHONY: help setup study test quick doctest examples browser lint style types contracts format docs gallery bench clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## (.*)/  make \1|\2/' | column -t -s '|'

setup: $(VENV)/.ready ## make .venv and install unigen with everything for development

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer found. Try: make setup PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.ready: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing unigen for development into $(VENV), some minutes the first time"
	$(BIN)/python -m pip install --quiet -c constraints.txt $(TORCH)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

study: setup ## the study of the digits: fit, compare, relate; writes study/
	$(BIN)/unigen study digits --out $(OUT) $(if $(QUICK),--quick)

test: setup ## every test, the examples among them
	$(BIN)/python -m pytest -n $(WORKERS) --durations=10

quick: setup ## the tests, without those marked slow
	$(BIN)/python -m pytest -n $(WORKERS) -m 'not slow'

doctest: setup ## the examples in the docstrings
	$(BIN)/python -m pytest -n $(WORKERS) --doctest-modules unigen

examples: setup ## every script in examples/, made small
	$(BIN)/python -m pytest -n $(WORKERS) tests/test_examples.py

browser: setup ## the page of relations in Chromium, which must be installed
	$(BIN)/python -c 'import playwright' 2>/dev/null || $(BIN)/python -m pip install --quiet -c constraints.txt playwright
	$(BIN)/python -m pytest tests/browser

lint: style types contracts ## ruff, pyright and the import contracts

style: setup ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup ## pyright on unigen/
	$(BIN)/pyright --pythonpath $(BIN)/python

contracts: setup ## import-linter: the layers
	$(BIN)/lint-imports --no-logo

format: setup ## rewrite with ruff
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup ## Sphinx, warnings as errors, into docs/_build/html
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

gallery: setup ## run the examples whose figure and output are out of date, as they are meant; some: make gallery NAMES="a b"
	$(BIN)/python docs/gallery.py $(NAMES)

bench: setup ## unigen beside its peers, as ratios; one of them: make bench BENCH=NAME
	@for name in $(BENCH); do echo "== $$name"; $(BIN)/python -m benchmarks.$$name || exit 1; done

clean: ## remove what the other targets made
	rm -rf $(VENV) docs/_build docs/api/*.rst docs/relations docs/gallery.md build dist *.egg-info .pytest_cache .ruff_cache .import_linter_cache $(OUT)
