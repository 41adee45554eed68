# Everything runs in .venv, which the first target that needs it makes. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
# One more than two cores: tests of several processes wait more than they compute.
WORKERS ?= 3
ARGS ?=

# Laptops first; `JAX_PLATFORMS=cuda make demo` uses what else is installed in .venv.
export JAX_PLATFORMS ?= cpu

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-beam bench build lint format types clean

help:  ## List the targets.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(STAMP)  ## Train, evaluate and report on emoji in a few minutes; options in ARGS="...".
	@echo "demo: prepares the emoji, trains a small ProLIP, evaluates it and writes a report."
	@$(BIN)/prolip demo $(ARGS)

PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations 10

test: $(STAMP)  ## Run the tests that are not slow; options for pytest in ARGS="...".
	@echo "test: runs tests/ on $(WORKERS) processes with 8 simulated devices each; some minutes."
	@$(PYTEST) -m "not slow" $(ARGS)

test-slow: $(STAMP)  ## Run the slow tests: whole runs, kills, several processes, many devices.
	@echo "test-slow: runs the slow tests; about ten minutes on 2 cores."
	@$(PYTEST) -m slow $(ARGS)

test-beam:  ## Test imports on Apache Beam, which wants other versions, in their own environment.
	@echo "test-beam: makes $(VENV)-beam and tests imports there; a few minutes."
	@test -x $(VENV)-beam/bin/pytest || { $(PYTHON) -m venv $(VENV)-beam && \
	  $(VENV)-beam/bin/python -m pip install --quiet --quiet --disable-pip-version-check \
	  -e '.[beam]' pytest pytest-xdist hypothesis beartype; }
	@$(VENV)-beam/bin/python -m pytest -n 2 tests/data/test_import_beam.py $(ARGS)

bench: $(STAMP)  ## Time the parts on this machine at small sizes; tables here, JSON in results/bench/.
	@echo "bench: runs benchmarks/ at small sizes, one after the other; under ten minutes on 2 cores."
	@set -e; bench() { \
	  name=$$1; shift; echo; echo "== python benchmarks/$$name.py $$*"; \
	  $(BIN)/python benchmarks/$$name.py "$$@" --json "results/bench/$$name.json"; }; \
	bench loss --batch 1024 4096 --repeats 3; \
	bench train_step --batch 8 --steps 2; \
	bench input_pipeline --images 512 --samples 1024 --repeats 2; \
	bench startup --repeats 1; \
	bench checkpoints --size vit_s16 --repeats 2; \
	bench search --items 50000 --repeats 3; \
	bench retrieval --images 2000 --texts 10000 --repeats 2

build: $(STAMP)  ## Build the wheel and the source distribution into dist/.
	@echo "build: writes a wheel and a source distribution into dist/."
	@$(BIN)/python -m hatchling build -d dist

lint: $(STAMP)  ## Check style and formatting.
	@echo "lint: checks style and formatting with ruff; \`make format\` mends most of it."
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: $(STAMP)  ## Mend style and formatting in place.
	@echo "format: mends what ruff can mend."
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: $(STAMP)  ## Check the types of prolip/.
	@echo "types: checks prolip/ with mypy."
	@$(BIN)/mypy

clean:  ## Remove .venv and caches; runs and data stay.
	@echo "clean: removes $(VENV) and the caches of the tools."
	@rm -rf $(VENV) $(VENV)-beam .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "prolip needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || true)."; \
	  echo "Name one that is: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@echo "Installing prolip and what it needs into $(VENV): once, a minute or more ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check \
	  -c constraints.txt -e '.[dev]'
	@touch $@
