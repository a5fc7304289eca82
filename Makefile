.PHONY: up test setup check unit e2e clean

PYTHON ?= python3
BIN := .venv/bin

up: setup ## start everything on this machine; Ctrl-C stops it
	@$(BIN)/lorekeep up

test: unit e2e ## the whole suite, the end-to-end tests on a real vLLM included

setup: ## .venv, packages and the default base model; does nothing the second time
	@$(PYTHON) tools/setup.py

check: setup ## formatting, lint, types
	@$(BIN)/ruff format --check --quiet . || (echo "run: $(BIN)/ruff format ." && false)
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy

# Each has two threads: one that waits for the other must not spin.
unit: export OMP_WAIT_POLICY ?= PASSIVE
unit: check ## everything but the end-to-end tests, two at a time
	@$(BIN)/python -m pytest -m "not e2e" -n 2

e2e: setup ## only the end-to-end tests, on a real vLLM
	@$(BIN)/python -m pytest -m e2e tests/e2e

clean: ## remove the environment; data under .lorekeep stays
	rm -rf .venv setup.log .mypy_cache .ruff_cache .pytest_cache .hypothesis
