# Quorate. `make help` lists what there is to do; .ci/run does nothing but call these targets.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# One static binary is what we ship, so it is what we test. The race detector alone needs cgo.
export CGO_ENABLED := 0

GO     ?= go
TOOL   := $(GO) tool -modfile=tools/go.mod
# Everything but the real processes, which want the machine for themselves.
UNIT    = $(shell $(GO) list ./... | grep -vE '/e2e(/|$$)')
# What may have a goroutine: the pure packages have none (layers_test.go).
RACING  = $(filter-out $(addprefix github.com/quorate/quorate/,version ring ring/layouts quorum fault internal/history internal/check internal/mutation bench/workload),$(UNIT))

# A number of inputs: a duration makes go test fail now and then at its end (golang.org/issue/75804).
FUZZTIME ?= 50000x
BENCH    ?= .
COUNT    ?= 1
SEEDS    ?= 100
FIRST    ?= 1
SIM_JOBS ?= $(shell nproc)
CHAOS    ?= 2m
LARGE    ?= 4
KEYS     ?= 1000000
LIVES    ?= 6

##@ Every day
.PHONY: help
help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^##@ / {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## the binary, into bin/quorate
	$(GO) build -trimpath -o bin/quorate ./cmd/quorate

.PHONY: check
check: fmt vet lint layers short ## what to run before a commit: formatting, vet, staticcheck, layers, short tests

.PHONY: fmt
fmt: ## fail if gofmt would change a file
	@changed=$$(gofmt -l .); if [ -n "$$changed" ]; then echo "not formatted (gofmt -w .):"; echo "$$changed"; exit 1; fi

.PHONY: vet
vet: ## go vet
	$(GO) vet ./...

.PHONY: lint
lint: ## staticcheck, as pinned in tools/go.mod
	$(TOOL) staticcheck ./...

.PHONY: layers
layers: ## who may import whom (never from the test cache, which does not see new imports)
	$(GO) test -count=1 .

.PHONY: short
short: ## the short tests of every package but the real processes
	$(GO) test -short $(UNIT)

##@ In depth
.PHONY: test
test: ## the README's test command: everything, with clusters of real processes; what make fleet does comes later
	QUORATE_LATER=docker $(GO) test ./...

.PHONY: race
race: ## the short tests under the race detector, then a cluster of processes built with it
	@# without those that move many bytes through the goroutines of the others: a minute and a half
	CGO_ENABLED=1 $(GO) test -race -short -skip '^(TestBytesPerDifference|Test(Exchange|HandOff)TooLarge)$$' $(RACING)
	CGO_ENABLED=1 $(GO) test -race -short -count=1 -timeout=10m ./e2e

.PHONY: e2e
e2e: ## the contract and the promises, on clusters of real processes (RUN=regexp picks tests)
	$(GO) test -count=1 -timeout=15m $(if $(RUN),-v -run '$(RUN)') ./e2e

.PHONY: fleet
fleet: ## the image and the fleet of compose.yaml, on a Docker Engine: killed, cut off, restarted, wiped
	$(GO) test -count=1 -v -timeout=20m ./e2e/containers

.PHONY: manifests
manifests: ## deploy/kubernetes against the API server's own validation, compose.yaml against Compose version 2
	cd tools/manifests && $(GO) vet ./... && $(GO) test ./...

.PHONY: sim
sim: ## whole clusters in virtual time: the seeds kept in internal/sim/testdata, then SEEDS more from FIRST on
	$(GO) test -c -o bin/sim.test ./internal/sim
	cd internal/sim && ../../bin/sim.test -test.run 'TestKeptSeeds|TestOrdinaryBuild'
	cd internal/sim && seq 0 $$(( $(SIM_JOBS) - 1 )) | xargs -P $(SIM_JOBS) -I{} sh -c '../../bin/sim.test -test.run TestSeeds -test.v -test.timeout 3h \
		-seeds $$(( ($(SEEDS) + $(SIM_JOBS) - 1) / $(SIM_JOBS) )) -first $$(( $(FIRST) + {} )) -step $(SIM_JOBS)'

.PHONY: sim-one
sim-one: ## one seed with its trace: SEED=n
	@test -n "$(SEED)" || { echo "make sim-one SEED=n" >&2; exit 2; }
	$(GO) test -count=1 ./internal/sim -run 'TestOne$$' -seed $(SEED) -v

.PHONY: mutations
mutations: ## every deliberate sin of internal/mutation, until the checker that is there for it sees it
	$(GO) test -count=1 -tags mutate ./internal/sim -run TestMutations -timeout 20m -v | grep -E '^ +(---|mutate_test)|^(---|ok|FAIL|panic)'

.PHONY: layouts
layouts: ## the protocol of layout changes, in every scenario of ring/layouts, each up to LARGE million states (4)
	$(GO) test -count=1 ./ring/layouts -run 'TestProtocolAtLarge|TestSins' -large $(LARGE) -timeout 10h -v | grep -vE '^=== '

.PHONY: chaos
chaos: ## the same workload and checkers on five real processes for CHAOS (2m); as root in network namespaces
	QUORATE_CHAOS=$(CHAOS) $(GO) test -count=1 -timeout=1h ./e2e -run TestChaos -v

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (50000x, or 1m); all of them, even if one fails
	@failed=0; \
	for file in $$(grep -rlE --include='*_test.go' '^func Fuzz' .); do \
		for target in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9_]*)\(.*/\1/p' "$$file"); do \
			echo "--- $$(dirname "$$file") $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$(dirname "$$file")" || failed=1; \
		done; \
	done; \
	exit $$failed

.PHONY: bench
bench: ## benchmarks (BENCH=regexp, COUNT=10 for benchstat)
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) $(UNIT)

.PHONY: bytes
bytes: ## what log exchange sends for d differences between two stores of 1,000,000 keys (some minutes; KEYS, LIVES)
	QUORATE_BYTES_KEYS=$(KEYS) QUORATE_BYTES_LIVES=$(LIVES) $(GO) test -count=1 -v -timeout 30m -run TestBytesPerDifference ./repair

.PHONY: benchstat
benchstat: ## compare two outputs of make bench: OLD=file NEW=file
	$(TOOL) benchstat $(OLD) $(NEW)

##@ Machines
.PHONY: deps
deps: ## what the tests that QUORATE_REQUIRE names need beside Go (Debian, as root)
	@if [[ ",$${QUORATE_REQUIRE:-}," == *,netns,* ]] && ! command -v ip >/dev/null; then \
		apt-get update -q && apt-get install -qy --no-install-recommends iproute2; \
	fi
	@if [[ ",$${QUORATE_REQUIRE:-}," == *,docker,* ]] && ! docker compose version &>/dev/null && ! command -v docker-compose >/dev/null; then \
		apt-get update -q && apt-get install -qy --no-install-recommends docker-compose; \
	fi
	$(GO) mod download
	$(GO) mod download -modfile=tools/go.mod
	cd tools/manifests && $(GO) mod download

.PHONY: ci
ci: ## everything that CI runs, section by section
	./.ci/run
