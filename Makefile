# Each word does a whole job on a machine that has Python 3.10 or later; what needs more says so:
#
#   make demo    run an instrumented service under load; ARGS="--otlp http://localhost:4318" goes to `pool-exporter demo`
#   make test    run the tests on up to four cores, but for soak and reports; ARGS="-k snapshot" goes to pytest
#   make unit    run the tests of single modules: no server of ours, no load
#   make check   run everything that CI runs: test, instructions, package, the unit tests on every other Python that
#                is found, ruff, mypy, docs and two minutes of soak
#   make instructions  count the instructions of a checkout and its return by valgrind, which it needs, and compare them with the budget
#   make slow    run what takes longer: conformance, reports, ten minutes of soak, fuzz, and all tests on a compiled wheel,
#                on SQLAlchemy 2.0 and on every other Python, also on 3.14 and on free-threaded builds where they are found
#   make compiled  build a wheel, in which the hot path is compiled, install it into .venv-compiled, and run the tests on it;
#                  needs a C compiler, as package does, and nothing else
#   make dashboards  write Grafana's boards and Prometheus' rules again; RUNBOOKS=https://… is where the runbooks are
#   make docs    build the documentation as a site in build/site; a broken link is an error
#   make package  build the sdist, the pure wheel, and a compiled one for each Python that is found, into dist; check their
#                 metadata; run each wheel in a new environment, and the unit tests in the unpacked sdist, on SQLAlchemy 2.0
#   make image   build and run the container images without a Docker engine, as root on Debian, in /tmp/pool-exporter-image
#   make bench   measure the overhead beside the alternatives, on both versions of SQLAlchemy, and of the compiled build
#   make soak    kill workers and sidecars of real services for minutes, scrape all along, and compare with the truth;
#                SOAK_SECONDS=1800 SOAK_BUSY_LOOPS=2 is half an hour beside two busy processes
#   make fuzz    read worker files with anything in them, a hundred times as many as the tests do
#   make reports  replay situations from public bug reports on the servers that have them: gunicorn, uWSGI, Celery, gevent, …
#   make conformance  run the tests of SQLAlchemy's engines, events and asyncio, and those of seven other projects, bare and
#                     with every pool instrumented
#   make clean   remove what the others have made
#
# The first run of each installs what it needs, and no more, into .venv; PYTHON=python3.12 chooses the Python of a new one.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
SOAK_SECONDS ?= 600
SOAK_BUSY_LOOPS ?= 0
FUZZ_FACTOR ?= 100

VENV_SA20 := $(VENV)-sa20
VENV_COMPILED := $(VENV)-compiled
VENV_COMPILED_SA20 := $(VENV)-compiled-sa20

EXTRAS_demo := demo,otel,sidecar
EXTRAS_test := dashboards,demo,deploy,postgres,sidecar,test
EXTRAS_compiled := bench,compile,$(EXTRAS_test)
EXTRAS_dashboards := dashboards
EXTRAS_docs := docs
EXTRAS_package := package
EXTRAS_bench := bench,demo,sidecar,test
EXTRAS_reports := $(EXTRAS_test),reports
EXTRAS_dev := dev

# A worker of pytest-xdist a core and one more (tests/xdist_workers.py), at most four: a machine with more cores would
# only start more servers at once. A file's tests stay together, because they share servers; the longest
# begins first, and the others keep their order, so that many short ones are the last.
# A test of which a program did not start is run once more at the end; in CI, any test of real processes that has failed:
# tests/second_run.py.
SECOND_RUN ?= $(if $(filter true,$(CI)),any,starts)
PYTEST_OPTIONS := --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder --second-run=$(SECOND_RUN)
PYTEST := bin/pytest $(PYTEST_OPTIONS)
NOT_SOAK := --ignore=tests/soak --ignore=tests/integration/reports
NOT_UNIT := $(foreach wing,integration soak faults bench conformance test_demo_end_to_end.py,--ignore=tests/$(wing))

