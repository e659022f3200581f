# The commands people type; `make` alone lists them.

.DEFAULT_GOAL := help
SHELL := /bin/sh
# A fresh rustup is not on PATH before the next login.
export PATH := $(PATH):$(HOME)/.cargo/bin
CARGO ?= cargo
# Compose v2 where there is one, else the older docker-compose.
COMPOSE ?= $(shell if docker compose version >/dev/null 2>&1; then echo docker compose; else echo docker-compose; fi)
# What make demo starts, of: demo observability logs blackbox.
PROFILES ?= demo observability
EVERY_PROFILE = --profile demo --profile observability --profile logs --profile blackbox

.PHONY: help
help: ## This list
	@sed -n 's/^\([a-z][a-z0-9_-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F '|' '{ printf "%-22s %s\n", $$1, $$2 }'

.PHONY: run
run: ## Run everything in one process: worker, api and a private Postgres (settings: .env)
	@scripts/setup.sh run
	@scripts/dashboard.sh if-possible
	$(CARGO) run --release --locked

.PHONY: dashboard
dashboard: ## Build the dashboard into dashboard/dist; the next cargo build takes it in
	@scripts/dashboard.sh build

.PHONY: test
test: ## Run every test
	@scripts/setup.sh test
	@scripts/test.sh

.PHONY: e2e
e2e: ## Try the dashboard in a Chromium, against a real lookout (about a minute)
	@scripts/setup.sh run
	@scripts/setup.sh browser
	@scripts/dashboard.sh build
	$(CARGO) build --locked -p cli
	@scripts/dashboard.sh e2e

.PHONY: demo
demo: ## Start the demonstration in containers (PROFILES="demo observability logs blackbox" for all of it)
	@COMPOSE='$(COMPOSE)' scripts/demo.sh up $(PROFILES)

.PHONY: generate-traffic
generate-traffic: ## Call the functions of the demonstration for half a minute (DEMO_RATE, DEMO_DURATION)
	@COMPOSE='$(COMPOSE)' scripts/demo.sh traffic

.PHONY: run_local
run_local: ## Run the demonstration without containers: functions to watch, one broken and mended
	@scripts/setup.sh run
	@scripts/dashboard.sh if-possible
	$(CARGO) build --release --locked
	@scripts/run_local.sh

.PHONY: bench
bench: ## Measure everything beside bare loops and other monitors, into bench/RESULTS.md (under 15 minutes)
	@scripts/setup.sh build
	$(CARGO) build --release --locked -p worker -p api -p cli -p bench-load -p bench-replay
	$${CARGO_TARGET_DIR:-target}/release/bench-load

.PHONY: bench-large
bench-large: ## The same windows over 100 M rows as over 1 M (ROWS=10000000 for fewer; some 15 GB of disk)
	@scripts/setup.sh build
	$(CARGO) build --release --locked -p bench-load
	$${CARGO_TARGET_DIR:-target}/release/bench-load large

.PHONY: faults
faults: ## Break things while targets are probed, and write docs/FAULTS.md (about half an hour)
	@scripts/setup.sh faults
	$(CARGO) build --release --locked -p bench-faults
	$${CARGO_TARGET_DIR:-target}/release/bench-faults --write docs/FAULTS.md

.PHONY: lint
lint: ## Check format, clippy and docs; a warning fails
	@scripts/setup.sh build
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --locked

.PHONY: audit
audit: ## Check licences, forbidden crates and sources of what is built in (needs cargo-deny)
	@command -v cargo-deny >/dev/null || { echo 'lookout: no cargo-deny found: cargo install --locked cargo-deny' >&2; exit 1; }
	$(CARGO) deny --locked check licenses bans sources

.PHONY: fuzz
fuzz: ## Fuzz the readers, RUNS (10000000) inputs each (needs a nightly compiler and cargo-fuzz)
	@scripts/fuzz.sh

.PHONY: schemathesis
schemathesis: ## Hold a running api against its OpenAPI document (under a minute; takes schemathesis from PyPI)
	@scripts/setup.sh run
	$(CARGO) build --locked -p cli
	@scripts/schemathesis.sh

.PHONY: fmt
fmt: ## Format the code
	$(CARGO) fmt --all

.PHONY: contract
contract: ## Write dashboard/contract anew from what the api answers
	@scripts/setup.sh test
	CONTRACT=write $(CARGO) test --locked -p api --lib contract

.PHONY: sqlx
sqlx: ## Refresh .sqlx after a change to a query or a migration
	@scripts/setup.sh test
	@scripts/sqlx.sh

.PHONY: compose-up
compose-up: ## Build and start db, api, worker and fantastic in containers
	$(COMPOSE) up -d --build

.PHONY: logs
logs: ## Follow the logs of the containers
	$(COMPOSE) $(EVERY_PROFILE) logs -f --tail 100

.PHONY: kill
kill: ## Stop and remove the containers, of every profile; the data stays
	$(COMPOSE) $(EVERY_PROFILE) down --remove-orphans

.PHONY: hooks
hooks: ## Check format and clippy before each commit of this checkout
	git config core.hooksPath .githooks
