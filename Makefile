# `make` alone lists the targets. Everything below needs a POSIX shell, bash and Python 3.12.
SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help setup demo up test test-slow lint clean reproduce-demo-bundle reproduce-sweep

ENTER := . scripts/env.sh

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 32

setup: ## install what is missing, build the workspace; seconds when nothing has changed
	@scripts/setup.sh

demo: setup ## the simulated robot follows instructions live; prints a table, a video and a report
	@$(ENTER) && finevla demo

up: setup ## the same robot, up until Ctrl-C, with the dashboard
	@$(ENTER) && finevla demo --stay

test: setup lint ## lint and all tests but the slow ones
	@$(ENTER) && pytest -m "not slow"

test-slow: setup ## the tests that take minutes
	@$(ENTER) && pytest -m slow

lint: setup ## ruff, format, mypy --strict
	@$(ENTER) && ruff check . && ruff format --check . && mypy

clean: ## remove what was built here; the environment stays in its cache
	rm -rf build install log out .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

reproduce-demo-bundle: setup ## make the shipped bundle again, from demonstrations to weights
	@$(ENTER) && scripts/reproduce_demo_bundle.sh

reproduce-sweep: setup ## the study of FG:Raw mixes: record, convert, train and evaluate all cells, draw the curve
	@$(ENTER) && scripts/reproduce_sweep.sh
