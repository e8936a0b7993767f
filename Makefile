# `make up` runs the product, `make test` passes the tests; everything else is for those who change it.
PYTHON ?= python3
PYTEST_ARGS ?= -n 2
VENV := .venv
BIN := $(VENV)/bin
.DEFAULT_GOAL := help
.PHONY: help up test lint format ci doctor docs bench clean

help: ## Lists the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "AOB needs Python 3.11 or newer; set PYTHON=…")'
	@echo "• Making the virtualenv …"
	@$(PYTHON) -m venv $(VENV)
	@ln -sf ../../bin/aob $(BIN)/aob
	@touch $@

$(VENV)/.runtime: requirements.txt | $(VENV)/.made
	@echo "• Installing what AOB needs (about a minute the first time) …"
	@$(BIN)/python -m pip install --disable-pip-version-check --progress-bar on -q -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements.txt requirements-dev.txt | $(VENV)/.made
	@echo "• Installing what the tests need …"
	@$(BIN)/python -m pip install --disable-pip-version-check -q -r requirements-dev.txt
	@touch $@ $(VENV)/.runtime

up: $(VENV)/.runtime ## Starts the whole system in this terminal; Ctrl-C stops it
	@exec $(BIN)/aob up

doctor: $(VENV)/.runtime ## Examines every dependency
	@$(BIN)/aob doctor

test: $(VENV)/.dev ## Runs all tests
	@.ci/chromium
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/.dev ## Style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict workflows/core workflows/nodes runs/core
	$(BIN)/mypy workflows runs worker aob_web embedded cli
	$(BIN)/lint-imports

format: $(VENV)/.dev ## Formats the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.dev ## Writes the pages that are generated from the code
	$(BIN)/python -m docs.generate

bench: $(VENV)/.dev ## Measures the command line and the engine
	$(BIN)/python -m bench

ci: ## What CI runs
	.ci/run

clean: ## Removes the virtualenv and caches (not the data in .aob)
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
