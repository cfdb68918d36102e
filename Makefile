# Two commands from a fresh clone: `make run` and `make test`. Needs Python 3.11 or newer, git and make.
SHELL := /bin/bash -o pipefail
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help run demo test check install clean

# The first interpreter that is new enough; `make PYTHON=/path/to/python run` overrides.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
CANDIDATES := python3 python3.14 python3.13 python3.12 python3.11
PYTHON ?= $(shell for python in $(CANDIDATES); do \
	$$python -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$python && break; done)

BIN := .venv/bin
# Threads that spin while waiting starve a shared machine (see workers/runner_client.py).
export OMP_WAIT_POLICY := PASSIVE
export OPENBLAS_NUM_THREADS := 1
FOLDERS := service workers models migrations tests benchmarks
# Not compiled ahead: of torch's and SciPy's many modules few are imported, and all would cost a minute.
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --no-compile \
	-c constraints.txt
SHOW_PROGRESS := sed -un 's/^Collecting \([A-Za-z0-9._-]*\).*/  \1/p; s/^Installing collected.*/  unpacking .../p'

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: .venv/installed-to-run ## Start everything on this machine with the demo; Ctrl-C stops it, data stays
	@$(BIN)/enteron up --demo

demo: .venv/installed-to-run ## The demo once, from nothing to findings; fails if anything did
	@$(BIN)/enteron demo

test: check ## Everything CI runs: static checks, then unit, contract, integration and e2e tests
	@$(BIN)/python -m pytest -q tests/unit tests/contract tests/integration tests/e2e

check: .venv/installed-to-test ## Lint, format, types and import rules
	$(BIN)/ruff check $(FOLDERS)
	$(BIN)/ruff format --check $(FOLDERS)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pre-commit validate-config

install: .venv/installed-to-test ## Make .venv with all that run and test need

clean: ## Remove .venv and caches; the data in .enteron stays
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find $(FOLDERS) -name __pycache__ -prune -exec rm -rf {} +

.venv/installed-to-run: pyproject.toml constraints.txt | .venv/bin/pip
	@echo "Installing what Enteron needs to run (the first time this takes some minutes) ..."
	@$(PIP_INSTALL) -e '.[worker,embedded]' | $(SHOW_PROGRESS)
	@touch $@

.venv/installed-to-test: .venv/installed-to-run
	@echo "Installing what the tests need ..."
	@$(PIP_INSTALL) -e '.[worker,embedded,test]' | $(SHOW_PROGRESS)
	@touch $@

.venv/bin/pip:
	@"$(PYTHON)" -c '$(NEW_ENOUGH)' 2>/dev/null || \
		{ echo "Enteron needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@"$(PYTHON)" -m venv .venv || { rm -rf .venv; \
		echo "Python's venv module is missing; on Debian: apt-get install python3-venv" >&2; exit 1; }
