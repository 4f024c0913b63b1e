# Each word does a whole job on a machine that has Python 3.10 or later and nothing else:
#
#   make demo    run an instrumented service under load; ARGS="--otlp http://localhost:4318" goes to `pool-exporter demo`
#   make test    run the tests; ARGS="-k snapshot" goes to pytest
#   make check   run everything that CI runs: the tests on SQLAlchemy 2.1 and 2.0, ruff, mypy
#   make dashboards  write Grafana's boards and Prometheus' rules again; RUNBOOKS=https://… is where docs/runbooks is published
#   make image   build and run the container images without a Docker engine, as root on Debian, in /tmp/pool-exporter-image
#   make bench   measure the overhead beside the alternatives, on both versions of SQLAlchemy
#   make soak    kill workers and sidecars of real services for minutes, scrape all along, and compare with the truth
#   make fuzz    read worker files with anything in them, a hundred times as many as the tests do
#   make conformance  run SQLAlchemy's own tests of its pools, bare and with every pool watched
#   make clean   remove what the others have made
#
# The first run of each installs what it needs, and no more, into .venv; PYTHON=python3.12 chooses the Python of a new one.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
SOAK_SECONDS ?= 600
FUZZ_FACTOR ?= 100

VENV_SA20 := $(VENV)-sa20

EXTRAS_demo := demo,otel,sidecar
EXTRAS_test := dashboards,demo,deploy,postgres,sidecar,test
EXTRAS_dashboards := dashboards
EXTRAS_bench := bench,demo,test
EXTRAS_dev := dev

.PHONY: demo test test-sa20 lint check dashboards image bench soak fuzz conformance clean
.NOTPARALLEL:  # Two pips in one environment get into each other's way.

demo: $(VENV)/.installed-demo
	@$(VENV)/bin/pool-exporter demo $(ARGS)

test: $(VENV)/.installed-test
	$(VENV)/bin/pytest $(ARGS)

test-sa20: $(VENV_SA20)/.installed-test  # Two minutes of soaking on one version are enough.
	SOAK_SECONDS=20 $(VENV_SA20)/bin/pytest $(ARGS)

lint: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy --strict

check: test test-sa20 lint

dashboards: $(VENV)/.installed-dashboards
	$(VENV)/bin/python -m grafana $(RUNBOOKS)

image:
	deploy/ci/build-image /tmp/pool-exporter-image

bench: $(VENV)/.installed-bench $(VENV_SA20)/.installed-bench
	$(VENV)/bin/python -m tests.bench --python $(VENV)/bin/python --python $(VENV_SA20)/bin/python \
		--output docs/benchmarks.md $(ARGS)

soak: $(VENV)/.installed-test
	SOAK_SECONDS=$(SOAK_SECONDS) $(VENV)/bin/pytest tests/soak -o log_cli_level=INFO $(ARGS)

fuzz: $(VENV)/.installed-test
	FUZZ_FACTOR=$(FUZZ_FACTOR) $(VENV)/bin/pytest tests/property/test_any_file.py $(ARGS)

conformance: $(VENV)/.installed-test $(VENV_SA20)/.installed-test
	$(VENV)/bin/python -m tests.conformance $(ARGS)
	$(VENV_SA20)/bin/python -m tests.conformance $(ARGS)

clean:
	rm -rf $(VENV) $(VENV_SA20) .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# pip is the last thing that venv makes, so that an environment which failed half-way is made again.
$(VENV)/bin/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV_SA20)/bin/pip:
	$(PYTHON) -m venv $(VENV_SA20)

$(VENV)/.installed-%: pyproject.toml | $(VENV)/bin/pip
	@echo "Installing pool-exporter[$(EXTRAS_$*)] into $(VENV), once"
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --editable '.[$(EXTRAS_$*)]'
	@touch $@

$(VENV_SA20)/.installed-%: pyproject.toml | $(VENV_SA20)/bin/pip
	@echo "Installing pool-exporter[$(EXTRAS_$*)] and SQLAlchemy 2.0 into $(VENV_SA20), once"
	@$(VENV_SA20)/bin/pip install --quiet --disable-pip-version-check --editable '.[$(EXTRAS_$*)]' 'sqlalchemy<2.1'
	@touch $@
