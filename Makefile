# `make demo` finds a ticket, `make test` runs the tests, `make docs` builds the site in build/site;
# all but test-gpu set everything up first, the demo without the tools of development.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TEST_PROCESSES ?= 2
PACKAGE := $(VENV)/.package
STAMP := $(VENV)/.installed
SOURCES := pyproject.toml constraints.txt setup.py $(wildcard src/tombola/kernel/*/*.[ch])

.PHONY: setup browser demo test test-gpu bench bench-kernels calibrate check fmt docs

setup: $(STAMP)

$(STAMP): INSTALLED := .[dev]
$(PACKAGE): INSTALLED := .
$(STAMP) $(PACKAGE): $(SOURCES)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '$(INSTALLED)'
	touch $(PACKAGE) $@

demo: $(PACKAGE)
	$(BIN)/tombola find --config demo.yaml --output runs/demo

# A few seconds, once; without it, the tests that need it are skipped.
browser:
	tools/install_browser.sh

# In two processes, each with files of its own; TEST_PROCESSES=0 runs all in one.
test: setup browser
	$(BIN)/pytest --numprocesses $(TEST_PROCESSES) --dist loadfile

# On a machine with a CUDA card, with the packages that are there; in several processes if it has
# pytest-xdist. TOMBOLA_TEST_DEVICE=cpu tries the same tests on a CPU.
test-gpu:
	PYTHONPATH=$(CURDIR)/src$${PYTHONPATH:+:$$PYTHONPATH} $(PYTHON) -m pytest -m cuda -W default tests/cuda \
		$$($(PYTHON) -c 'import xdist' 2>/dev/null && printf '%s' '-n 6')

# On an idle machine: twenty minutes on two cores.
bench: setup
	$(BIN)/python benchmarks/bench.py

# Sparse products and encoders against dense ones, and against what else is installed: ten minutes.
bench-kernels: setup
	$(BIN)/python benchmarks/sparse_kernels.py

# Writes from which sparsity sparse products pay; on an idle machine: ten minutes.
calibrate: setup
	$(BIN)/python benchmarks/calibrate.py

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.docs
	$(BIN)/python tools/build_site.py

$(VENV)/.docs: $(STAMP)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

fmt: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
