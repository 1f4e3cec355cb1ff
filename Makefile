# Everything a person or CI does with this checkout. `make help` lists it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NATIVE := $(shell find _native -name '*.pyx' -o -name '*.pxd' -o -name '*.h')
BENCH := --work small --work mid

.DEFAULT_GOAL := help
.PHONY: help build demo test lint types sanitize bench bench-parts bench-memory clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(VENV)/.made: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "tarcast needs Python 3.11 or later; name one with: make PYTHON=python3.x ..."; exit 1; }
	@$(PYTHON) -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' || \
	  { echo "the headers of $(PYTHON) are missing; on Debian and Ubuntu: apt-get install python3-dev"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
	  { echo "$(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip "setuptools>=77" "Cython>=3.1"
	@touch $@

# The editable install is built in place; it is built again whenever a native source is newer.
$(VENV)/.built: $(VENV)/.made setup.py $(NATIVE)
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable '.[test]'
	@touch $@

build: $(VENV)/.built ## make the virtual environment and build the core in place

demo: build ## export a real tree of this machine, check it, say what was done
	$(BIN)/python demo.py

test: build ## run all tests
	$(BIN)/python -m pytest $(TESTS)

lint: $(VENV)/.lint ## ruff, and no warning in the C of our own files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	bash .ci/warnings

types: $(VENV)/.lint ## mypy, strict
	$(BIN)/mypy

sanitize: build ## the tests on a core built with AddressSanitizer and UndefinedBehaviorSanitizer, then with ThreadSanitizer
	bash .ci/sanitize address
	bash .ci/sanitize thread

bench: $(VENV)/.bench ## side by side with the peers; BENCH="--work large" for other trees
	$(BIN)/python -m benchmarks.run $(BENCH)

bench-parts: $(VENV)/.bench ## the parts alone: headers, walk, patterns
	$(BIN)/python -m pytest benchmarks/test_parts.py --benchmark-only

bench-memory: $(VENV)/.bench ## peak memory on a million files
	$(BIN)/python -m benchmarks.run --work million --memory

$(VENV)/.bench: build
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable '.[bench]'
	@touch $@

$(VENV)/.lint: build
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable '.[lint]'
	@touch $@

clean: ## remove what was built; the sources stay
	rm -rf $(VENV) build dist demo-out src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src -name '*.so' -delete