.PHONY: demo test unit test-sa20 unit-sa20 compiled unit-compiled instructions lint check slow dashboards docs package image bench soak fuzz reports conformance clean
.NOTPARALLEL:  # Two pips in one environment get into each other's way.

demo: $(VENV)/.installed-demo
	@$(VENV)/bin/pool-exporter demo $(ARGS)

test: $(VENV)/.installed-test
	$(VENV)/$(PYTEST) $(NOT_SOAK) $(ARGS)

unit: $(VENV)/.installed-test
	$(VENV)/$(PYTEST) $(NOT_UNIT) $(ARGS)

test-sa20: $(VENV_SA20)/.installed-test
	$(VENV_SA20)/$(PYTEST) $(NOT_SOAK) $(ARGS)

unit-sa20: $(VENV_SA20)/.installed-test
	$(VENV_SA20)/$(PYTEST) $(NOT_UNIT) $(ARGS)

compiled: $(VENV_COMPILED)/.installed-wheel
	deploy/ci/test-wheel $(VENV_COMPILED)/bin/python build/compiled $(PYTEST_OPTIONS) $(NOT_SOAK) $(ARGS)

unit-compiled: $(VENV_COMPILED)/.installed-wheel
	deploy/ci/test-wheel $(VENV_COMPILED)/bin/python build/compiled $(PYTEST_OPTIONS) $(NOT_UNIT) $(ARGS)

# unit-pythons and test-pythons run that target on each other Python, in an environment of its own, and name at the end those on
# which it has failed. test-pythons also takes versions that are not supported yet, and free-threaded builds.
%-pythons: $(VENV)/bin/pip
	@deploy/ci/other-pythons $(if $(filter test,$*),--newer) $(VENV)/bin/python | { failed=; while read -r version python; do \
		echo "Python $$version"; \
		$(MAKE) --no-print-directory $* PYTHON="$$python" VENV="$(VENV)-$$version" </dev/null || failed="$$failed $$version"; \
	done; [ -z "$$failed" ] || { echo "make $* has failed on Python$$failed"; exit 1; }; }

instructions: $(VENV)/.installed-test
	$(VENV)/bin/python -m tests.bench.instruction_budget

lint: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy --strict

check:
	$(MAKE) test
	$(MAKE) instructions
	$(MAKE) package
	$(MAKE) unit-pythons
	$(MAKE) lint
	$(MAKE) docs
	$(MAKE) soak SOAK_SECONDS=120

slow: export SHORT_LIVED_WORKERS = 10000
slow: export STORM_KILLS = 18
slow: conformance reports soak fuzz compiled test-sa20 test-pythons  # After reports, which installs it, soak has uWSGI too.

dashboards: $(VENV)/.installed-dashboards
	$(VENV)/bin/python -m grafana $(if $(RUNBOOKS),--runbooks $(RUNBOOKS))

docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict

