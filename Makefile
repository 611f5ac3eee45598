# The commands of the repository. `make run` and `make test` set up what is missing by themselves.
#
#   make run            build everything and run `argand up`; ARGS="…" are passed on
#   make test           run every test that this machine can run; says which it could not
#   make lint           formatting, compiler and clippy warnings, types of the UI, licences where cargo-deny is installed
#   make bench          measure; writes nothing, docs/benchmarks.md says how to read it
#   make fuzz           a minute on every fuzz target (SECONDS_EACH=…); needs a nightly toolchain and cargo-fuzz
#   make conformance DATA=DIR    replay captured requests and sample files and compare with what lies beside them

SHELL := /bin/bash
export PATH := $(PATH):$(HOME)/.cargo/bin
SECONDS_EACH ?= 60
CARGO_TEST_FLAGS ?=

.PHONY: run build ui test test-rust test-ui test-browser lint bench fuzz conformance setup-run setup-test

run: build
	exec target/release/argand up $(ARGS)

build: setup-run ui
	cargo build --release --locked --package argand

setup-run:
	@scripts/setup-debian.sh run

setup-test:
	@scripts/setup-debian.sh test

ui: ui/dist/index.html

ui/node_modules/.package-lock.json: ui/package.json ui/package-lock.json .npmrc | setup-run
	cd ui && npm ci --ignore-scripts --no-audit --no-fund

ui/dist/index.html: ui/node_modules/.package-lock.json $(shell find ui/src ui/public ui/index.html ui/vite.config.ts -type f 2>/dev/null)
	cd ui && npm run build

test: setup-test test-ui test-rust test-browser

test-ui: ui
	cd ui && npm test && npm run budget

test-rust: ui
	cargo test --locked --workspace $(CARGO_TEST_FLAGS)

test-browser: ui
	cargo build --locked --package argand
	scripts/test-browser.sh target/debug/argand

lint: setup-run ui
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cd ui && npm run check
	@if cargo deny --version >/dev/null 2>&1; then cargo deny --offline check licenses bans sources; \
	else echo "lint: cargo-deny is not installed, licences are not checked"; fi

bench: setup-run
	cargo run --locked --release --package xtask -- bench $(ARGS)

fuzz:
	cd fuzz && for target in $$(cargo +nightly fuzz list); do \
	  cargo +nightly fuzz run $$target -- -max_total_time=$(SECONDS_EACH) || exit 1; done

conformance: build
	@test -n "$(DATA)" || { echo "usage: make conformance DATA=DIR"; exit 2; }
	cargo run --locked --release --package xtask -- conformance --server target/release/argand --data $(DATA)
