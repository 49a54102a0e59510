# Two commands do everything on a machine that has Python 3.11 (with venv) and make:
#   make demo   the main job, end to end, on embedded servers
#   make test   linters, types and tests
# Both create .venv from requirements.lock when it is missing or older than the lock.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTEST_WORKERS ?= 2

.PHONY: help install demo ui test test-deep lint types format lock clean

help:
	@echo "make demo        run the whole pipeline on a synthetic data set (embedded servers)"
	@echo "make ui          start the Dagster UI on this instance"
	@echo "make test        ruff, mypy, definitions, tests (under 12 minutes on 2 cores)"
	@echo "make test-deep   the long suites"
	@echo "make clean       stop the servers; remove .venv and .quantbot"

install: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install python3.11 and python3.11-venv"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; $(PYTHON) is older. Try: make PYTHON=/path/to/python3.11"; exit 2; }
	@echo "installing into $(VENV) (about two minutes: packages, then the engine is compiled)"
	@$(BIN)/python -c '' 2>/dev/null || { rm -rf $(VENV) && $(PYTHON) -m venv $(VENV); }
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-deps -r requirements.lock
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m quantbot_pipeline.cli.compile_engine
	@touch $@

demo: $(STAMP)
	@$(BIN)/quantbot demo

ui: $(STAMP)
	@$(BIN)/quantbot up --ui

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/sqlfluff lint --dialect postgres sql/postgres/*.sql dbt_like_views/postgres
	$(BIN)/sqlfluff lint --dialect clickhouse dbt_like_views/clickhouse

types: $(STAMP)
	$(BIN)/mypy

test: lint types
	$(BIN)/python -m pytest -m "not deep" -n $(PYTEST_WORKERS) --dist loadgroup

test-deep: $(STAMP)
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist loadgroup

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Run after a dependency changed in pyproject.toml, in an environment that has the wanted versions.
lock: $(STAMP)
	@$(BIN)/python -m pip freeze --exclude-editable --exclude quantbot-pipeline > requirements.lock

clean:
	@if [ -x $(BIN)/quantbot ]; then $(BIN)/quantbot down || true; fi
	rm -rf $(VENV) .quantbot
