# make demo   train a fused model on real pictures, captions and speech, and see it answer
# make test   everything that CI runs: build, ctest, pytest, format, layers
SHELL := /bin/bash
.DEFAULT_GOAL := help

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 14

setup: ## Debian packages, .venv, build, Python package
	@tools/setup.sh packages venv build install

build: setup ## the same as setup

demo: setup ## train, evaluate and report on real data (about 20 minutes from nothing)
	@.venv/bin/plait demo --output build/demo

dev: ## everything that the tests need besides
	@tools/setup.sh packages venv_dev build install
	@tools/test_data.sh

test: dev ## build, ctest, pytest, format and layer checks
	@tools/check_layers.py
	@tools/check_format.sh
	@ctest --test-dir build --output-on-failure -LE slow
	@.venv/bin/python -m pytest -q tests/python -m "not slow"

test-all: dev ## with the slow tests
	@tools/check_layers.py
	@tools/check_format.sh
	@ctest --test-dir build --output-on-failure
	@.venv/bin/python -m pytest -q tests/python

format: ## rewrite the sources in the house style
	@tools/check_format.sh --fix

lint: ## clang-tidy, and every header compiled alone
	@tools/lint.sh

sanitize: ## unit tests and fuzz targets under ASan and UBSan
	@tools/sanitize.sh

docs: ## API reference (Doxygen) into build/docs
	@tools/docs.sh

clean: ## remove the build tree
	@rm -rf build

.PHONY: help setup build demo dev test test-all format lint sanitize docs clean
