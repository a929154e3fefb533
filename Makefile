# Each target sets up alone what it needs, on a fresh machine.
#   make demo    train, sample, evaluate, ablate and report, small: minutes on two CPU cores
#   make test    the test suite

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
DEV    := $(VENV)/.installed-dev
DEMO   ?= runs/demo

# Some machines forbid bytecode files. Here they are in our own .venv, and without them each stage of a study would compile
# lightning anew, for 13 seconds in place of 8.
export PYTHONDONTWRITEBYTECODE =

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow test-browser docs lint format clean

help:  ## This list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(STAMP)  ## Make .venv and install the project into it

# Compiling on first use instead of at once saves half a minute: much of what is installed is never imported.
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "error: Python 3.11 or newer is needed, $(PYTHON) is older; give another: make install PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --no-compile --editable .
	$(BIN)/python -m mav_lightning.common.torchvision_shim  # `import lightning` works as a script's first line
	@touch $(STAMP)

$(DEV): $(STAMP)
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[dev]'
	@touch $(DEV)

demo: install  ## Answer one ablation question from nothing and print the report's path (continues after a kill)
	$(BIN)/mav demo --out $(DEMO)

test: $(DEV)  ## Run the fast tests, one process and one thread for each core
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8

test-slow: $(DEV)  ## Run the tests that take minutes
	$(BIN)/python -m pytest -m slow

test-browser: $(DEV)  ## Open a report in headless Chromium, which Debian has as `chromium`
	$(BIN)/python -m pytest -m browser

# -W: every warning is an error, a link that leads nowhere among them. The build opens no network connection.
docs: $(DEV)  ## Build the documentation site into build/docs, offline
	PYTHONWARNINGS=ignore $(BIN)/python -m sphinx --builder html --fresh-env --fail-on-warning --keep-going --quiet docs build/docs
	@echo "documentation: build/docs/index.html"

lint: $(DEV)  ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(DEV)  ## Fix style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## Remove what make made, runs excepted
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build dist
