# The commands of this project; `make` alone lists them. Written for GNU make 3.81 and later.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
MINUTES ?= 20
TRIES ?= 100
ROUTER ?= door
LOAD := $(VENV)/load
# The linters load the settings, and `check --deploy` wants a key of production's length.
LINT_ENV := SECRET_KEY=a-key-for-lint-runs-only-0123456789-abcdefghijklmnopqrstuvwxyz DEBUG=0

# A run of the tests starts hundreds of interpreters: each would compile the project again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
SESSION ?= oldest newest
.PHONY: help venv test rehearse schedules journeys versions upstream soak freeze mutants bench-schedules bench-burst bench-web model lint bench-guard demo services clean

help: ## List the commands
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /|/' | awk -F'|' '{ printf "  make %-12s %s\n", $$1, $$2 }'

venv: $(STAMP) ## Install everything into .venv, at the pinned versions

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "cutover needs Python 3.11 or later; name one with: make $(or $(MAKECMDGOALS),venv) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "$(PYTHON) has no venv module; install it first (Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' -c constraints.txt
	@touch $(STAMP)

test: $(STAMP) ## Run the tests
	$(BIN)/python -m pytest -n 6 --dist worksteal -m "not figures"
	$(BIN)/python -m pytest -m figures

rehearse: $(STAMP) journeys ## Play the whole migration, release by release, on every test platform, host project and broker
	$(BIN)/python -m tests.platform

schedules: $(STAMP) ## Hold parity to celery's own judgement on ten thousand generated schedules: some ten minutes
	$(BIN)/python -m pytest -n 4 tests/unit/schedules/test_generated.py --long

journeys: $(STAMP) ## Take every host project and every part of production through the phases; kill at every statement; SQLite and MariaDB too
	$(BIN)/python -m pytest -n 4 --dist worksteal tests/hosts tests/parts --long
	$(BIN)/python -m pytest -n 2 tests/faults/test_scenarios.py --long -k on-mariadb
	$(BIN)/python -m pytest -n 6 --dist worksteal tests/integration/phases --long -k "sqlite or killed_at_any_statement"

versions: $(STAMP) ## Run the quick tests on other versions: make versions SESSION="oldest newest"
	$(BIN)/python -m nox --error-on-missing-interpreters -s $(SESSION)

upstream: $(STAMP) ## Hold our schedulers to the tests of celery's beat and of django-celery-beat
	$(BIN)/python -m nox --error-on-missing-interpreters -s upstream

soak: $(STAMP) ## Break things at random: make soak MINUTES=20 [SEED=n]
	$(BIN)/python -m tests.faults.soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

freeze: $(STAMP) ## Freeze and thaw leaders: make freeze TRIES=100
	$(BIN)/python -m tests.faults.freeze --tries $(TRIES)

mutants: $(STAMP) ## Take each safeguard out of a copy; a test must fail
	$(BIN)/python -m tests.faults.mutants

model: $(STAMP) ## Check the protocol in every state, with more faults than the tests do: some three minutes
	$(BIN)/python -m tests.model

lint: $(STAMP) ## Check style, types, imports, migrations and the deploy settings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(LINT_ENV) $(BIN)/python manage.py makemigrations --check --dry-run
	$(LINT_ENV) $(BIN)/python manage.py check --deploy --fail-level WARNING

bench-guard: $(STAMP) ## What the run guard costs a task that is no slot's
	$(BIN)/python -m benchmarks.guard

demo: $(STAMP) ## Watch a whole cutover, with real processes
	$(BIN)/python -m demo

bench-schedules: $(STAMP) ## Measure a cutover of 10,000 entries, on SQLite and PostgreSQL
	$(BIN)/python -m benchmarks.schedules

bench-burst: $(STAMP) ## Measure 5,000 slots due at one instant, beside stock Celery and RedBeat: some eight minutes
	$(BIN)/python -m benchmarks.burst

# Locust brings a pytest plugin and gevent: it stays apart from what the project runs in.
$(LOAD)/.installed: benchmarks/locust.txt | $(STAMP)
	$(PYTHON) -m venv $(LOAD)
	$(LOAD)/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/locust.txt
	@touch $@

bench-web: $(STAMP) $(LOAD)/.installed ## Load `prodserver web` through releases, with Locust: make bench-web [ROUTER=nginx]
	$(BIN)/python -m benchmarks.web --locust $(LOAD)/bin/locust --router $(ROUTER)

services: $(STAMP) ## Start the services that the site needs, for trying things by hand
	$(BIN)/python -m demo.services

clean: ## Remove the venv, caches and local data
	rm -rf $(VENV) var staticfiles dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
