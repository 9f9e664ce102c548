# On a fresh machine with Python 3.11 or later, make and git (on Windows: in Git Bash), each target works as the first
# command after a clone.
ifeq ($(OS),Windows_NT)
PYTHON ?= python
BIN := .venv/Scripts
else
PYTHON ?= python3
BIN := .venv/bin
endif
# Not `export PATH`: the make of macOS looks commands up in the old one.
IN_VENV := . $(BIN)/activate &&
PIP_INSTALL := $(IN_VENV) python -m pip install --quiet --disable-pip-version-check

.PHONY: setup smoke predict name-a-picture test lint repro

setup: .venv/installed

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(PIP_INSTALL) -r requirements.lock
	$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	$(IN_VENV) dvc pull --quiet --recursive --remote released released # else `dvc exp apply` and `dvc checkout` miss the released models
	touch $@

# The whole chain in miniature, on built-in data, in smoke/work.
smoke: setup
	$(IN_VENV) dvc --cd smoke repro smoke

# What is on a picture: make predict IMAGE=cat.jpg
predict: $(if $(IMAGE),setup,name-a-picture)
	$(IN_VENV) coatnet predict "$(IMAGE)"

name-a-picture:
	@echo 'name a picture: make predict IMAGE=cat.jpg' >&2; exit 1

# A process a core. For one test alone: python -m pytest tests/test_seeds.py
test: setup
	$(IN_VENV) python -m pytest -n logical --maxprocesses 4 --maxschedchunk 1

# Style, types, and which floor may import which.
lint: setup
	$(IN_VENV) ruff check .
	$(IN_VENV) ruff format --check .
	$(IN_VENV) mypy
	$(IN_VENV) lint-imports --no-logo

# The real run.
repro: setup
	$(IN_VENV) dvc repro
