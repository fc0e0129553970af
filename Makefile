# make demo   train a fused model on real pictures, captions and speech, and see it answer
# make test   everything that CI runs: build, format, layers, ctest, pytest
SHELL := /bin/bash
.DEFAULT_GOAL := help

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 14

setup: ## Debian packages, .venv, the libraries, the command line and the Python package
	@tools/setup.sh packages venv app install

demo: setup ## train, evaluate and report on real data (about 20 minutes from nothing)
	@.venv/bin/plait demo --output build/demo

dev: ## the same as setup, with tests, their requirements and their data
	@tools/setup.sh packages venv_dev build install
	@tools/test_data.sh

build: dev ## the same as dev

checks: ## layers, repository, documents, format, headers alone
	@tools/check_layers.py
	@tools/check_repo.py
	@tools/check_docs.py
	@tools/check_format.sh
	@tools/lint.sh headers

test: dev checks ## build, checks, ctest, pytest
	@ctest --test-dir build --output-on-failure -LE slow
	@OMP_WAIT_POLICY=passive .venv/bin/python -m pytest -q -n 2 --dist loadfile tests/python -m "not slow"

test-all: dev checks ## with the slow tests
	@ctest --test-dir build --output-on-failure
	@OMP_WAIT_POLICY=passive .venv/bin/python -m pytest -q -n 2 --dist loadfile tests/python

format: ## rewrite the sources in the house style
	@tools/check_format.sh --fix

lint: dev ## every header compiled alone, and clang-tidy
	@tools/setup.sh packages_lint
	@tools/lint.sh

sanitize: ## unit tests and fuzz targets under ASan and UBSan
	@tools/sanitize.sh

docs: ## API reference (Doxygen) into build/docs
	@tools/docs.sh

clean: ## remove the build tree
	@rm -rf build

.NOTPARALLEL:
.PHONY: help setup demo dev build checks test test-all format lint sanitize docs clean
