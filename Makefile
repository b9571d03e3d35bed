# Each target sets up .venv from the lock by itself; a machine needs Python 3.11 and make.
PYTHON ?= python3
BIN := .venv/bin
ODOO19 := deploy/local/real_odoo

.PHONY: setup demo demo-odoo up addon test test-system test-odoo test-addon check bench chaos lock schemas histories

setup: .venv/ready

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Duragen needs Python 3.11 or later: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

demo: setup
	@$(BIN)/duragen demo

# The same with a real Odoo, which it sets up first. On Debian.
demo-odoo: setup
	@tests/odoo/install postgresql
	@$(BIN)/duragen demo --real-odoo

up: setup
	@$(BIN)/duragen up

# The Odoo addon with the real files in the place of its symlinks: build/duragen-odoo.zip.
addon:
	rm -rf build/duragen build/duragen-odoo.zip && mkdir -p build
	cp -rL deploy/odoo/duragen build/duragen
	find build/duragen -name __pycache__ -prune -exec rm -r {} +
	cd build && $(PYTHON) -m zipfile -c duragen-odoo.zip duragen

# Two processes, each with servers of its own: most tests wait for something.
test: setup
	$(BIN)/pytest -n 2 --dist worksteal

test-system: setup
	tests/system/install
	$(BIN)/pytest tests/system

# Two processes, each with an Odoo and a stack of its own; those of a file stay together.
test-odoo: setup
	tests/odoo/install
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder tests/odoo

# The addon's own tests alone, inside Odoo; a part: `TAGS=/duragen:TestLedger make test-addon`.
test-addon: setup
	tests/odoo/install
	$(BIN)/python -m deploy.local.real_odoo.addon_tests $(TAGS)

check: setup
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
	$(BIN)/python -m benchmarks

# About 12 minutes; a part of it: `CHAOS="--generations 60" make chaos`, or with other options of
# `.venv/bin/python -m tests.chaos --help`.
chaos: setup
	$(BIN)/python -m tests.chaos $(CHAOS)

schemas: setup
	$(BIN)/python -m contracts.schemas docs/schemas

histories: setup
	$(BIN)/python -m tests.record_histories tests/histories

lock: setup
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header --quiet -o requirements.lock
	$(BIN)/uv pip compile $(ODOO19)/requirements.in --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header --quiet -o $(ODOO19)/requirements.lock
