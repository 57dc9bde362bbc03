# One command each; every target sets up .venv first, through constraints.txt (torch is pinned to a CPU-sized build there).
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
BIN := .venv/bin
# Libraries that tests load may change the locale of their process, and with it how it reads text. Tests start many
# processes, which are not to compile everything again, whatever the environment says.
PYTEST := PYTHONUTF8=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest

.PHONY: setup demo test test-all test-faults test-browser lint format docs docs-pictures dist bench bench-decode bench-memory bench-metrics bench-batch clean

setup: .venv/installed

.venv/installed: pyproject.toml constraints.txt tests/nnunet/requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "rankseg_med needs Python 3.11 to 3.13, found " + sys.version.split()[0])'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps --requirement tests/nnunet/requirements.txt
	touch $@

demo: setup
	$(BIN)/rankseg-med demo --output demo-output

test: setup
	$(PYTEST) -m "not slow" --numprocesses 2

test-all: setup
	$(PYTEST) --numprocesses 2

# Whole runs, killed and disturbed: minutes.
test-faults: setup
	$(PYTEST) -m faults --numprocesses 2

# Reports, opened in Chromium, which the system has to have: apt-get install chromium.
test-browser: setup
	$(PYTEST) -m browser

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Into build/site. Notebooks are executed; nothing is fetched.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The pictures in docs/images. Reports are photographed in Chromium, which the system has to have.
docs-pictures: setup
	$(BIN)/python docs/pictures/make_pictures.py docs/images

# Wheel and sdist into dist, as they go to PyPI.
dist: setup
	rm -rf dist
	$(BIN)/python -m hatchling build -d dist
	$(BIN)/twine check --strict dist/*

bench: bench-decode bench-memory bench-metrics

bench-decode: setup
	$(BIN)/python benchmarks/decode.py $(if $(VOLUME),--volume $(VOLUME))

bench-memory: setup
	$(BIN)/python benchmarks/memory.py

bench-metrics: setup
	$(BIN)/python benchmarks/metrics.py $(LABELS)

# IMAGES=folder WORK=new folder [STUDIES=40]
bench-batch: setup
	$(BIN)/python benchmarks/batch.py $(IMAGES) $(WORK) $(if $(STUDIES),--studies $(STUDIES))

clean:
	rm -rf .venv dist build demo-output .mypy_cache .ruff_cache .pytest_cache .hypothesis
