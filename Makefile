# One command each. Everything is installed below .venv; nothing else on the machine is touched,
# except that `make test` and `make stack` install Debian packages when run as root.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONFIG ?= exporter.yml

.DEFAULT_GOAL := help
.PHONY: help run stack up down setup setup-dev lock test soak bench lint unit coverage dashboards pictures board-pictures docs

help:  ## list what make can do
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# An environment knows its own path: after the folder was moved it is made again.
MOVED := $(shell [ -f $(VENV)/bin/pip ] && ! head -2 $(VENV)/bin/pip | grep -qF '$(CURDIR)/' && echo --clear)
ifneq ($(MOVED),)
.PHONY: $(VENV)/.runtime
endif

# On a terminal pip shows what it does; elsewhere one line is enough.
QUIET := $(shell [ -t 2 ] || echo --quiet)

$(VENV)/.runtime: requirements.lock pyproject.toml
	@echo "installing into $(VENV), which takes about a minute"
	@$(PYTHON) -m venv $(MOVED) $(VENV)
	@$(BIN)/pip install $(QUIET) --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install $(QUIET) --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.lock
	$(BIN)/pip install $(QUIET) --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

setup: $(VENV)/.runtime  ## install what the exporter needs into .venv
setup-dev: $(VENV)/.dev  ## the same with what tests and checks need

# Your own config: git does not track it, so that no `git pull` fights with it.
exporter.yml: | setup
	@$(BIN)/quant-exporter init . >/dev/null
	@echo "exporter.yml and strategies/ are new here, and yours to edit"

run: setup $(CONFIG)  ## run the exporter on exporter.yml (simulated data until you change it)
	@exec $(BIN)/quant-exporter run --config $(CONFIG)

stack: setup $(CONFIG)  ## the same with real Prometheus and Alertmanager, and stand-ins for chat, pager and mail (FAULT=1; LIVE=1 runs your own tasks)
	@tools/install-test-packages prometheus prometheus-alertmanager
	@$(BIN)/python -m exporter.demo.show var/stack $(CONFIG) $(if $(FAULT),--fault) $(if $(LIVE),--live)
	@exec $(BIN)/honcho start -f var/stack/Procfile -d .

up:  ## the whole stack in containers, with Grafana (PROFILES=logs,remote-write for more)
	@tools/up

down:  ## stop the containers; what they keep stays in volumes
	@$(or $(DOCKER),docker) compose --profile '*' down

lock:  ## resolve the dependencies again
	tools/lock

unit: setup-dev  ## the fast tests alone
	$(BIN)/pytest tests/unit -q -n 2

coverage: setup-dev  ## what the fast tests run; fails below the floor in pyproject.toml
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest tests/unit -q -n 2
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

dashboards: setup-dev  ## write grafana/dashboards/*.json from grafana/boards
	$(BIN)/python -W ignore -m grafana.build

pictures: setup-dev  ## take the guide's pictures again (needs chromium)
	$(BIN)/python -m tests.browser.pictures

board-pictures: setup-dev  ## take the guide's pictures of the boards (GRAFANA=http://localhost:3000; needs chromium)
	$(BIN)/python -m tests.browser.board_pictures $(or $(GRAFANA),http://localhost:3000) $(ARGS)

# In an environment of its own: what makes the pages is no part of what runs or tests the exporter.
.venv-docs/.ready: requirements-docs.lock
	@$(PYTHON) -m venv --clear .venv-docs
	@.venv-docs/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-docs.lock
	@touch $@

docs: .venv-docs/.ready  ## the documentation as a site in build/site; a broken link is an error
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --quiet
	@echo "build/site/index.html"

lint: setup-dev  ## ruff, mypy, which room may import which, and a check of each file format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell exporter docs README.md prometheus alerting grafana/boards sample
	tools/check-words
	tools/check-alerting
	PATH="$(CURDIR)/$(BIN):$$PATH" tools/check-containers

# Four workers on two cores: the tests of the VPS and of alerts mostly wait.
# Tests start hundreds of Pythons: what they import is compiled once, whatever the environment says.
test unit coverage soak: export PYTHONDONTWRITEBYTECODE :=
test: setup-dev  ## everything: lint, then all tests
	tools/install-test-packages
	tools/install-newer-servers >/dev/null
	$(MAKE) --no-print-directory lint
	$(BIN)/pytest -n 4

soak: setup-dev  ## the tests that take minutes or hours (QUANT_SOAK_MINUTES=2 shortens the load)
	-@tools/install-test-engine
	$(BIN)/pytest -m soak -o timeout=0

bench: setup  ## measure, beside others that do the same (ONLY=digest,slots for some; QUICK=1 for seconds)
	@tools/install-test-packages jq
	@$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY)) $(if $(QUICK),--quick)

# --- the VPS: make provision HOST=vps (a name of your ~/.ssh/config); ARGS="--now" and so on;
# make secret HOST=vps NAME=TICKDB_API_KEY; make restore HOST=vps FILE=backups/….tar.gz;
# make rollback HOST=vps VERSION=…
FAB = $(BIN)/fab --search-root deploy --hosts $(or $(HOST),$(error say which machine: make $@ HOST=vps))
define on_the_vps
.PHONY: $(1)
$(1): setup-dev
	@$$(FAB) $(1) $$(if $$(NAME),--name $$(NAME)) $$(if $$(FILE),--file $$(FILE)) $$(if $$(VERSION),--version $$(VERSION)) $$(ARGS)
endef
$(foreach command,provision deploy rollback status backup restore secret password domain,$(eval $(call on_the_vps,$(command))))
vps:  ## on a VPS: make provision|deploy|rollback|status|backup|restore HOST=vps
	@$(BIN)/fab --search-root deploy --list
