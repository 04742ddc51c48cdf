# What a newcomer needs: `make demo`, `make test`. Only Python 3.11+ and make have to be there.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo demo-webhooks kill-test run test test-fresh lint format peers suites docs fuzz soak bench clean sbom audit deb deb-test

demo: $(VENV)/made
	$(BIN)/python examples/demo.py

# Durable webhooks: a receiver that fails, a kill -9, the retry, a dead letter, a replay.
demo-webhooks: $(VENV)/made-deliver
	$(BIN)/python examples/webhooks/demo.py

# Deliveries while deliver, gateway and PostgreSQL are killed a thousand times; half an hour or more
# for each store. KILL_TEST_ARGS="--messages 2000 --kills 20" for less.
kill-test: $(VENV)/made-dev
	$(BIN)/python -m tests.labs.killing --store sqlite $(KILL_TEST_ARGS)
	$(BIN)/python -m tests.labs.killing --store postgresql $(KILL_TEST_ARGS)

# The daemon in the foreground on zurl.conf.example. Its sockets go where that says, /run/zurl, if
# you may write there, and else into the directory that is printed.
RUN_DIR ?= $(shell test -w /run && echo /run/zurl || echo "$${XDG_RUNTIME_DIR:-/tmp}/zurl")
run: $(VENV)/made
	mkdir -p $(RUN_DIR)
	sed 's|ipc:///run/zurl/|ipc://$(RUN_DIR)/|' zurl.conf.example > $(RUN_DIR)/zurl.conf
	$(BIN)/zurl-py serve --config $(RUN_DIR)/zurl.conf

# A file of tests runs in one process, files side by side in as many as there are processors.
# A few that fail beside others are run once more by themselves.
PYTEST_ARGS ?= --numprocesses auto --dist loadfile
test: $(VENV)/made-dev
	PYTHON=$(BIN)/python sh tools/run-tests.sh $(PYTEST_ARGS)
	$(BIN)/python -m coverage combine -q
	$(BIN)/python -m coverage report --skip-covered --sort=cover $(COVERAGE_ARGS)

# The README's commands in a clean Debian that has Python and make alone; needs root.
# SUITE=trixie for Debian 13.
test-fresh:
	sh tools/test-fresh.sh $(SUITE)

lint: $(VENV)/made-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/made-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The real programs that the tests run against, from Debian's packages; needs root.
peers:
	sh tools/install-peers.sh
	sh tests/labs/suites/setup.sh .suites

# The documentation as a site, in build/docs; a warning is an error.
docs: $(VENV)/made-dev
	$(BIN)/python -m sphinx --fail-on-warning --keep-going -q -b html docs build/docs

# Fuzzing for longer than the tests do: each target for FUZZ_SECONDS, then a million damaged messages
# against a running daemon.
FUZZ_SECONDS ?= 60
fuzz: $(VENV)/made-dev
	$(BIN)/python -m tests.labs.fuzz.run --seconds $(FUZZ_SECONDS)
	$(BIN)/python -c 'from tests.labs.fuzz.live import fuzz; print(fuzz(1_000_000, 1))'

# The laboratory of faults for as long as SECONDS says, by chance; SEED=N repeats a run.
SECONDS ?= 600
SEED ?= 1
soak: $(VENV)/made-dev
	$(BIN)/python -m tests.labs.faults ours --seconds $(SECONDS) --seed $(SEED)

# The suites of requests, httpx and HTTPie with our classes in the place of theirs; needs root.
suites: $(VENV)/made-dev
	sh tests/labs/suites/setup.sh .suites
	$(BIN)/python -m tests.labs.suites.run $(SUITES)

bench: $(VENV)/made-dev
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

# What travels in the Debian package, as CycloneDX.
sbom: $(VENV)/made
	mkdir -p dist
	$(BIN)/python tools/sbom.py > dist/sbom.cdx.json

# The pinned packages against the advisories that PyPI knows of; asks the network. AUDIT_ARGS may name
# another service: -s osv --osv-url URL
audit: $(VENV)/made
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(BIN)/python -m pip_audit --requirement debian/requirements.txt --require-hashes --disable-pip $(AUDIT_ARGS)

# The Debian package, into dist/; needs root where something is missing for the build.
deb:
	sh tools/build-deb.sh

# Built, installed, used, upgraded, removed and purged in a clean Debian, and run as a service of a
# booted one; needs root. SUITE=trixie for Debian 13.
deb-test:
	sh tools/test-deb.sh $(SUITE)

# What the daemon needs, in an environment of its own; made again when that changes.
$(VENV)/made: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

# With what zurl-py deliver needs beside.
$(VENV)/made-deliver: $(VENV)/made
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[deliver]'
	touch $@

# And what its development needs.
$(VENV)/made-dev: $(VENV)/made
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis
