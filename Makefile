# Every target is a thin call of `atlas` (or of a tool) in .venv. `make help` lists them.

CONFIG ?= data/world.toml
ARGS ?=
PYTHON ?= python3
BIN := .venv/bin
PORT ?= 8000
PAGE ?= index.html
WORKERS ?= 2
ATLAS ?= $(CONFIG:.toml=)
BENCHMARKS ?= mining references explaining memory resume naming gpu_end_to_end

# A path for the shell, whatever it holds: spaces (My Drive), quotes, brackets.
quoted = '$(subst ','\'',$(1))'

.DEFAULT_GOAL := help
.PHONY: help setup atlas serve dev layers check test test-all lint bench world-model architecture screenshots schemas clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | expand -t 14

setup: .venv/ready  ## install everything into .venv

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

atlas: .venv/ready  ## make the whole atlas (CONFIG=data/world.toml, ARGS for more arguments)
	$(BIN)/atlas run --config $(call quoted,$(CONFIG)) $(ARGS)

serve: .venv/ready  ## serve the finished site of CONFIG on this machine (PORT=8000)
	$(BIN)/atlas serve --config $(call quoted,$(CONFIG)) --port $(PORT)

dev: .venv/ready  ## make one page anew in seconds, to see a change (PAGE=index.html, ATLAS=data/world)
	$(BIN)/python -m sitegen.preview $(call quoted,$(ATLAS)) '$(PAGE)'

layers: .venv/ready  ## print the layers of CONFIG's model
	$(BIN)/atlas layers --config $(call quoted,$(CONFIG))

check: lint test  ## all that must hold before a change lands: lint, types, tests (one makes a small atlas from a built wheel)

lint: .venv/ready  ## check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: .venv/ready  ## run the tests, in WORKERS processes
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m 'not slow'

test-all: .venv/ready  ## run all tests, those that take minutes too, and property tests on many new examples
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --hypothesis-profile random

bench: .venv/ready  ## run the benchmarks (minutes to hours; see docs/benchmarks.md)
	for name in $(BENCHMARKS); do echo "== $$name"; $(BIN)/python -m benchmarks.$$name || exit 1; done

world-model: .venv/ready  ## train the built-in world's network again
	$(BIN)/python -m precompute.world.training

architecture: .venv/ready  ## draw docs/images/architecture.svg from the code
	$(BIN)/python docs/draw_architecture.py

screenshots: .venv/ready  ## take the README's screenshots from the default atlas (needs Chromium)
	$(BIN)/python docs/take_screenshots.py

schemas: .venv/ready  ## write docs/schemas anew from the records
	$(BIN)/python -m precompute.stages.schemas docs/schemas

clean:  ## remove what was made: the atlases and sites of data/*.toml, and the tools' caches (not .venv)
	for config in data/*.toml; do $(BIN)/atlas clean --config "$$config" || exit 1; done
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	$(BIN)/atlas clean --config data/world.toml --output build/check/atlas --site build/check/site
