# Every target works alone on a machine with Python 3.11 or later, make and a network.

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Processes of the tests; each takes up to 3.5 GB.
WORKERS := 2

.PHONY: help demo test lint docs clean

help:
	@echo "make demo   compare trained networks with their infinite-width limit on the bundled image, into build/demo"
	@echo "make test   run the tests"
	@echo "make lint   check style, formatting and types"
	@echo "make docs   build the documentation site into build/docs"
	@echo "make clean  remove what the other targets have made"

demo: $(INSTALLED)
	$(BIN)/ntk-nonlocal compare --out build/demo

test: $(INSTALLED)
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal --timeout=600

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build -q

$(VENV)/.installed-docs: requirements-docs.txt $(INSTALLED)
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -r requirements-docs.txt
	@touch $@

# The first of these that really runs, is recent enough and can make virtual environments; or give PYTHON=...
$(INSTALLED): requirements.txt pyproject.toml
	@set -e; python="$(PYTHON)"; \
	for candidate in python3.11 python3.12 python3.13 python3; do \
	    test -z "$$python" || break; \
	    if $$candidate -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; \
	    then python=$$candidate; fi; \
	done; \
	test -n "$$python" || { echo "No Python 3.11 or later with the venv module found; install one, or give its path" \
	    "as in: make $(or $(MAKECMDGOALS),test) PYTHON=/path/to/python3.11" >&2; exit 1; }; \
	echo "Installing into $(VENV) with $$($$python --version)"; \
	$$python -m venv --clear $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -r requirements.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

clean:
	rm -rf $(VENV) .venv312 build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
