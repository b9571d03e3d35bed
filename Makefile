# Each target sets up .venv from the lock by itself; a machine needs Python 3.11 and make.
PYTHON ?= python3
BIN := .venv/bin
REAL_ODOO := deploy/local/real_odoo
# Where wheels and archives go.
OUT ?= build
# Most tests wait for something: more processes than cores, each with servers of its own.
TEST_PROCESSES ?= 4

.PHONY: help setup demo demo-odoo up addon readme client format check test test-system test-rabbitmq \
  test-rabbitmq-full test-n8n test-n8n-full test-developers-full test-odoo test-odoo-full test-addon \
  bench plots profile chaos audit lock schemas histories check-code check-addon

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# With uv, itself from the lock: five times as fast as pip, which stays for where uv cannot go.
setup: .venv/ready ## Set up .venv from requirements.lock

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Duragen needs Python 3.11 or later: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	awk '/^uv==/ { on = 1 } on { print } on && /# via/ { exit }' requirements.lock > .venv/uv.lock
	$(BIN)/pip install --quiet --retries 10 --require-hashes -r .venv/uv.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock \
	  || $(BIN)/pip install --quiet --retries 10 --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

demo: setup ## Carry one prompt to the end on the embedded stack, and show it
	@$(BIN)/duragen demo

demo-odoo: setup ## The same with a real Odoo, which it sets up first (on Debian)
	@tests/odoo/install postgresql
	@$(BIN)/duragen demo --real-odoo

up: setup ## Run the embedded stack until Ctrl-C
	@$(BIN)/duragen up

addon: ## The Odoo addon: build/duragen-VERSION.zip for Odoo 18 and 19, real files in place of symlinks
	$(PYTHON) deploy/odoo/archives.py build $(OUT)

readme: ## The addon's README.rst again, after a change of its fragments or its manifest
	$(PYTHON) deploy/odoo/archives.py readme

client: setup ## The clients alone as a wheel for other people's code: build/duragen_client-*.whl
	rm -rf $(OUT)/client $(OUT)/duragen_client-*.whl && mkdir -p $(OUT)
	cp -rL deploy/client $(OUT)/client
	$(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir $(OUT) $(OUT)/client
	rm -r $(OUT)/client

format: setup ## Format the code, and fix what the linter can fix by itself
	$(BIN)/ruff check --fix --quiet || true
	$(BIN)/ruff format

check: setup ## Formatter, linters, types, import rules
	@$(MAKE) --jobs=2 --no-print-directory check-code check-addon

check-code: setup
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

check-addon: setup
	$(BIN)/pylint --disable consider-merging-classes-inherited deploy/odoo/duragen

test: setup ## All tests that need nothing but PyPI
	$(BIN)/pytest -n $(TEST_PROCESSES) --dist worksteal

test-system: setup ## Tests against programs of Debian packages, which it installs as root
	tests/system/install
	$(BIN)/pytest tests/system

test-rabbitmq: setup ## Tests with a real RabbitMQ, which it unpacks first (on Debian)
	tests/rabbitmq/install
	$(BIN)/pytest tests/rabbitmq --ignore tests/rabbitmq/test_troubles.py \
	  --ignore tests/rabbitmq/test_under_load.py --ignore tests/rabbitmq/test_tls.py

test-rabbitmq-full: setup ## The same with all its troubles: killed under load, 10,000 requests that wait
	tests/rabbitmq/install
	tests/odoo/install
	REQUESTS=200 WAITING=10000 $(BIN)/pytest --timeout 900 tests/rabbitmq
	$(BIN)/pytest tests/odoo/test_rabbitmq_troubles.py

test-n8n: setup ## Tests with a real N8N, which it installs first: 3 GB, once
	$(BIN)/python -m deploy.local.n8n.install
	$(BIN)/pytest --timeout 900 tests/n8n --ignore tests/n8n/test_troubles.py

test-n8n-full: setup ## The same, also killed under load, as the trigger and alone
	$(BIN)/python -m deploy.local.n8n.install
	$(BIN)/pytest --timeout 900 tests/n8n

test-developers-full: setup ## Gateway and Odoo killed while developers ask: the sandbox 200 times, Odoo 19 20 times
	KILLS=200 $(BIN)/pytest --timeout 2400 -s tests/developers/test_kills.py
	tests/odoo/install
	KILLS=20 $(BIN)/pytest --timeout 900 tests/odoo/test_developer_kills.py

# Two processes, each with an Odoo and a stack of its own; those of a file stay together.
test-odoo: setup ## Tests with a real Odoo 19, which it sets up first (on Debian); or ODOO_SOURCE=a checkout
	tests/odoo/install
	tests/rabbitmq/install
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder --timeout 900 -m "not full" tests/odoo --ignore tests/odoo/test_rabbitmq_troubles.py

test-odoo-full: setup ## The same with all that is tried with Odoo as several processes, and RabbitMQ's troubles
	tests/odoo/install
	tests/rabbitmq/install
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder --timeout 900 tests/odoo

# A part: `TAGS=/duragen:TestLedger make test-addon`.
test-addon: setup ## The addon's own tests alone, inside that Odoo
	tests/odoo/install
	$(BIN)/python -m deploy.local.real_odoo.addon_tests $(TAGS)

# A part: `BENCH="against curve" make bench`.
bench: setup ## Measure; JSON below benchmarks/results/
	$(BIN)/python -m benchmarks $(BENCH)

# Of one file: `RESULTS=benchmarks/results/20261126-120000.json make plots`.
plots: .venv/measuring ## Draw the latest results: docs/images/performance-*.svg
	$(BIN)/python -m benchmarks.plots $(RESULTS)

.venv/measuring: .venv/ready benchmarks/requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r benchmarks/requirements.lock \
	  || $(BIN)/pip install --quiet --retries 10 --require-hashes -r benchmarks/requirements.lock
	touch $@

profile: .venv/measuring ## Show where the CPU of one generation goes
	$(BIN)/python -m benchmarks.profile

# A part: `CHAOS="--generations 60" make chaos`; options: `.venv/bin/python -m tests.chaos --help`.
chaos: setup ## Break things under load, count what comes of it, write docs/reliability.md
	$(BIN)/python -m tests.chaos $(CHAOS)

# Needs the advisories of PyPI, which a machine without a network does not have.
audit: setup ## Known weaknesses of what requirements.lock pins
	$(BIN)/uv tool run pip-audit --require-hashes --disable-pip -r requirements.lock

schemas: setup ## docs/schemas/, docs/asyncapi.json, docs/openapi/ again, after a change of the events
	$(BIN)/python -m contracts.schemas docs/schemas
	$(BIN)/python -m contracts.asyncapi docs/asyncapi.json
	$(BIN)/python -m contracts.callback_openapi docs/openapi/odoo-callback.json
	$(BIN)/python -m starter.gateway.developers.web_app docs/openapi/odoo-web-app.json

histories: setup ## New recorded histories, after an intended change of the flow
	$(BIN)/python -m tests.record_histories tests/histories

lock: setup ## The lock files again, after a change of the dependencies
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header --quiet -o requirements.lock
	$(BIN)/uv pip compile benchmarks/requirements.in --constraint requirements.lock --universal \
	  --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet \
	  -o benchmarks/requirements.lock
	for folder in $(REAL_ODOO) tests/system/litellm tests/system/moto deploy/local/n8n; do \
	  $(BIN)/uv pip compile $$folder/requirements.in --universal --python-version 3.11 \
	    --generate-hashes --no-emit-index-url --no-header --quiet -o $$folder/requirements.lock; \
	done
