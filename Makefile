# Every target works alone on a machine with Python 3.11 or later, make and a network.

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Processes of the tests.
WORKERS := 2

.PHONY: help demo test test-all test-slow test-newest lint docs device package lowest clean

help:
	@echo "make demo   compare trained networks with their infinite-width limit on the bundled image, into build/demo"
	@echo "make test   run the tests, but for those that take minutes"
	@echo "make test-all  run all tests: these, the slow ones (test-slow), and with the newest JAX on Python 3.12 (test-newest)"
	@echo "make lint   check style, formatting and types"
	@echo "make docs   build the documentation site into build/docs"
	@echo "make device  on a machine with an accelerator: what it adds to the stored results, in 8 minutes, into build/device"
	@echo "make package  build the wheel and the source archive into dist, and try the wheel in an empty environment"
	@echo "make lowest   run the tests with the lowest versions of the dependencies (Python 3.11)"
	@echo "make clean  remove what the other targets have made"

demo: $(INSTALLED)
	$(BIN)/ntk-nonlocal compare --out build/demo

test: $(INSTALLED)
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal --timeout=900 -m "not slow"

test-all: test test-slow test-newest

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal --timeout=1800 -m slow

# With the newest JAX, where a Python 3.12 is found.
test-newest:
	@set -e; for candidate in python3.12 "$$(pyenv prefix 3.12 2>/dev/null || true)/bin/python3.12"; do \
	    if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 12))' >/dev/null 2>&1; \
	    then python="$$candidate"; break; fi; \
	done; \
	test -n "$${python:-}" || { echo "skipped: Python 3.12 with the newest JAX (no python3.12 found)"; exit 0; }; \
	if ! cmp -s requirements-py312.txt .venv312/requirements.installed; then \
	    "$$python" -m venv --clear .venv312; \
	    .venv312/bin/python -m pip install -q --disable-pip-version-check --no-deps -r requirements-py312.txt; \
	    .venv312/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .; \
	    cp requirements-py312.txt .venv312/requirements.installed; \
	fi; \
	echo "The tests on $$(.venv312/bin/python --version) with the newest JAX:"; \
	.venv312/bin/python -m pytest -q -n $(WORKERS) --dist worksteal --timeout=900 -m "not slow"

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.installed-docs build/explorer.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build -q

# DATA=DIR: the folder with House; the bundled picture without. Repeat it to go on where the time ended.
device: $(INSTALLED)
	test -f build/device/oracle.npz || JAX_PLATFORMS=cpu $(BIN)/python experiments/on_device.py prepare \
	    --folder build/device $(if $(DATA),--data $(DATA))
	$(BIN)/python experiments/on_device.py run --folder build/device --out build/device/results

# A page of the bundled picture, small enough to hold whole filters; a minute on two cores; made again where its code has changed.
build/explorer.html: $(wildcard ntk_nonlocal/explore/*.py ntk_nonlocal/explore/page/*) $(INSTALLED)
	mkdir -p build
	$(BIN)/ntk-nonlocal explore --crop 32 -q -o $@

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

# The wheel with the newest dependencies that pip finds, in an environment that holds nothing else.
package: $(INSTALLED)
	rm -rf dist build/package
	$(BIN)/python -m hatchling build -d dist
	$(BIN)/python -m venv build/package
	build/package/bin/python -m pip install -q --disable-pip-version-check dist/*.whl
	cd build/package && bin/ntk-nonlocal --version && bin/ntk-nonlocal --print-completion bash >completion.bash \
	    && bin/python -c "import ntk_nonlocal as nnl; x = nnl.example_image(16).astype('float32'); \
	    print(nnl.gradient_descent(nnl.tangent_kernel(nnl.unet(levels=2), x), x, [1, 10]).shape)"

lowest: $(INSTALLED) requirements-lowest.txt
	rm -rf build/lowest
	$(BIN)/python -m venv build/lowest
	build/lowest/bin/python -m pip install -q --disable-pip-version-check --no-deps -r requirements-lowest.txt
	build/lowest/bin/python -m pip install -q --disable-pip-version-check pytest hypothesis
	PYTHONPATH=. build/lowest/bin/python -m pytest -q tests/architecture/test_architecture.py tests/reproduce/test_compare.py \
	    tests/networks/test_convolution.py tests/denoisers/test_denoise.py tests/networks/test_flax.py tests/images/test_images.py \
	    tests/kernels/test_lag_window.py tests/images/photos/test_photos.py tests/test_properties.py tests/linalg/test_eigen.py \
	    tests/networks/test_checkpoint.py tests/dynamics/test_trajectory.py

clean:
	rm -rf $(VENV) .venv312 build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
