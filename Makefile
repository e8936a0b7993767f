# `make up` runs the product, `make test` passes the tests; everything else is for those who change it.
PYTHON ?= python3
PYTEST_ARGS ?= -n 2
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --progress-bar on
RUNTIME := $(VENV)/.runtime-$(firstword $(shell cksum < requirements.txt))
DEV := $(VENV)/.dev-$(firstword $(shell cat requirements.txt requirements-dev.txt | cksum))
.DEFAULT_GOAL := help
.PHONY: help up test frontend screenshots lint format ci doctor docs bench bench-quick chaos chaos-bites drills clean

help: ## Lists the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "AOB needs Python 3.11 or newer; set PYTHON=…")'
	@echo "• Making the virtualenv …"
	@$(PYTHON) -m venv $(VENV)
	@ln -sf ../../bin/aob $(BIN)/aob
	@touch $@

# The stamps carry the hash of the requirements in their names: what is installed already is not installed again,
# whatever the times of the files say after a clone or a change of branch.
$(RUNTIME): | $(VENV)/.made
	@echo "• Installing what AOB needs (about a minute the first time) …"
	@$(PIP) -r requirements.txt
	@rm -f $(VENV)/.runtime-* $(VENV)/.dev-* && touch $@

$(DEV): | $(VENV)/.made
	@echo "• Installing what the tests need …"
	@$(PIP) -r requirements-dev.txt
	@rm -f $(VENV)/.runtime-* $(VENV)/.dev-* && touch $@ $(RUNTIME)

up: $(RUNTIME) ## Starts the whole system in this terminal; Ctrl-C stops it
	@exec $(BIN)/aob up

doctor: $(RUNTIME) ## Examines every dependency
	@$(BIN)/aob doctor

test: $(DEV) ## Runs all tests
	@.ci/chromium || true
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

frontend: $(VENV)/.made ## Checks, tests and builds the editor
	@$(PIP) -q -r frontend/requirements.txt
	cd frontend && PATH="$(CURDIR)/$(BIN):$$PATH" && npm ci --no-audit --no-fund && npm test && npm run build

screenshots: $(DEV) ## Takes a picture of every page for docs/screenshots
	@.ci/chromium
	$(BIN)/python -m docs.screenshots

lint: $(DEV) ## Style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict workflows/core workflows/nodes runs/core
	$(BIN)/mypy workflows runs approvals worker aob_web embedded cli
	$(BIN)/lint-imports

format: $(DEV) ## Formats the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(DEV) ## Writes the pages that are generated from the code
	$(BIN)/python -m docs.generate

bench: $(DEV) ## Measures the work units beside DBOS and Celery (about 10 minutes)
	$(BIN)/python -m bench --long --json bench.json
	$(BIN)/python -m bench.basics

bench-quick: $(DEV) ## Measures the most telling units, in under 2 minutes
	$(BIN)/python -m bench --quick

MINUTES ?= 3
SEED ?= $(shell date +%s)
chaos: $(DEV) ## Breaks the running system under load: make chaos MINUTES=30 SEED=1
	$(BIN)/python -m tests.chaos --minutes $(MINUTES) --seed $(SEED)

chaos-bites: $(DEV) ## Shows that the chaos checker finds four planted bugs
	$(BIN)/python -m tests.chaos --minutes 0.8 --seed 5 --pause 0.05 --bug ack
	$(BIN)/python -m tests.chaos --minutes 0.8 --seed 5 --pause 0.05 --bug cursor
	$(BIN)/python -m tests.chaos --minutes 0.5 --seed 5 --pause 0.05 --bug types
	$(BIN)/python -m tests.chaos.stale

drills: $(DEV) ## Single faults, each with the time until all was as before
	$(BIN)/python -m tests.drills

ci: ## What CI runs
	.ci/run

clean: ## Removes the virtualenv and caches (not the data in .aob)
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
