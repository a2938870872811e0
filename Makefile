# Everything runs from .venv, which the first target that needs it makes; no environment has to be active.
# Another Python: make PYTHON=/path/to/python3.12 demo

.DELETE_ON_ERROR:
.SHELLFLAGS := -eu -c

VENV := .venv
RUN := $(VENV)/bin/python
DOCS := build/docs-env
# With the package itself, editable: `import l2rw_tf` works from any directory, and pip checks the versions against pyproject.toml.
INSTALL := $(RUN) -m pip install --quiet --quiet --disable-pip-version-check --editable . --requirement

# A candidate counts only when it runs, has a supported version and can make environments.
SUPPORTED := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
CANDIDATES := $(PYTHON) $(if $(PYTHON),,python3.12 python3.13 python3.11 python3 python)

.PHONY: help demo test test-fast report-check kill-test bench compat release-check docs lint clean

help:
	@echo 'make demo    train on digits with 40 % wrong labels, reweighted and plain (DEMO_FLAGS="--seed=1" adds flags)'
	@echo 'make test    lint and run all tests (PYTEST_FLAGS="-k name" adds flags)'
	@echo 'make test-fast  the same without tests that start processes, compile with XLA or are slow: while working'
	@echo 'make report-check  run the demo and look at its report in a headless Chromium (screenshots: build/report-check)'
	@echo 'make kill-test  kill a run 30 times, resume it each time and compare its end with a run that is left alone'
	@echo 'make bench   measure what a step costs (BENCH_FLAGS="--parts=steps" adds flags; PyTorch and JAX beside it: requirements-bench.txt)'
	@echo 'make compat  run the fast tests with each version of Keras and TensorFlow that is supported (docs/versions.md)'
	@echo 'make release-check  build wheel and sdist, install each into an empty environment, run the demo and the fast tests there'
	@echo 'make docs    build the documentation as a site: build/docs/index.html'
	@echo 'make lint    check the style of the code and the types of its public part'
	@echo 'make clean   remove .venv and caches; runs/ stays'

demo: $(VENV)/.installed
	@$(RUN) -m l2rw_tf.main --flagfile=configs/digits_noisy.cfg $(DEMO_FLAGS)

test: lint
	@$(RUN) -m pytest $(PYTEST_FLAGS)

test-fast: lint
	@$(RUN) -m pytest -m 'not process and not xla and not slow' $(PYTEST_FLAGS)

# The first line finds out whether there is a browser before minutes of training.
report-check: $(VENV)/.installed-dev
	@$(RUN) -m tests.report_check build/report-check
	@rm -rf build/report-check
	@$(RUN) -m l2rw_tf.main --flagfile=configs/digits_noisy.cfg --run_dir=build/report-check/demo
	@$(RUN) -m tests.report_check build/report-check build/report-check/demo/report.html

kill-test: $(VENV)/.installed
	@$(RUN) -m benchmarks.kill_test $(KILL_FLAGS)

bench: $(VENV)/.installed-dev
	@$(RUN) -m benchmarks.speed $(BENCH_FLAGS)

compat: $(VENV)/.installed-dev
	@$(RUN) -m benchmarks.compat $(COMPAT_FLAGS)

release-check: $(VENV)/.installed-dev
	@$(RUN) -m benchmarks.release_check $(RELEASE_FLAGS)

# In an environment of its own, which needs none of the package's requirements.
docs: $(DOCS)/.installed
	@NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/python -m mkdocs build --strict

lint: $(VENV)/.installed-dev
	@$(RUN) -m ruff check --quiet --output-format=concise .
	@$(RUN) -m mypy --no-error-summary

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis build dist *.egg-info

# The stamps are younger than what they were installed from, so that a changed file installs again and nothing else does.
$(VENV)/.installed: requirements.txt pyproject.toml $(VENV)/.made
	@echo 'Installing requirements.txt into $(VENV) (once; some minutes) ...'
	@$(INSTALL) requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt requirements.txt pyproject.toml $(VENV)/.made
	@echo 'Installing requirements-dev.txt into $(VENV) (once; some minutes) ...'
	@$(INSTALL) requirements-dev.txt
	@touch $(VENV)/.installed $@

$(DOCS)/.installed: requirements-docs.txt $(VENV)/.made
	@echo 'Installing requirements-docs.txt into $(DOCS) (once) ...'
	@$(RUN) -m venv --clear $(DOCS)
	@$(DOCS)/bin/python -m pip install --quiet --quiet --disable-pip-version-check --requirement requirements-docs.txt
	@touch $@

$(VENV)/.made:
	@if $(RUN) -c '$(SUPPORTED)' >/dev/null 2>&1; then touch $@; exit 0; fi; \
	for python in $(CANDIDATES); do \
	  if "$$python" -c '$(SUPPORTED)' >/dev/null 2>&1; then \
	    "$$python" -m venv --clear $(VENV) && touch $@ && exit 0; \
	  fi; \
	done; \
	echo 'No Python 3.11, 3.12 or 3.13 with the venv module was found (tried: $(strip $(CANDIDATES))).' >&2; \
	echo 'Install one, or name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)' >&2; \
	exit 1
