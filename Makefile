# `make help` lists the targets. Everything happens in .venv; nothing else on the machine is touched.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
# What `clarion serve` is started with. Settings come from the environment: CLARION_PORT=9000 make run
SERVE ?= --samples
# What pytest is started with, for example ARGS="-k digest tests/decisions".
ARGS ?=
WORKERS ?= 3
# What `make run` installs: all that one machine with SQLite or PostgreSQL may want, without what is heavy or rare.
EXTRAS := postgres redis celery fcm
LOCK := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --group build \
	--no-header --no-emit-index-url --no-emit-find-links --quiet $(if $(UPGRADE),--upgrade)

.DEFAULT_GOAL := help
.PHONY: help run test test-survival test-long check format bench bench-quick bench-soak docs lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/installed ## Start Clarion on 127.0.0.1:8000, its database in this folder (Ctrl-C stops it)
	@exec $(BIN)/clarion serve $(SERVE)

test: $(VENV)/installed-dev ## Run the tests (all but test-survival), on servers of their own (ARGS= for pytest's options, WORKERS=3)
	$(BIN)/pytest -n $(WORKERS) --dist worksteal $(ARGS)

test-survival: $(VENV)/installed-dev ## Break everything under an installation of many processes, for some minutes
	$(BIN)/pytest -m survival $(ARGS)

test-long: test-survival ## All that takes longer than `make test`: test-survival

check: $(VENV)/installed-dev ## Check style, types, import rules and security
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive src

format: $(VENV)/installed-dev ## Format the code and mend what can be mended by itself
	$(BIN)/ruff check --fix --exit-zero .
	$(BIN)/ruff format .

bench: $(VENV)/installed-dev ## Measure everything beside the naive design (many minutes), into benchmarks/results
	$(BIN)/python -m benchmarks.run $(ARGS)

bench-quick: $(VENV)/installed-dev ## The same with small figures: shows that it works, proves nothing
	$(BIN)/python -m benchmarks.run --quick $(ARGS)

bench-soak: $(VENV)/installed-dev ## The broadcast to a million people, with what it does to others
	$(BIN)/python -m benchmarks.run --soak $(ARGS)

docs: $(VENV)/installed-dev ## Make the reference pages from the code
	$(BIN)/python docs/build.py

lock: ## Pin the dependencies of pyproject.toml again (needs uv: pip install uv; UPGRADE=1 takes newer releases)
	$(LOCK) --all-extras --group test --group check --group bench --output-file requirements/dev.txt
	$(LOCK) $(EXTRAS:%=--extra %) --constraint requirements/dev.txt --no-annotate --output-file requirements/run.txt

clean: ## Remove .venv and all caches; databases and keys stay
	rm -rf $(VENV) dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests benchmarks examples -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Clarion needs Python 3.11 or newer, and $(PYTHON) is: $$($(PYTHON) --version 2>&1)." >&2; \
		echo "Name a newer one: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)

# The stamps: what is installed stays as it is until the lock or the project's metadata change.
$(VENV)/installed: requirements/run.txt pyproject.toml | $(BIN)/python
	@echo "Installing what Clarion needs into $(VENV), once ..."
	@$(PIP) install --quiet --require-hashes --requirement requirements/run.txt
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/installed-dev: requirements/dev.txt pyproject.toml | $(BIN)/python
	@echo "Installing what Clarion and its tests need into $(VENV), once ..."
	@$(PIP) install --quiet --require-hashes --requirement requirements/dev.txt
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@ $(VENV)/installed
