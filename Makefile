# Everything here works on a machine that has Go, make and the Go module proxy; `make setup` brings in what else is
# missing. Lists of targets: `make help`.
SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build

GO       ?= go
MODULE   := github.com/baton-ha/baton
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -s -w -X main.version=$(VERSION)
LINT     := $(GO) tool -modfile=scripts/lint/go.mod golangci-lint
LINTARGS := --config scripts/lint/golangci.yml

# The whole-cluster simulation is single-threaded and long: the race detector finds nothing in it and makes it ten
# times slower, so it runs on its own (sim-test). Everything else runs under the detector.
SIM      := ./node/nodetest
SIMTESTS := ^Test(Simulation|Clone)$$
# Packages with switches for negative tests.
FAULTS   := ./raftify/core ./raftify/raftifytest ./raftify/raftifytest/explore ./node/replication ./node/nodetest
# Everything that can happen to three nodes: one goroutine as well, and too long under the detector.
EXPLORE  := ./raftify/raftifytest/explore
# How long `make sim-long` goes on with each simulator.
LONG     ?= 10m
# Seeds of `make sim`, first and last.
SEEDS    ?= 1-200
# How long `make test-full` spends on each fuzz target.
FUZZTIME ?= 30s

.PHONY: help setup build run deb deb-test s3-test guide-test test race-test faults-test sim-test test-full fuzz sim sim-long \
	explore explore-deep lint fmt bench bench-failover bench-busy bench-handover bench-sync \
	page-test chaos chaos-build chaos-short chaos-long chaos-injected chaos-mutants clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## bring in what is missing: the C compiler of the race detector, the modules
	@GO="$(GO)" scripts/setup.sh

build: ## bin/baton
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/baton ./cmd/baton

deb: ## a Debian package, in dist/
	@GO="$(GO)" scripts/deb/build.sh dist

deb-test: ## install, upgrade, remove and purge it (root: an overlay over this system, or over BATON_DEB_ROOT)
	$(GO) -C scripts/deb test -count=1 -v ./...

s3-test: ## share a chain by a real object store (versitygw, built for it)
	$(GO) -C scripts/s3test test -count=1 -v ./...

guide-test: ## run every command of scripts/OPERATING.md (root: machines of network namespaces)
	$(GO) -C scripts/chaos test -count=1 -v ./guide

run: build ## three real processes, a killed leader, nothing lost
	bin/baton demo

test: setup ## all tests that need no root, under the race detector
	$(GO) vet ./...
	@$(MAKE) --no-print-directory race-test faults-test sim-test explore

race-test:
	$(GO) test -race -timeout 20m $$($(GO) list ./... | grep -v '/node/nodetest$$')
	$(GO) test -race -timeout 20m -skip '$(SIMTESTS)' $(SIM)

faults-test: ## the negative twins: with a rule switched off, the checkers must name the broken invariant
	$(GO) vet -tags faults $(FAULTS)
	$(GO) test -tags faults -timeout 20m -run 'Negative|Fault' ./raftify/raftifytest $(EXPLORE) ./node/nodetest

sim-test: ## the whole-cluster simulation over its fixed seeds, without the race detector
	$(GO) test -timeout 20m -run '$(SIMTESTS)' $(SIM)
	$(GO) test -timeout 20m -run '^TestSeeds$$' ./raftify/raftifytest

test-full: test fuzz ## test, then every fuzz target for FUZZTIME and the simulation over SEEDS
	@$(MAKE) --no-print-directory sim

fuzz: ## every fuzz target for FUZZTIME
	scripts/fuzz.sh '$(FUZZTIME)'

sim: ## the simulation over other seeds: make sim SEEDS=FROM-TO
	BATON_SIM_SEEDS='$(SEEDS)' $(GO) test -count=1 -timeout 0 -run '^TestSimulation$$' -v $(SIM)

explore: ## everything that can happen to three nodes of the election, within bounds
	$(GO) test -timeout 20m -run '^Test(Explore|Symmetry)$$' -v $(EXPLORE)

