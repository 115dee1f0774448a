# `make demo` and `make test` set everything up by themselves on Debian 12, as root or not.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.set-up
LOCK   := $(BIN)/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe --no-emit-options \
          --no-emit-index-url --no-emit-trusted-host --no-emit-find-links
# One worker more than processors: tests wait for programs as much as they compute. Unit tests come last, as
# they are collected: their modules are short, and no worker is left alone with a long one.
PYTEST := $(BIN)/pytest -rsfE --numprocesses=$(shell expr $$(nproc) + 1) --maxprocesses=5 --dist=loadscope --no-loadscope-reorder
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Where nothing compiled is kept, each of the hundreds of programs that tests start compiles Edgeward anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-all check bench reference release lock setup tools clean
.DELETE_ON_ERROR:

help:
	@echo 'make demo [ONCE=1]  see it work on loopback; with ONCE=1 end after one round'
	@echo 'make test           checks, and all tests but the slow ones'
	@echo 'make test-all       checks, and all tests'
	@echo 'make check          lint, format, types, import rules'
	@echo 'make bench          speed and memory beside nginx, HAProxy, Caddy and bare Envoy'
	@echo 'make reference      write docs/ reference pages from the code'
	@echo 'make release        the package, its bill of materials (CycloneDX) and their sums, in dist/'
	@echo 'make lock           pin the newest versions of what we depend on'

demo: $(STAMP)
	$(BIN)/edgeward demo $(if $(ONCE),--once)

# The same examples each time, so that what fails for a change is of that change; test-all draws new ones.
test: check tools
	$(PYTEST) -m 'not slow' --hypothesis-profile=repeatable $(ARGS)

test-all: check tools
	$(PYTEST) $(ARGS)

check: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP) tools
	$(BIN)/python -m benchmarks $(ARGS)

reference: $(STAMP)
	$(BIN)/python -m docs.generate_reference

release: $(STAMP)
	rm -rf dist build
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .
	cp requirements.lock dist/
	$(BIN)/python deploy/release/sbom.py dist
	cd dist && sha256sum * >SHA256SUMS

lock: $(STAMP)
	$(LOCK) --upgrade --output-file requirements.lock pyproject.toml
	$(LOCK) --upgrade --output-file requirements-dev.lock requirements-dev.in

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(STAMP): requirements.lock requirements-dev.lock pyproject.toml .ci/set-up
	.ci/set-up program '$(PYTHON)' $(VENV)
	@touch $@

setup: $(STAMP) tools

# What others are compared with; says what it has to leave out, each time.
tools:
	@.ci/set-up tools & installing=$$!; .ci/set-up foreign '$(PYTHON)'; done=$$?; wait $$installing && exit $$done
