# Every target does the set-up it needs (tools/setup): Debian packages, .venv, the compiled kernels. To begin: make run
VENV ?= .venv
SETUP ?= tools/setup
PORT ?= 8340
ADMIN_PORT ?= 8341
UPSTREAM ?=
ARGS ?=
PYTHON := $(VENV)/bin/python
export VENV

.PHONY: help install run test lint bench loadtest chaos resilience ledger-chaos ledger-targets shared residency fuzz \
	sanitize wheel clean

help:  ## shows the targets
	@sed -n 's/^\([a-z-]*\):.*## /make \1|/p' Makefile | awk -F'|' '{ printf "%-16s %s\n", $$1, $$2 }'

install:  ## the gateway in .venv
	@$(SETUP) run

run:  ## the gateway with a demo model on 127.0.0.1:8340, or with UPSTREAM=http://host:port/v1
	@$(SETUP) run
	@exec $(PYTHON) -P -m fastpath.cli demo --port $(PORT) --admin-port $(ADMIN_PORT) \
		$(if $(UPSTREAM),--upstream '$(UPSTREAM)')

test:  ## all tests; ARGS are pytest's
	@$(SETUP) test
	@PYTHON=$(PYTHON) tools/test $(ARGS)

lint:  ## style, types, layers, stubs
	@$(SETUP) lint
	@PYTHON=$(PYTHON) tools/lint

bench:  ## the race and all other measurements; ARGS are those of bench/run.py
	@$(SETUP) bench
	@$(PYTHON) -m bench.run $(ARGS)

loadtest:  ## loads of real shapes with latency objectives, cancels and faults; ARGS are those of tools/loadtest
	@$(SETUP) loadtest
	@PYTHON=$(PYTHON) tools/loadtest $(ARGS)

chaos:  ## random kills and faults under load, judged by the logs; ARGS are those of tools/chaos
	@$(SETUP) loadtest
	@PYTHON=$(PYTHON) tools/chaos $(ARGS)

resilience:  ## 30 minutes of kills, hangs, slowness and errors of model servers: who notices; ARGS="--minutes 5"
	@$(SETUP) test
	@$(PYTHON) -m loadtest.resilience $(ARGS)

ledger-chaos:  ## 10,000 requests that go wrong, 200 workers killed, on both stores: the books must add up
	@$(SETUP) test
	@$(PYTHON) -m loadtest.ledger $(ARGS)

ledger-targets:  ## the books' fault rows at full size: PostgreSQL away for a minute, 1,000 keys, 200 kills
	@$(SETUP) test
	@FASTPATH_FULL=1 FASTPATH_KILLS=200 $(PYTHON) -m pytest tests/controlplane/faults \
		tests/controlplane/ledger/test_kills.py tests/controlplane/settlement/test_kills.py $(ARGS)

shared:  ## two nodes race for a budget through a real Redis, 100 times
	@$(SETUP) test
	@FASTPATH_REPETITIONS=100 $(PYTHON) -m pytest tests/shares/test_nodes.py -k sixty_four --timeout 900 $(ARGS)

residency:  ## 5,000 requests that must stay home, walls up and down: nothing may leave; ARGS are those of loadtest.residency
	@$(SETUP) test
	@$(PYTHON) -m loadtest.residency $(ARGS)

sanitize:  ## kernels under AddressSanitizer and UBSan through unit tests, fuzz replay and contract tests
	@$(SETUP) test
	@PYTHON=$(PYTHON) tools/sanitize $(ARGS)

fuzz:  ## every fuzz target for ARGS seconds (600)
	@$(SETUP) fuzz
	@PYTHON=$(PYTHON) tools/fuzz $(ARGS)

wheel:  ## dist/*.whl
	@$(SETUP) wheel
	@$(PYTHON) -m build --wheel --outdir dist .

clean:  ## what was built, .venv included
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find _native backends controlplane fastpath scheduler \( -name "*.so" -o -name "*.c" \) -delete
