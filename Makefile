# On a fresh machine with Python 3.11 or later, make and git, each target works as the first command after a clone.
PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: setup smoke test repro

setup: .venv/installed

.venv/installed: requirements.lock
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	touch $@

# The whole chain in miniature, on built-in data, in smoke/work.
smoke: setup
	dvc --cd smoke repro smoke

test: setup
	python -m pytest

# The real run.
repro: setup
	dvc repro
