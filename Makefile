# Everything a developer does, by name. `make help` lists it.

SHELL := /bin/sh
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help up down ps tour demo bench chaos test unit integration e2e soak mutants lint format types protos gen lock engines clean

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: $(INSTALLED) ## Start the whole mesh, walk through the main job, leave it running
	@$(BIN)/starling up

down: ## Stop the mesh, and whatever an earlier one left behind
	@if [ -x $(BIN)/starling ]; then $(BIN)/starling down; else echo "Nothing was running."; fi

ps: $(INSTALLED) ## Show the processes of the mesh
	@$(BIN)/starling ps

tour: $(INSTALLED) ## Walk through the main job on the mesh that runs
	@$(BIN)/starling tour

demo: $(INSTALLED) ## Load a real social graph and check every home timeline against it
	@$(BIN)/starling up --no-tour
	@$(BIN)/starling demo reed98

# Limits are out of the way, and one request in a hundred is traced, as where it runs for others.
bench: $(INSTALLED) ## Measure everything that has a goal, in about six minutes
	@RATE_LIMIT_IP_RPS=1000000 RATE_LIMIT_USER_RPS=1000000 RATE_LIMIT_AUTH_PER_MIN=1000000 \
		OTEL_TRACES_SAMPLER_ARG=0.01 $(BIN)/starling up --no-tour
	@$(BIN)/python -m bench

chaos: $(INSTALLED) ## Break everything under load, and check that nothing is lost (CHAOS='--help')
	@$(BIN)/python -m tests.chaos $(CHAOS)

test: lint types protos ## Run all checks and the whole test suite
	@$(BIN)/pytest

unit: $(INSTALLED) ## Run the tests that need no engine
	@$(BIN)/pytest tests/unit

integration: $(INSTALLED) ## Run the tests against real Cassandra, NATS and Valkey
	@$(BIN)/pytest tests/integration

e2e: $(INSTALLED) ## Run the tests of the whole mesh, over REST
	@$(BIN)/pytest tests/e2e

LAPS ?= 50
soak: $(INSTALLED) ## Repeat the concurrency tests and the random walks, with new seeds (LAPS=50)
	@STARLING_LOOP=$(LAPS) STARLING_LONG=1 $(BIN)/pytest tests/e2e -m "soak or long" --durations=10

mutants: $(INSTALLED) ## Break the code on purpose, one bug at a time, and see a test fail for each
	@$(BIN)/python -m tests.mutants

engines: $(INSTALLED) ## Start the engines for the tests and leave them running
	@$(BIN)/starling engines up

lint: $(INSTALLED) ## Check format, style and who may import whom
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/lint-imports --no-cache

types: $(INSTALLED) ## Check the types
	@$(BIN)/mypy

format: $(INSTALLED) ## Format the code, and mend what can be mended
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format --quiet .

protos: $(INSTALLED) ## Check the protos, that no client breaks, and that gen/ is current
	@$(BIN)/buf lint
	@$(BIN)/buf breaking protos --against protos/release.binpb
	@$(BIN)/python -m stack.generated check
	@$(BIN)/python -m gateway.openapi.generate --check

gen: $(INSTALLED) ## Generate gen/, Envoy's descriptor, openapi.json and docs/errors.md
	@$(BIN)/python -m stack.generated write
	@$(BIN)/python -m gateway.openapi.generate
	@$(BIN)/python -m docs.errors

lock: $(INSTALLED) ## Resolve the dependencies anew, with hashes
	@$(BIN)/uv pip compile --universal --generate-hashes --all-extras --no-header -q pyproject.toml -o requirements.lock
	@awk '/^[a-z0-9]/ {ours = /^uv==/} ours && !/# via|^ *#/' requirements.lock > requirements-uv.lock

clean: down ## Stop the mesh and remove all that was made: data, environment, caches of tools
	@rm -rf .run .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# pip of the new environment installs the pinned uv, and that everything else.
$(INSTALLED): pyproject.toml requirements.lock requirements-uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; $(PYTHON) is older or missing." \
		"Name another: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@if ! $(BIN)/uv --version >/dev/null 2>&1; then \
		echo "Setting up .venv (once; about a minute)"; \
		rm -rf .venv; \
		$(PYTHON) -m venv .venv || { echo "$(PYTHON) cannot make virtual environments: install its" \
			"venv module (Debian: python3-venv), or name another: make PYTHON=..." >&2; exit 1; }; \
		$(BIN)/python -m pip install --quiet --require-hashes -r requirements-uv.lock; \
	fi
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	@$(BIN)/uv pip install --python $(BIN)/python --quiet --no-deps --no-build-isolation --editable .
	@touch $@
