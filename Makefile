# make screen   set up what is missing, then screen the embedded catalogue
# make test     set up what is missing, then check style and types and run the tests
# make setup    only set up;  DFT=no leaves out the embedded DFT engine, which needs a C++ compiler
# make serve    Prefect server, its UI and the deployment screen-gapped-metals
# make lint     style and types only
# make docs     the site, in build/site/index.html
# make wheel    build dist/*.whl and try it in two new environments (needs a package index, some five minutes)
# make clean    remove the environment and caches; results/ stays

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
CXX ?= g++
CXX := $(if $(filter default,$(origin CXX)),g++,$(CXX))
DFT ?= yes
# Other models than those that `mat2spec screen` takes by itself, the most accurate of which leads.
SCREEN_MODELS ?=
SCREEN_FLAGS ?=
PYTEST_FLAGS ?=
# Processes that run the tests side by side, a file in one of them, each with one thread of its own.
TEST_PROCESSES ?= 2

PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
CONSTRAINED := $(PIP) install -c constraints.txt
ENGINES := $(if $(filter no,$(DFT)),,$(STAMPS)/gpaw)

.PHONY: help setup machine screen test lint serve docs wheel clean

help:
	@sed -n '/^# make/s/^# //p' Makefile

setup: machine $(STAMPS)/packages $(ENGINES)
	@if [ ! -e $(STAMPS)/gpaw ]; then echo "Set up without the embedded DFT engine: all else works; the screen lists the crystals that it would have computed."; fi

# One sentence before anything is downloaded, not a traceback after five minutes.
machine:
	@VENV=$(VENV) STAMPS=$(STAMPS) CXX="$(CXX)" DFT=$(DFT) bash scripts/check_machine.sh

$(STAMPS)/venv: | machine
	@echo "Making the environment $(VENV) ..."
	@"$$(bash scripts/find_python.sh)" -m venv $(VENV)
	@mkdir -p $(STAMPS) && touch $@

# This very spelling of the pin finds the CPU wheel where an index offers one beside the CUDA build.
$(STAMPS)/torch: $(STAMPS)/venv
	@echo "Installing PyTorch ..."
	@$(PIP) install torch==2.13.0
	@touch $@

$(STAMPS)/packages: $(STAMPS)/torch pyproject.toml constraints.txt
	@echo "Installing the packages of constraints.txt ..."
	@$(CONSTRAINED) -e '.[dev,docs]'
# The Materials Project's own server code, for the tests: without the monitoring and web server that it asks for.
	@$(CONSTRAINED) --no-deps emmet-api
	@touch $@

$(STAMPS)/gpaw: $(STAMPS)/packages dft_validation/engines/gpaw_siteconfig.py
	@echo "Compiling GPAW, the embedded DFT engine (about a minute) ..."
	@CC="$(CXX)" GPAW_CONFIG="$(CURDIR)/dft_validation/engines/gpaw_siteconfig.py" $(CONSTRAINED) gpaw gpaw-data
	@touch $@

screen: setup
	@$(BIN)/mat2spec screen $(SCREEN_MODELS:%=--model %) $(SCREEN_FLAGS)

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

test: lint
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile $(PYTEST_FLAGS)

docs: setup
	@$(BIN)/python scripts/build_docs.py

wheel: setup
	@rm -rf build/lib  # what setuptools built before would go into the wheel too
	@$(PIP) wheel --no-deps --wheel-dir dist .
	@cp constraints.txt requirements-predict.txt dist/
	@$(BIN)/python -m pytest -m 'network or slow' -s tests/packaging/test_wheel.py $(PYTEST_FLAGS)

serve: setup
	@exec $(BIN)/mat2spec serve

clean:
	rm -rf $(VENV) build dist ./*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find mat2spec screening dft_validation flows tests -name __pycache__ -prune -exec rm -rf {} +