# The sdist's tests run on SQLAlchemy 2.0: so `make check` needs no unit-sa20 beside it.
package: $(VENV)/.installed-package $(VENV_SA20)/.installed-test
	rm -rf build/package
	deploy/build-wheels $(VENV)/bin/python dist
	$(VENV)/bin/twine check --strict dist/*
	deploy/ci/try-wheels $(VENV)/bin/python dist build/package
	deploy/ci/test-sdist $(VENV_SA20)/bin/python dist/*.tar.gz build/package/sdist $(PYTEST_OPTIONS) $(NOT_UNIT) $(ARGS)

image:
	deploy/ci/build-image /tmp/pool-exporter-image

# Budgets that are missed end it after all pages are written, the numbers in sentences included.
bench: $(VENV)/.installed-bench $(VENV_SA20)/.installed-bench $(VENV_COMPILED_SA20)/.installed-wheel
	$(VENV)/bin/python -m tests.bench $(foreach each,$(VENV) $(VENV_SA20) $(VENV_COMPILED) $(VENV_COMPILED_SA20),--python $(each)/bin/python) \
		--output docs/benchmarks.md $(ARGS); code=$$?; \
	$(VENV)/bin/python -m tests.bench.sidecar --output docs/benchmarks-sidecar.md && \
	$(VENV)/bin/python -m tests.bench.otel --output docs/benchmarks-otel.md && \
	$(VENV)/bin/python -m tests.bench.sizing --output docs/benchmarks-sizing.md && \
	$(VENV)/bin/python -m tests.docs && exit $$code

soak: $(VENV)/.installed-test
	SOAK_SECONDS=$(SOAK_SECONDS) SOAK_BUSY_LOOPS=$(SOAK_BUSY_LOOPS) $(VENV)/bin/pytest tests/soak --log-cli-level=INFO $(ARGS)

fuzz: $(VENV)/.installed-test
	FUZZ_FACTOR=$(FUZZ_FACTOR) $(VENV)/bin/pytest --timeout 0 tests/property/test_any_file.py $(ARGS)

reports: $(VENV)/.installed-reports
	$(VENV)/bin/pytest -m reports tests/integration/reports $(ARGS)

conformance: $(VENV)/.installed-test $(VENV_SA20)/.installed-test
	$(VENV)/bin/python -m tests.conformance $(ARGS)
	$(VENV_SA20)/bin/python -m tests.conformance $(ARGS)
	$(VENV)/bin/python -m tests.conformance.projects

clean:
	rm -rf $(VENV) $(VENV)-* .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# pip is the last thing that venv makes, so that an environment which failed half-way is made again.
$(VENV)/bin/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV_SA20)/bin/pip:
	$(PYTHON) -m venv $(VENV_SA20)

$(VENV_COMPILED)/bin/pip:
	$(PYTHON) -m venv $(VENV_COMPILED)

# The wheel is built and installed each time, since its sources are those of the repository.
$(VENV_COMPILED)/.installed-wheel: FORCE | $(VENV_COMPILED)/bin/pip
	@echo "Building a wheel and installing it into $(VENV_COMPILED)"
	@rm -rf build/wheel
	@$(VENV_COMPILED)/bin/pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir build/wheel .
	@$(VENV_COMPILED)/bin/pip uninstall --quiet --disable-pip-version-check --yes pool-exporter 2>/dev/null
	@$(VENV_COMPILED)/bin/pip install --quiet --disable-pip-version-check "$$(ls build/wheel/*.whl)[$(EXTRAS_compiled)]"
	@cd build && $(abspath $(VENV_COMPILED))/bin/python -c 'import pool_exporter, sys; sys.exit(not pool_exporter.is_compiled)'

# The same wheel beside SQLAlchemy 2.0, for `bench`.
$(VENV_COMPILED_SA20)/.installed-wheel: $(VENV_COMPILED)/.installed-wheel
	@[ -x $(VENV_COMPILED_SA20)/bin/pip ] || $(PYTHON) -m venv $(VENV_COMPILED_SA20)
	@$(VENV_COMPILED_SA20)/bin/pip uninstall --quiet --disable-pip-version-check --yes pool-exporter 2>/dev/null
	@$(VENV_COMPILED_SA20)/bin/pip install --quiet --disable-pip-version-check \
		"$$(ls build/wheel/*.whl)[$(EXTRAS_bench)]" 'sqlalchemy<2.1'

FORCE:

$(VENV)/.installed-%: pyproject.toml | $(VENV)/bin/pip
	@echo "Installing pool-exporter[$(EXTRAS_$*)] into $(VENV), once"
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --editable '.[$(EXTRAS_$*)]'
	@touch $@

$(VENV_SA20)/.installed-%: pyproject.toml | $(VENV_SA20)/bin/pip
	@echo "Installing pool-exporter[$(EXTRAS_$*)] and SQLAlchemy 2.0 into $(VENV_SA20), once"
	@$(VENV_SA20)/bin/pip install --quiet --disable-pip-version-check --editable '.[$(EXTRAS_$*)]' 'sqlalchemy<2.1'
	@touch $@
