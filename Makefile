# Each target sets up what it needs in .venv; nothing has to be installed by hand.
PORT ?= 8000
PYTEST_ARGS ?=

.PHONY: run test test-fast lint bench docs clean

run:
	@tools/set-up lab
	@.venv/bin/python -m jupyterhub.cli.demo --port $(PORT)

test: lint
	@tools/set-up lab,postgres,test
	@tools/set-up-browser
	@tools/set-up-programs pebble
	.venv/bin/python -m pytest $(PYTEST_ARGS)

lint:
	@tools/set-up lab,postgres,test
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

bench:
	@tools/set-up lab,postgres,test
	@bench/run

docs:
	@tools/set-up docs
	.venv/bin/sphinx-build -q -W docs docs/_build/html
	@echo "open docs/_build/html/index.html"

clean:
	rm -rf .venv .venv-plugins .demo artifacts docs/_build
