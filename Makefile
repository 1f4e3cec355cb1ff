# Everything a person or CI does with this checkout. `make help` lists it from the comments: "##@" begins a group, "##"
# behind a target says what it does, "#:" explains a variable.

PYTHON ?= python3
TESTS ?=
BENCH ?= --work small --work mid
VENV := .venv
BIN := $(VENV)/bin
NATIVE := $(shell find _native -name '*.pyx' -o -name '*.pxd' -o -name '*.h')

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -f .ci/help.awk $(MAKEFILE_LIST)

##@ Setting up

.PHONY: setup build hooks clean
setup: build $(VENV)/.lint hooks ## all that contributing takes: build, the tools of lint and types, the hooks

build: $(VENV)/.built ## make the virtual environment and build the core in place

hooks: $(VENV)/.lint ## have Git run the checks of .pre-commit-config.yaml before each commit
	$(BIN)/pre-commit install

clean: ## remove what was built; the sources stay
	rm -rf $(VENV) build dist wheelhouse demo-out src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src -name '*.so' -delete

##@ Checking

.PHONY: demo test lint types format generated sanitize
demo: build ## export a real tree of this machine, check it, say what was done
	$(BIN)/python demo.py

test: build ## run all tests, or those in TESTS
	$(BIN)/python -m pytest $(TESTS)

lint: $(VENV)/.lint ## ruff, the forge's YAML, and no warning in the C of our own files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	bash .ci/forge
	bash .ci/warnings

types: $(VENV)/.lint ## mypy on the sources, strict, and the core's stubs against the compiled modules
	$(BIN)/mypy
	bash .ci/stubs

format: $(VENV)/.lint ## have ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

generated: build ## write the manual and the scripts for shells again, from the command's parsers
	$(BIN)/python -m generate

sanitize: build ## the tests under AddressSanitizer and UndefinedBehaviorSanitizer, and under ThreadSanitizer
	bash .ci/sanitize

##@ Releasing

.PHONY: sdist wheels wheels-macos wheels-cibuildwheel
sdist: ## the source archive, in dist/
	. wheels/tools && "$$tools/python" -m build --sdist --outdir dist .

wheels: ## manylinux wheels for x86_64 and aarch64 without containers, tested on every Python here and under qemu
	wheels/make
	wheels/test dist/*"_$$(uname -m).whl"
	if [ "$$(uname -m)" = x86_64 ]; then wheels/aarch64 dist/*aarch64.whl; fi

wheels-macos: ## compile and link the core for macOS, no more
	wheels/macos

wheels-cibuildwheel: ## run cibuildwheel as the workflow does, by podman, in an image made of Debian
	wheels/cibuildwheel

##@ Measuring

.PHONY: bench bench-sessions bench-compression bench-parts bench-memory
bench: $(VENV)/.bench ## side by side with the peers, on the trees that BENCH names
	$(BIN)/python -m benchmarks.run $(BENCH)

bench-sessions: $(VENV)/.bench ## over sessions, side by side with BuildKit's own exporter; BENCH as above
	$(BIN)/python -m benchmarks.sessions $(BENCH)

bench-compression: $(VENV)/.bench ## compressors and digests, side by side at equal levels
	$(BIN)/python -m benchmarks.compression

bench-parts: $(VENV)/.bench ## the parts alone: headers, walk, patterns
	$(BIN)/python -m pytest benchmarks/test_parts.py --benchmark-only

bench-memory: $(VENV)/.bench ## peak memory on a million files
	$(BIN)/python -m benchmarks.run --work million --memory

##@ Variables

#: PYTHON=python3.13             the interpreter of the virtual environment, when it is made
#: TESTS="tests/unit -k links"   what `make test` gives to pytest
#: BENCH="--work large"          what `make bench` and `make bench-sessions` measure

# ---- what the targets need ------------------------------------------------

$(VENV)/.made: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "tarcast needs Python 3.11 or later; name one with: make PYTHON=python3.x ..."; exit 1; }
	@$(PYTHON) -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' || \
	  { echo "the headers of $(PYTHON) are missing; on Debian and Ubuntu: apt-get install python3-dev"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
	  { echo "$(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip "setuptools>=77" "setuptools-scm>=8.1" "Cython>=3.1"
	@touch $@

# The editable install is built in place; it is built again whenever a native source is newer.
$(VENV)/.built: $(VENV)/.made setup.py $(NATIVE)
	find src -name '*.so' -delete  # one of another name might come first
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable '.[test]'
	@touch $@

$(VENV)/.bench: $(VENV)/.built
	$(BIN)/python -m pip install --quiet --group bench
	@touch $@

$(VENV)/.lint: $(VENV)/.built
	$(BIN)/python -m pip install --quiet --group lint
	@touch $@
