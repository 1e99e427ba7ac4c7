# The commands for people; each is a script in scripts/. `make` alone lists them.

.DEFAULT_GOAL := help
.PHONY: help demo stop test deep lint bench install uninstall clean
# cargo would take make's job server for its own.
unexport MAKEFLAGS

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## install what is missing, build, start a PostgreSQL and a Redis of its own, show what the cache does
	@scripts/demo.sh

stop: ## end the demo's servers
	@scripts/stop.sh

test: ## run every test; T=name: only those in tests/name*, or else those named so; ENGINE=name: only with it; ARGS=…: for the test programs
	@scripts/test.sh

deep: ## fuzz and check vcache-core for hours, with nightly Rust; RUNS=n: inputs for each fuzz target
	@scripts/deep.sh

lint: ## check the formatting, the code and the scripts
	@scripts/lint.sh

bench: ## measure the cache against none and one made by hand, its hits, Redis' failures; ARGS='--only hits outage': these parts alone; writes bench/results (an hour or less)
	@scripts/bench.sh

install: ## build RuVector and vcache and install them in the system's PostgreSQL 15
	@scripts/deps.sh
	@scripts/ruvector.sh
	@scripts/build.sh
	@scripts/install.sh

uninstall: ## remove vcache's files from the system's PostgreSQL 15
	@scripts/uninstall.sh

clean: stop ## remove everything that was built, and end the demo's servers
	@cargo clean
