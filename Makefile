# Everything below works in a fresh clone on a machine with Python only; what
# is installed goes into .venv and is not installed again.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
SETUP := pyproject.toml setup.cfg tools/install.py
CONFIG := configs/patchcore/patchcore_demo.py
DEMO := work_dirs/demo

.PHONY: demo test test-slow lint format types docs wheel clean

demo: $(VENV)/installed
	$(RUN) tools/dataset_converters/make_demo.py data/demo
	$(RUN) tools/train.py $(CONFIG) --work-dir $(DEMO) --no-validate
	$(RUN) tools/test.py $(CONFIG) $(DEMO)/epoch_1.pth \
		--work-dir $(DEMO) --show-dir $(DEMO)/heat_maps

test: $(VENV)/installed-tests
	$(RUN) -m pytest -n 2

test-slow: $(VENV)/installed-tests
	$(RUN) -m pytest -m slow

lint: $(VENV)/installed-dev
	$(RUN) -m ruff check .
	$(RUN) -m yapf --diff --parallel --recursive .

format: $(VENV)/installed-dev
	$(RUN) -m yapf --in-place --parallel --recursive .
	$(RUN) -m ruff check --fix .

types: $(VENV)/installed-dev
	$(RUN) -m mypy

docs: $(VENV)/installed-docs
	$(RUN) -m sphinx -W -b html docs docs/_build/html
	@echo "Open docs/_build/html/index.html."

# The wheel in an environment that has nothing else, away from the checkout.
wheel: $(VENV)/bin/python
	rm -rf build
	$(RUN) -m pip wheel --no-deps --wheel-dir build/wheel .
	$(PYTHON) -m venv build/bare
	build/bare/bin/python -m pip install "$$(ls build/wheel/mmad-*.whl)[lite]"
	cd build/bare && bin/python -I ../../.ci/check_wheel.py

clean:
	rm -rf $(VENV) docs/_build build *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(SETUP) | $(VENV)/bin/python
	$(RUN) tools/install.py -e
	@touch $@

$(VENV)/installed-%: $(SETUP) | $(VENV)/installed
	$(RUN) tools/install.py -e $*
	@touch $@
