# The commands of this project; `make` alone lists them. Written for GNU make 3.81 and later.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
MINUTES ?= 20
TRIES ?= 100
ROUTER ?= door
LOAD := $(VENV)/load
PEERS := $(VENV)/peers
# The linters load the settings, and `check --deploy` wants a key of production's length.
LINT_ENV := SECRET_KEY=a-key-for-lint-runs-only-0123456789-abcdefghijklmnopqrstuvwxyz DEBUG=0

# A run of the tests starts hundreds of interpreters: each would compile the project again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
SESSION ?= oldest newest
.PHONY: help venv test rehearse schedules journeys versions oldest newest environments upstream soak freeze mutants bench bench-full bench-web model lint docs reference pictures demo services clean

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
	$(BIN)/python -m pytest -n 8 --dist worksteal -m "not figures"
	$(BIN)/python -m pytest -m figures

rehearse: $(STAMP) journeys ## Play the whole migration, release by release, on every test platform, host project and broker
	$(BIN)/python -m tests.platform

schedules: $(STAMP) ## Hold parity to celery's own judgement on ten thousand generated schedules: some ten minutes
	$(BIN)/python -m pytest -n 4 tests/unit/schedules/test_generated.py --long

journeys: $(STAMP) ## Run what `make test` leaves out: every host project and part of production, every runbook, every death
	$(BIN)/python -m pytest -n 8 --dist worksteal --rest -m "not figures"

versions: $(STAMP) ## Run the quick tests on other versions: make versions SESSION="oldest newest"
	$(BIN)/python -m nox --error-on-missing-interpreters $(if $(MADE),-R) -s $(SESSION)

# Each by itself, so that both may run at once: WORKERS=4 make -j 2 oldest newest
oldest newest: $(STAMP)
	$(BIN)/python -m nox --error-on-missing-interpreters $(if $(MADE),-R) -s $@

environments: $(STAMP) ## Make the environments that `make versions MADE=1` then runs in as they are
	$(BIN)/python -m nox --error-on-missing-interpreters --install-only -s $(SESSION)

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

lint: $(STAMP) docs ## Check style, types, imports, migrations, the deploy settings, and build the documents
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(LINT_ENV) $(BIN)/python manage.py makemigrations --check --dry-run
	$(LINT_ENV) $(BIN)/python manage.py check --deploy --fail-level WARNING

# All of it each time: what is kept from a build that failed would hide what was wrong.
docs: $(STAMP) ## Build the documents as a site, in docs/_build; each warning is an error
	$(BIN)/python -m sphinx -q -E -W --keep-going -n -c docs . docs/_build

reference: $(STAMP) ## Write into the documents what the code says of settings, events, checks, metrics, options
	$(BIN)/python -m docs.site.reference

pictures: $(STAMP) ## Take the documents' pictures again: of the page in its test, of the report that a demo makes
	$(BIN)/python -m pytest --rest tests/browser/test_page.py -k "pictures and light"
	cp var/pictures/readme-light.png docs/pictures/page.png
	$(BIN)/python -m demo
	$(BIN)/python -m docs.site.pictures var/report.html docs/pictures/report.png

demo: $(STAMP) ## Watch a whole cutover, with real processes; or a bad day: make demo DRILL=pause
	$(BIN)/python -m demo $(DRILL)

# No package of ours: what it is measured beside stays apart from what the project runs in.
$(PEERS)/.installed: benchmarks/peers.txt | $(STAMP)
	rm -rf $(PEERS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(PEERS) -r benchmarks/peers.txt
	@touch $@

bench: $(STAMP) $(PEERS)/.installed ## Measure it beside stock Celery, RedBeat and others, in five minutes: make bench [PART="burst idle"]
	$(BIN)/python -m benchmarks $(PART)

bench-full: $(STAMP) $(PEERS)/.installed ## The same at length, with the figures put into docs/benchmarks.md: some hours
	$(BIN)/python -m benchmarks --full --write $(PART)

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
	rm -rf $(VENV) var staticfiles dist build docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
