# Every target sets up what it needs in .venv, once, and again when pyproject.toml changes.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo test check bench hammer simulate seeded-bugs mutants coverage clean

VENV := .venv
BIN := $(VENV)/bin
NEEDS := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))

# The first Python on the PATH that is recent enough and can make a virtual environment.
PYTHON ?= $(firstword $(shell for python in python3 python3.13 python3.12 python3.11 python3.10 python; do \
	$$python -c '$(NEEDS)' 2>/dev/null && echo $$python && break; done))

help:  ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST)

demo: $(VENV)/.installed-cli  ## Analyse the standard library with a pool of workers, two of which meet with accidents
	@$(BIN)/honeydew demo

test: $(VENV)/.installed-test  ## Run every test, in so many processes at a time (PROCESSES=3)
	$(BIN)/python -m pytest --numprocesses $(or $(PROCESSES),3) --dist worksteal

check: $(VENV)/.installed-dev  ## Lint, check types (pyright, mypy) and check the layers
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed-test  ## Measure speed, as ratios to bare Ray
	$(BIN)/python -m tests.benchmarks
	$(BIN)/python -m tests.benchmarks.store_speed
	$(BIN)/python -m tests.benchmarks.cluster_speed
	$(BIN)/python -m tests.benchmarks.poll_speed
	$(BIN)/python -m tests.benchmarks.events_cost

hammer: $(VENV)/.installed-test  ## Kill everything under load, then account for every job (SECONDS=60 SEED=1 KINDS=queue,node)
	$(BIN)/python -m tests.hammer --seconds $(or $(SECONDS),60) $(if $(SEED),--seed $(SEED)) $(if $(KINDS),--kinds $(KINDS))

simulate: $(VENV)/.installed-test  ## Simulate SEEDS=1000 lives of queues, each with faults of its own, and check every promise
	$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),1000) --first $(or $(FIRST),0)

coverage: $(VENV)/.installed-dev  ## Measure how many branches of what decides its unit tests take: at least 95 %
	$(BIN)/python -m coverage run -m pytest tests/unit
	$(BIN)/python -m coverage report

seeded-bugs: $(VENV)/.installed-test  ## Show that the simulation catches mistakes, each planted in a copy (HAMMER=15: that the hammer does, in so many seconds)
	$(BIN)/python -m tests.seeded_bugs $(if $(HAMMER),--hammer $(HAMMER),--seeds $(or $(SEEDS),200))

mutants: $(VENV)/.installed-dev  ## Change what decides in small ways, one by one, and show what no unit test notices (ONLY=honeydew_ray/monitor.py JOBS=2)
	$(BIN)/python -m tests.mutants $(if $(JOBS),--jobs $(JOBS)) $(ONLY)

clean:  ## Remove the virtual environment and every cache
	rm -rf $(VENV) build dist mutants .coverage .*_cache .hypothesis .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.installed-%: pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.10 or later, with its venv module, was not found (on Debian: apt install python3-venv)."; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { echo "Making $(VENV) with $(PYTHON) ..."; $(PYTHON) -m venv --clear $(VENV); }
	@echo "Installing honeydew-ray[$*] into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$*]"
	@touch $@
