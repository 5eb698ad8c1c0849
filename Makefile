# What a newcomer, a developer and CI run. Needs make and Python 3.11 or newer; `make help` lists the targets.

VENV ?= .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?=
# Many tests wait for programs they start, so there may be more workers than cores.
WORKERS ?= 4
SIDE_BY_SIDE := -n $(WORKERS) --dist loadfile
# Of lines and branches, in per cent, of what is installed; the modules beside the rooms are in none.
FLOORS := cli:98 collect:98 config:98 demo:98 expose:97 fleet:98 platform:98 service:98 web:98
# Whatever asks Prometheus, promtool, Alertmanager or amtool something.
COMPAT := $(addprefix tests/contract/test_,rules.py rules_routing.py rules_without_hold.py chart_validation.py compose.py) \
	tests/golden \
	$(addprefix tests/integration/test_,servers.py prometheus.py dashboards.py alerts.py vmalert.py vmagent.py autoscaling.py web_config.py)
DEMO_ARGS ?=
LOCK_ARGS ?=
PREVIEW_ARGS ?=

# What the system has goes first; tools/get-prometheus fetches what it lacks.
export PATH := $(PATH):$(CURDIR)/.tools/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# Exactly the wheels of a lock: nothing is resolved, nothing is built, and what is missing fails.
PIP := $(BIN)/python -m pip
LOCKED := $(PIP) install --quiet --require-hashes --no-deps --only-binary=:all:
COMPILE := UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet --universal --generate-hashes \
	--python-version 3.11 $(LOCK_ARGS)
# Folders too: a deleted file changes nothing but its folder.
SCRIPTS := .ci/run tools/get-prometheus tools/image-test tools/make-venv
SOURCES := pyproject.toml README.md LICENSE $(shell find exporter -name __pycache__ -prune -o -print)

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: demo test image-test lint generate bench coverage compat lock clean help

demo: $(VENV)/.wheel ## serve a simulated GPU fleet's metrics on http://127.0.0.1:10042/
	$(BIN)/cyberun-exporter demo $(DEMO_ARGS)

test: ## install, then run every check and test, seven minutes long; PYTEST_ARGS narrows the last step
	@echo "Every check and test, about seven minutes on two cores, with half a minute to install on the first run."
	@$(MAKE) --no-print-directory lint
	tools/get-prometheus
	$(BIN)/pytest $(SIDE_BY_SIDE) $(PYTEST_ARGS)

image-test: $(VENV)/.dev $(VENV)/.wheel ## build the image with docker or podman and test the container; see docs/image.md
	BIN=$(BIN) tools/image-test $(PYTEST_ARGS)

lint: $(VENV)/.dev $(VENV)/.wheel ## check style, types, workflows and generated files
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/yamllint --strict .
	$(BIN)/actionlint -shellcheck=$(BIN)/shellcheck -pyflakes= .github/workflows/*.yml
	@if [ -x $(BIN)/shellcheck ]; then $(BIN)/shellcheck $(SCRIPTS); else echo "No shellcheck for this machine: scripts are not checked"; fi
	$(BIN)/zizmor --offline --no-progress --quiet .github
	$(BIN)/python tools/generate.py --check

generate: $(VENV)/.dev $(VENV)/.wheel ## write the generated files anew
	$(BIN)/python tools/generate.py

bench: $(VENV)/.dev $(VENV)/.wheel ## measure scrapes and polls; ratios within one run
	@set -e; for script in bench/*.py; do echo "== $$script"; $(BIN)/python "$$script"; done

coverage: $(VENV)/.dev $(VENV)/.wheel ## run the unit tests and list the branches they miss; each room has a floor
	$(BIN)/pytest $(SIDE_BY_SIDE) --cov --cov-report=term tests/unit
	@failed=; for floor in $(FLOORS); do \
		room=$${floor%:*} least=$${floor#*:}; \
		found=$$($(BIN)/coverage report --include="*/exporter/$$room/*" --precision=0 --format=total); \
		echo "exporter/$$room: $$found %, at least $$least"; \
		[ "$$found" -ge "$$least" ] || failed="$$failed $$room"; \
	done; [ -z "$$failed" ] || { echo "covered too little:$$failed" >&2; exit 1; }

compat: $(VENV)/.dev $(VENV)/.wheel ## test with the newest Prometheus, Alertmanager and VictoriaMetrics of any Debian suite
	tools/get-prometheus
	tools/get-prometheus --newest
	CI=1 PATH="$(CURDIR)/.tools/compat/bin:$$PATH" $(BIN)/pytest $(SIDE_BY_SIDE) $(COMPAT)
	CI=1 PATH="$(CURDIR)/.tools/compat/bin:$$PATH" TEST_SERVER=victoria-metrics \
		$(BIN)/pytest $(SIDE_BY_SIDE) tests/integration/test_dashboards.py
	CI=1 $(BIN)/pytest $(SIDE_BY_SIDE) tests/compat

lock: $(VENV)/.dev ## pin the dependencies anew; LOCK_ARGS=--upgrade takes the newest
	$(COMPILE) pyproject.toml -o requirements/runtime.txt
	$(COMPILE) requirements/build.in -c requirements/runtime.txt -o requirements/build.txt
	$(COMPILE) pyproject.toml requirements/dev.in -c requirements/runtime.txt -c requirements/build.txt -o requirements/dev.txt
	@set -e; for python in $$(tools/make-venv --supported); do for machine in x86_64 aarch64; do \
		echo "Looking for the wheels for Python $$python on $$machine"; \
		$(BIN)/uv pip install --quiet --dry-run --target $(VENV)/none --require-hashes --no-deps --no-build \
			--python-version $$python --python-platform $$machine-manylinux_2_28 -r requirements/dev.txt; \
	done; done

clean: ## remove everything that make made
	rm -rf $(VENV) .tools dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Each stamp stands for one step that was done; a second run repeats only what changed.

$(VENV)/.made:
	tools/make-venv $(VENV)
	@touch $@

$(VENV)/.runtime: requirements/runtime.txt requirements/build.txt | $(VENV)/.made
	$(LOCKED) -r requirements/runtime.txt -r requirements/build.txt
	@touch $@

$(VENV)/.dev: requirements/dev.txt | $(VENV)/.runtime
	$(LOCKED) -r requirements/dev.txt
	$(PIP) check
	@touch $@

# The wheel is what is served and tested, never the source folder. What it asks for must be in the lock.
$(VENV)/.wheel: $(SOURCES) $(VENV)/.runtime
	rm -rf dist
	$(BIN)/python -m hatchling build -t wheel
	$(PIP) install --quiet --no-index --no-deps --force-reinstall dist/*.whl
	$(PIP) check
	@touch $@
