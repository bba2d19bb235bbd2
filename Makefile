# `make` lists the targets. Each says what it is doing, and skips what is done.
SHELL := /bin/bash
.DELETE_ON_ERROR:

TARGET   ?= $(shell uname -m)-unknown-linux-gnu
STATIC   := RUSTFLAGS='-C target-feature=+crt-static'
# How many of the tests on real pods run at a time.
TEST_THREADS ?= 4
CLUSTER  := tests/cluster
IN       := $(if $(POSTERN_LOAD_IMAGE),,$(CLUSTER)/run.sh)
IMAGES   := tests/images/build.sh

# No dependency asks for the random source that this would build, slowly.
export AWS_LC_SYS_NO_JITTER_ENTROPY := 1

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: load ## a real Kubernetes, Postern on it, and the attempts to walk around the lock
	cargo build --locked -p postern-tests --bin demo
	$(IN) cargo run --locked --offline --quiet -p postern-tests --bin demo

.PHONY: test
test: lint check-generated licences unit check-tracing check-chart check-admission servers costs e2e ## everything: what CI runs

.PHONY: prerequisites
prerequisites: ## install or name what this machine lacks
	@tests/prerequisites.sh

.PHONY: fmt
fmt: ## format the Rust sources
	cargo fmt --all

.PHONY: lint
lint: prerequisites ## rustfmt and clippy, without a warning
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

.PHONY: generate
generate: ## write the CRDs, the reference pages and the chart's copies from the Rust types
	cargo run --locked --quiet -p postern-crds --bin crdgen
	cargo run --locked --quiet -p postern-sidecar -- explain >docs/denials.md
	cargo run --locked --quiet -p postern-sidecar -- describe >docs/standalone.md

.PHONY: check-generated
check-generated: prerequisites ## fail if `make generate` would change a file
	cargo run --locked --quiet -p postern-crds --bin crdgen -- --check
	cargo run --locked --quiet -p postern-sidecar -- explain | diff -u docs/denials.md -
	cargo run --locked --quiet -p postern-sidecar -- describe | diff -u docs/standalone.md -

.PHONY: licences
licences: prerequisites ## check the licences of all dependencies
	tests/licences.py --self-test
	tests/licences.py

.PHONY: unit
unit: prerequisites ## unit and golden tests, without a cluster
	cargo test --locked --workspace --exclude postern-tests

# What `make fuzz` looks for faults in, and for how many seconds each; `make unit` runs a fixed number of cases.
FUZZ      ?= path host headers configuration htpasswd certificates names basic wire answer request
FUZZ_TIME ?= 60

.PHONY: fuzz
fuzz: ## look for bytes that break a promise: make fuzz FUZZ=path FUZZ_TIME=600 (needs cargo-fuzz and a nightly Rust)
	@command -v cargo-fuzz >/dev/null || { echo "cargo-fuzz is missing: 'cargo install cargo-fuzz' brings it; without it, POSTERN_FUZZ_CASES=1000000 cargo test -p postern-fuzz tries more cases than make unit does" >&2; exit 1; }
	@cargo +nightly --version >/dev/null 2>&1 || { echo "a nightly Rust is missing, which libFuzzer's instrumentation needs: 'rustup toolchain install nightly' brings it" >&2; exit 1; }
	@set -e; for target in $(FUZZ); do \
	  mkdir -p "target/fuzz/$$target" target/fuzz/faults; \
	  cargo +nightly fuzz run --fuzz-dir tests/fuzz --features libfuzzer "$$target" \
	    "target/fuzz/$$target" "tests/fuzz/corpus/$$target" -- -max_total_time=$(FUZZ_TIME) -max_len=4096 \
	    -dict="tests/fuzz/dictionary/$$target" -artifact_prefix=target/fuzz/faults/; \
	done

# What `make bench` measures (tests/bench/README.md): rows by name, and further arguments.
.PHONY: bench
bench: sidecar ## Postern beside HAProxy, nginx and Envoy: make bench ROWS=h1-32,h2-* ARGS='--rounds 3'
	cargo build --locked --release -p postern-bench
	tests/bench/run.sh $(if $(ROWS),--rows '$(ROWS)') $(ARGS)

.PHONY: check-tracing
check-tracing: prerequisites ## send spans to a real collector of OpenTelemetry
	$(CLUSTER)/build.sh collector
	. $(CLUSTER)/lib.sh && POSTERN_COLLECTOR=$$PARTS/bin/otelcol \
	  cargo test --locked -p postern-sidecar --test it -- --ignored observe_tracing

.PHONY: check-chart
check-chart: cluster ## lint and render the chart, and let an API server judge what it renders
	$(IN) charts/postern/check.sh

# The API server must reach this machine as localhost, so this asks for a cluster of our own.
.PHONY: check-admission
check-admission: cluster ## let an API server judge what admission refuses, and what injection makes
ifdef POSTERN_LOAD_IMAGE
	@echo "skipped: it needs a cluster of our own"
else
	$(IN) cargo test --locked --offline --workspace --exclude postern-tests --lib -- --ignored api_server
endif

.PHONY: e2e
e2e: load ## the tests on real pods, and who may do what once the chart is installed
	cargo test --locked -p postern-tests --no-run
	$(IN) cargo test --locked --offline -p postern-tests -- --test-threads=$(TEST_THREADS)
	$(IN) charts/postern/check-policies.sh

.PHONY: servers
servers: binaries ## nginx, lighttpd and BusyBox behind the lock: their answers are the same as without it
	tests/servers/run.sh

.PHONY: costs
costs: binaries ## allocations, system calls, instructions for each request and bytes for each idle connection, bounded
	cargo test --locked -p postern-bench --no-run
	tests/bench/costs.sh

.PHONY: binaries
binaries: sidecar
	$(STATIC) cargo build --locked --release --target $(TARGET) -p postern-operator -p postern-echo
	install -D -s -t target/binaries target/$(TARGET)/release/postern-operator target/$(TARGET)/release/postern-echo

# Cargo takes no symbols out of a package with a profile of its own, so they are taken out here.
.PHONY: sidecar
sidecar: prerequisites
	$(STATIC) cargo build --locked --profile sidecar --target $(TARGET) -p postern-sidecar
	install -D -s -t target/binaries target/$(TARGET)/sidecar/postern-sidecar

.PHONY: images
images: binaries ## build the images, and load them if the cluster is up
	$(IMAGES)
	$(CLUSTER)/load-image.sh --if-up

# With POSTERN_LOAD_IMAGE and KUBECONFIG the tests run on the cluster that they
# name (tests/cluster/README.md), otherwise on one of our own.
.PHONY: cluster load
ifdef POSTERN_LOAD_IMAGE
cluster: prerequisites
load: images
	tests/images/load.sh
else
cluster: cluster-up
load: cluster-up images
endif

.PHONY: cluster-up
cluster-up: prerequisites ## start a real Kubernetes in namespaces of its own
	$(CLUSTER)/up.sh

.PHONY: cluster-down
cluster-down: ## end it and clear all that it left
	$(CLUSTER)/down.sh

.PHONY: cluster-check
cluster-check: load ## ask the cluster for all that the tests need of one
	$(IN) $(CLUSTER)/check.sh
