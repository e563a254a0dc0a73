# The interpreter that makes the virtual environment, 3.10 or newer: make test PYTHON=python3.12
PYTHON ?= python3

# Only the tests need torch. On Linux a plain "pip install torch" brings several GB of CUDA
# libraries; a pinned version lets pip prefer the CPU wheel that its configuration may offer
# (find-links, extra-index-url). TORCH takes any other requirement, or the path of a wheel.
TORCH ?= torch==2.13.0

VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/runtime-installed
DEVELOPMENT := $(VENV)/development-installed
FLOORS := build/floors

.PHONY: demo test lint docs images release floors contracts clean

# Runs the shipped models on the sample image and clip, on the CPU.
demo: $(RUNTIME)
	$(BIN)/pcr-rt demo --output demo-output

# A file's tests stay together in one process, since they share what is costly to make. OpenMP gets
# one thread: the processes fill the cores.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n auto --dist loadfile

# Damaged files by the thousand: make fuzz N=1000000 SEED=1. 20,000 cases are part of the tests.
N ?= 1000000
SEED ?= 0
fuzz: $(DEVELOPMENT)
	$(BIN)/python tests/support/fuzzing.py --cases $(N) --seed $(SEED)

# cuda_kernels/ and export/ become subpackages when the package is installed. mypy sees folders
# as they lie, so it gets links that lie as the package does.
lint: $(DEVELOPMENT)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build/typed && mkdir -p build/typed/pcr_rt
	ln -s $(CURDIR)/pcr_rt/* $(CURDIR)/cuda_kernels $(CURDIR)/export build/typed/pcr_rt/
	cd build/typed && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml -p pcr_rt

# The documentation as a site in build/site, for any static host. PCR_RT_REPOSITORY: the address to
# which links to the source lead.
docs: $(RUNTIME)
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	$(BIN)/mkdocs build --strict

# The images of the README and the documentation, from the package's samples.
images: $(RUNTIME)
	$(BIN)/python benchmarks/docs_images.py

# Wheel and source package in dist/, checked, and each of them tried in an empty environment.
release: $(DEVELOPMENT)
	rm -rf dist build/release
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*
	for file in dist/*; do \
		rm -rf build/release && $(PYTHON) -m venv build/release && \
		build/release/bin/pip install --quiet "$$file" && \
		(cd build/release && bin/pcr-rt demo --output demo && bin/pcr-rt doctor) || exit 1; \
	done

# The demo on the oldest direct dependencies that pyproject.toml allows, in an environment of its
# own. Python 3.10 to 3.12: the oldest NumPy has no wheels for 3.13.
floors:
	rm -rf $(FLOORS)
	$(PYTHON) -m venv $(FLOORS)
	$(FLOORS)/bin/python -m pip install --quiet uv
	$(FLOORS)/bin/uv pip install --quiet --python $(FLOORS)/bin/python \
		--resolution lowest-direct --editable .
	$(FLOORS)/bin/pcr-rt demo --output $(FLOORS)/demo
	$(FLOORS)/bin/python --version
	$(FLOORS)/bin/uv pip list --python $(FLOORS)/bin/python

# Our calls of CuPy against its real wheels, and the CUDA kernels through NVRTC of six versions:
# downloaded once (560 MB), no GPU needed.
contracts: $(DEVELOPMENT)
	PCR_RT_WHEELS=$(CURDIR)/build/wheels $(BIN)/pytest -q \
		tests/engines/test_cupy_contract.py tests/benchmarks/test_nvrtc_table.py

clean:
	rm -rf $(VENV) build dist *.egg-info demo-output .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUNTIME): pyproject.toml setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --editable .
	touch $@

$(DEVELOPMENT): $(RUNTIME)
	$(BIN)/python -m pip install "$(TORCH)"
	$(BIN)/python -m pip install --editable ".[dev]"
	touch $@