explore-deep: ## the same with larger bounds: hours and gigabytes; DEEPFLAGS such as -limit 50000000 or -only 'three terms'
	$(GO) test -timeout 0 -count=1 -run '^TestExplore$$' -v $(EXPLORE) -deep $(DEEPFLAGS)

sim-long: ## go on with the million seeds of both simulators for LONG each; the record is in their testdata/long.json
	$(GO) test -timeout 0 -count=1 -run '^TestLong$$' -v ./raftify/raftifytest -long $(LONG)
	$(GO) test -timeout 0 -count=1 -run '^TestLong$$' -v $(SIM) -long $(LONG)

lint: ## golangci-lint at the version of scripts/lint/go.mod
	$(LINT) run $(LINTARGS) ./...
	$(LINT) run $(LINTARGS) --build-tags faults ./...

fmt: ## format the tree as the linter wants it
	$(LINT) fmt $(LINTARGS) ./...

bench: build ## against a peer on hashicorp/raft, one run, ratios; flags in BENCHFLAGS, such as --rounds 10
	$(GO) -C scripts/bench build -o ../../bin/bench .
	bin/bench --baton bin/baton $(BENCHFLAGS)

page-test: build ## the page of real nodes in a real Chromium; brings in Chromium, Node and npm where root may; screenshots in page-shots/
	scripts/page-test/run.sh

# Root (or user namespaces) and Linux. Flags in CHAOSFLAGS, such as --seed 7; `bin/baton-chaos --help` lists them.
DURATION ?= 2h
chaos: chaos-build ## a real cluster under all faults for 15 minutes, report in chaos-report/
	bin/baton chaos --duration 15m $(CHAOSFLAGS)

chaos-long: chaos-build ## the same for DURATION
	bin/baton chaos --duration $(DURATION) $(CHAOSFLAGS)

chaos-short: chaos-build ## three minutes of it; skipped, and counted, where there are no namespaces
	scripts/chaos/short.sh $(CHAOSFLAGS)

# Built with the tag `faults`: its clocks may jump, its disks fail, and rules can be switched off.
chaos-injected: chaos-build ## three minutes with clocks that jump and disks that fail, hang and are slow
	$(GO) build -trimpath -tags faults -ldflags '$(LDFLAGS)' -o bin/baton-faults ./cmd/baton
	bin/baton-chaos --baton bin/baton-faults --injected --short --duration 3m $(CHAOSFLAGS)

chaos-mutants: chaos-build ## with a rule switched off, a chaos run must name the broken invariant
	$(GO) build -trimpath -tags faults -ldflags '$(LDFLAGS)' -o bin/baton-faults ./cmd/baton
	bin/baton-chaos --baton bin/baton-faults --mutants $(CHAOSFLAGS)

chaos-build: build
	$(GO) -C scripts/chaos build -trimpath -o ../../bin/baton-chaos .

bench-failover: build ## how long until another node acknowledges after a kill; flags in BENCHFLAGS, such as --how all
	$(GO) -C scripts/bench build -o ../../bin/bench .
	bin/bench failover --baton bin/baton $(BENCHFLAGS)

bench-busy: build ## how often a cluster changes its leader beside four programs that never sleep; flags in BENCHFLAGS, such as --for 10m
	$(GO) -C scripts/bench build -o ../../bin/bench .
	bin/bench busy --baton bin/baton $(BENCHFLAGS)

bench-handover: build ## for how long nothing is acknowledged when the lead is handed over under load; flags in BENCHFLAGS
	$(GO) -C scripts/bench build -o ../../bin/bench .
	bin/bench handover --baton bin/baton $(BENCHFLAGS)

bench-sync: build ## how long a newcomer's sync takes, and what the clients of a cluster feel of it; flags in BENCHFLAGS
	$(GO) -C scripts/bench build -o ../../bin/bench .
	bin/bench sync --baton bin/baton $(BENCHFLAGS)

clean: ## remove what these targets made
	rm -rf bin dist chaos-report page-shots scripts/page-test/node_modules
	$(GO) clean -testcache
