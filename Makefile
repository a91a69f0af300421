# One verb for each thing a developer does here. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help setup demo serve test style types imports tests bench lock format docs image

BIN := .venv/bin
UV := $(BIN)/uv
# Two processes, each with servers of its own; the tests of a file stay together, because they share what is slow to make.
AT_ONCE := -n 2 --dist loadfile
BENCHES := $(sort $(filter-out %_server,$(patsubst bench/%.py,%,$(shell grep -ls '__main__' bench/*.py))))

help: ## list the verbs
	@sed -nE 's/^([a-z]+):[^#]*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## create .venv with everything the other verbs need
	@scripts/setup

demo: setup ## hear an agent hold a call, with no account and no server
	@$(BIN)/voice-agent demo

serve: setup ## answer real calls with the accounts in .env
	@$(BIN)/voice-agent serve

test: setup style types imports ## everything that must hold before a change goes in
	@$(BIN)/voice-agent settings --check docs/settings.md
	@$(BIN)/python scripts/turn_diagram.py --check docs/turn-machine.md
	@$(BIN)/pytest $(AT_ONCE) --cov --cov-report=term-missing:skip-covered

style: ## lint and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: ## static types, strict
	@$(BIN)/mypy

imports: ## who may import whom
	@$(BIN)/lint-imports --no-logo

tests: ## the tests alone
	@$(BIN)/pytest $(AT_ONCE)

bench: setup ## every benchmark, one after another; results in data/bench/
	@mkdir -p data/bench
	@for name in $(BENCHES); do $(BIN)/python -m bench.$$name --json data/bench/$$name.json || exit 1; done

format: ## mend formatting and what the linter can mend
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

image: setup ## build the image in a clean Debian root and prove it: needs root and no container engine
	@$(BIN)/python scripts/image.py

docs: ## write the generated pages again
	@$(BIN)/voice-agent settings > docs/settings.md
	@$(BIN)/python scripts/turn_diagram.py > docs/turn-machine.md
	@$(BIN)/voice-agent openapi > docs/openapi.json

lock: ## resolve the requirements again, keeping pins that still fit (UPGRADE=1 takes the newest)
	@$(UV) pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-header $(if $(UPGRADE),--upgrade) \
		--generate-hashes pyproject.toml --extra local --extra vad --extra s3 --output-file requirements/runtime.txt
	@echo 'hatchling>=1.27' | $(UV) pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-header \
		$(if $(UPGRADE),--upgrade) --generate-hashes - --output-file requirements/build.txt
	@$(UV) pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-header $(if $(UPGRADE),--upgrade) \
		pyproject.toml --extra local --extra vad --extra s3 --group dev --constraints requirements/runtime.txt --output-file requirements/dev.txt
