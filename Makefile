# Each target sets up .venv from the lock by itself; a machine needs Python 3.11 and make.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo up test test-system check bench chaos lock schemas histories

setup: .venv/ready

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Duragen needs Python 3.11 or later: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

demo: setup
	@$(BIN)/duragen demo

up: setup
	@$(BIN)/duragen up

test: setup
	$(BIN)/pytest

test-system: setup
	tests/system/install
	$(BIN)/pytest tests/system

check: setup
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
	$(BIN)/python -m benchmarks

# About 12 minutes; `.venv/bin/python -m tests.chaos --help` for a part of it.
chaos: setup
	$(BIN)/python -m tests.chaos

schemas: setup
	$(BIN)/python -m contracts.schemas docs/schemas

histories: setup
	$(BIN)/python -m tests.record_histories tests/histories

lock: setup
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header --quiet -o requirements.lock
