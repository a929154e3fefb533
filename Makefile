# Each target sets up alone what it needs, on a fresh machine.
#   make demo    train, sample, evaluate, ablate and report, small: minutes on two CPU cores
#   make test    the test suite

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
DEV    := $(VENV)/.installed-dev
DEMO   ?= runs/demo
TORCH  ?= torch-cpu

# Some machines forbid bytecode files. Here they are in our own .venv, and without them each stage of a study would compile
# lightning anew, for 13 seconds in place of 8.
export PYTHONDONTWRITEBYTECODE =

.DEFAULT_GOAL := help
.PHONY: help install locked lock demo test test-slow test-browser test-package docs lint format dist clean

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

# `make locked TORCH=torch-pypi` installs PyPI's build of torch, with CUDA on Linux. The CPU build comes from PyTorch's index:
# PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make locked
locked:  ## Make .venv with the tested version of every package, hashes checked
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --no-compile --require-hashes \
		--requirement requirements/$(TORCH).lock --requirement requirements/dev.lock
	$(BIN)/python -m pip install --quiet --no-compile --no-deps --editable .
	$(BIN)/python -m mav_lightning.common.torchvision_shim
	@touch $(STAMP) $(DEV)

lock: $(DEV)  ## Record the versions in .venv, which passed the tests, in requirements/*.lock
	$(BIN)/python requirements/lock.py

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

test-package: dist  ## Install the wheel and the source archive into empty environments and use them
	$(BIN)/python -m pytest -m package

lint: $(DEV)  ## Check style and types, and the workflow against GitHub's schema
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms $(addprefix .github/ISSUE_TEMPLATE/,bug.yml feature.yml result.yml)

format: $(DEV)  ## Fix style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

dist: $(DEV)  ## Build dist/*.whl and dist/*.tar.gz
	rm -rf dist
	$(BIN)/uv build --quiet

clean:  ## Remove what make made, runs excepted
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build dist
