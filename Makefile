# `make run` and `make test` install what they need: a virtual environment in .venv with the versions in constraints.txt.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=

# Tests run in parallel (conftest.py has the number of workers). PARALLEL= runs them in one process.
PARALLEL ?= --numprocesses auto --dist worksteal

# Where it is set, each of the several hundred processes that the tests start would compile every module again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help

help:  ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.runs  ## start every door on loopback, with conf/fingertrio.toml
	@$(BIN)/fingertrio serve --config conf/fingertrio.toml

test: $(VENV)/.develops  ## run the tests (ARGS="-k finger" for some, ARGS="-m 'not slow'" without slow ones)
	@$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

test-release: $(VENV)/.documents  ## build the packages, the container image and the site, and try them on a clean Debian (needs root)
	@$(BIN)/python -m pytest $(PARALLEL) -m release $(ARGS)

test-all:  ## run the tests on every installed Python from 3.11 on, each in its own environment
	@for python in $$(.ci/pythons); do \
		version=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
		echo "--- Python $$version ($$python)"; \
		$(MAKE) --no-print-directory test VENV=.venvs/$$version PYTHON=$$python || exit 1; \
	done

coverage: $(VENV)/.develops  ## measure which code the tests run, with the processes that they start
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest $(PARALLEL) -m "not speed and not release" $(ARGS)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

lint: $(VENV)/.develops  ## check format, style and types
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy

check: $(VENV)/.develops  ## format, lint and test: run it before every commit
	@$(BIN)/ruff format --quiet .
	@$(MAKE) --no-print-directory lint test

bench: $(VENV)/.measures  ## measure against named peers and print the tables (ARGS="--quick" for a short one)
	@$(BIN)/python -m benchmarks.finger $(ARGS)
	@$(if $(filter-out --write --quick,$(ARGS)),,$(BIN)/python -m benchmarks.http $(ARGS))
	@$(if $(filter-out --write --quick,$(ARGS)),,$(BIN)/python -m benchmarks.live $(ARGS))
	@$(if $(filter-out --write,$(ARGS)),,$(BIN)/python -m benchmarks.setter $(ARGS); $(BIN)/python -m benchmarks.recent $(ARGS); $(BIN)/python -m benchmarks.cli $(ARGS))
	@$(BIN)/python -m benchmarks.irc $(filter --quick --write,$(ARGS))

compare: $(VENV)/.develops  ## compare the costs of a request with an older checkout (OLD=../old)
	@$(BIN)/python -m benchmarks.compare $(OLD) $(ARGS)

faults: $(VENV)/.breaks  ## do to it what it must survive (ARGS="xml restart" for some of it, ARGS=--soak for ten minutes)
	@$(BIN)/python -m faults $(ARGS)

reference: $(VENV)/.develops  ## write the tables of docs/reference and the manual pages (docs/man) from the code
	@env -u XDG_STATE_HOME $(BIN)/python -m fingertrio.config.reference > docs/reference/configuration.md.new
	@mv docs/reference/configuration.md.new docs/reference/configuration.md
	@$(BIN)/python -m tests.frontends.web.http_table
	@env -u XDG_STATE_HOME $(BIN)/python -m docs.man.build

tutorial: $(VENV)/.develops  ## write listings, diffs, drawings and tables into the pages of docs/tutorial
	@$(BIN)/python docs/tutorial/build.py

docs: $(VENV)/.documents  ## build the documentation as a site, into dist/docs
	@$(BIN)/python docs/site/build.py

screenshots: $(VENV)/.develops  ## take the pictures in docs/images with Chromium; look at them before you commit
	@$(BIN)/python -m tests.frontends.web.screenshots
	@$(BIN)/python -m tests.docs.terminal

transcripts: $(VENV)/.develops  ## write the transcripts of docs/guide/install.md, from installations on a clean Debian (needs root)
	@$(BIN)/python -m tests.packaging.transcripts

dist: $(VENV)/.develops  ## build the wheel and the sdist of the last commit into dist/, reproducibly
	@packaging/dist $(BIN)/python dist

deb: $(VENV)/.develops  ## build the Debian package of the last commit into dist/, for the python3 of this Debian
	@packaging/deb/build $(BIN)/python dist

lock: $(VENV)/.develops $(VENV)/.measures $(VENV)/.documents  ## write the versions that are installed into constraints.txt
	@$(BIN)/python -m pip list --format=freeze --exclude fingertrio --exclude pip --exclude setuptools > constraints.txt

clean:  ## remove the virtual environments and the files of tools
	rm -rf $(VENV) .venvs .coverage* dist benchmarks/build .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "fingertrio needs Python 3.11 or newer; name one with PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
		{ echo "this Python has no venv (on Debian: apt-get install python3-venv)" >&2; exit 1; }
	@echo "making $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

# The build of the package itself runs in an environment of its own: PIP_CONSTRAINT pins that one too.
INSTALL = PIP_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --quiet

$(VENV)/.runs: $(BIN)/python pyproject.toml constraints.txt
	@echo "installing fingertrio into $(VENV) ..."
	@$(INSTALL) --editable .
	@touch $@

$(VENV)/.develops: $(BIN)/python pyproject.toml constraints.txt
	@echo "installing fingertrio and its tests' tools into $(VENV) ..."
	@$(INSTALL) --editable '.[dev]'
	@touch $@ $(VENV)/.runs

$(VENV)/.measures: $(VENV)/.develops benchmarks/requirements.txt
	@echo "installing the benchmarks' peers into $(VENV) ..."
	@$(INSTALL) --requirement benchmarks/requirements.txt
	@touch $@

$(VENV)/.breaks: $(VENV)/.develops faults/requirements.txt
	@echo "installing the fuzzer into $(VENV) ..."
	@$(INSTALL) --requirement faults/requirements.txt
	@touch $@

$(VENV)/.documents: $(VENV)/.develops docs/site/requirements.txt
	@echo "installing Sphinx into $(VENV) ..."
	@$(INSTALL) --requirement docs/site/requirements.txt
	@touch $@

.PHONY: transcripts dist deb help run test test-release test-all coverage lint check bench compare faults reference tutorial docs screenshots lock clean
