# Two targets matter to a newcomer: `make demo` and `make test`. Both need
# only Go, git and make. Written for GNU make 3.81 and later.

GO      ?= go
VERSION ?= $(shell git describe --tags --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)

# How long `make demo` and `make run` append and `make soak` goes on, such as 10s, how many workers there
# are, and how many events per second. Empty: as `rouse demo --help` says, and for
# `make run` until Ctrl+C with one worker.
DURATION ?=
WORKERS  ?=
RATE     ?=

# The seed of `make soak`, which repeats a schedule of faults, and an image of
# PostgreSQL to run it in. Empty: a new seed; the PostgreSQL of this machine.
# `make image` takes IMAGE for the name of what it builds; empty: rouse:latest.
SEED  ?=
IMAGE ?=

# The tests that need Docker, a proxy for faults or a browser are a module of their
# own, in test/, so that users of the product's module do not receive those.
MODULES := . test

# Packages under test, those of test/ by their path from here, further flags of
# `go test`, and how many packages run at once. Each package has a PostgreSQL server
# of its own unless TEST_DATABASE_URL names one, so this bounds memory as well as
# processors.
PKG         ?= $(EVERYTHING)
TESTFLAGS   ?=
TEST_P      ?= 2
EVERYTHING  := ./... ./test/...

# Packages are tested in lanes: TEST_P of them run side by side, and where one has ended
# the next one begins, whichever module it is of. A lane is one word of PKG. Where
# everything is tested, each slow package has a lane of its own, the slowest first. The rest of
# each module, which grows, comes behind the two slowest, so that none but short ones are
# left at the end.
SLOW  := . ./test/integration ./internal/cli ./test/knownbad ./test/reliability ./catchup ./listener ./internal/demo ./internal/doctor \
	./partition ./migrations ./internal/apply ./internal/rebuild ./retention ./eventstore ./internal/pgserver ./internal/bench
ALL    = $(if $(filter-out $(EVERYTHING),$(PKG))$(filter-out $(PKG),$(EVERYTHING)),,yes)
LANES  = $(if $(ALL),$(wordlist 1,2,$(SLOW)) ./... ./test/... $(wordlist 3,99,$(SLOW)),$(PKG))

# The race detector needs cgo, which Go turns off where there is no C compiler.
RACE = $(shell test "$$($(GO) env CGO_ENABLED)" = 1 && echo -race)

# A program with the race detector sleeps for a second before it ends, unless it is told otherwise, and tests start hundreds.
export GORACE ?= atexit_sleep_ms=10

# Linters are pinned here and run from the module cache, so that go.mod lists
# only what the product needs.
GOLANGCI     := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOVULNCHECK  := golang.org/x/vuln/cmd/govulncheck@v1.9.0
SYSTEMS := linux darwin windows
ELSEWHERE = $(filter-out $(shell $(GO) env GOOS),$(SYSTEMS))

# The parts of `make bench`, in their order.
BENCHES = bench-latency bench-ladder bench-cost bench-append bench-append-idle bench-writers bench-catchup bench-partitions bench-payloads \
	bench-scale bench-projections bench-wait bench-idle bench-idle-many bench-tenants bench-compare

.DEFAULT_GOAL := help
.PHONY: help build image demo run test benchmarks test-deploy test-bench stress soak model fuzz bench bench-latency \
	bench-quiet bench-carried bench-busy bench-held bench-rows $(BENCHES) bench-report vulncheck lint lint-fmt lint-bench lint-imports \
	lint-house lint-golangci lint-systems fmt clean hooks lint-commits

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# What the linker sets is in this package.
PROGRAM = github.com/rouse-es/rouse/internal/cli

# A static binary: it runs on any Linux, and in an image with nothing else in it.
BUILD = CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '-X $(PROGRAM).version=$(VERSION) -X $(PROGRAM).commit=$(COMMIT)'

build: ## build bin/rouse
	@echo 'make: building bin/rouse'
	@$(BUILD) -o bin/rouse ./cmd/rouse

# The image holds what this target puts into dist/image: the binary, built here, and
# the certificates of this machine. Nothing is pulled. BuildKit is used where docker has it.
DOCKER ?= docker

image: ## build the container image, IMAGE=rouse:latest
	@rm -rf dist/image && mkdir -p dist/image
	@for bundle in "$$SSL_CERT_FILE" /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem; do \
		if [ -f "$$bundle" ]; then cp "$$bundle" dist/image/ca-certificates.crt && chmod 644 dist/image/ca-certificates.crt; exit; fi; \
	done; echo 'make: no certificates of public authorities were found, install ca-certificates or set SSL_CERT_FILE'; exit 1
	@echo 'make: building $(or $(IMAGE),rouse:latest)'
	@GOOS=linux $(BUILD) -o dist/image/rouse ./cmd/rouse
	@DOCKER_BUILDKIT=$$($(DOCKER) buildx version >/dev/null 2>&1 && echo 1 || echo 0) $(DOCKER) build -q --build-arg PROGRAM=rouse -t '$(or $(IMAGE),rouse:latest)' -f deploy/Dockerfile dist/image

# The recipes below become the program (exec), so that Ctrl+C, a signal sent to make
# and the exit code meet it and nobody in between, as `go run` would be.

demo: build ## see it work: a database, workers that join, die, leave and freeze, a verdict; DURATION=20s WORKERS=3 RATE=100
	@exec bin/rouse demo$(if $(DURATION), --duration '$(DURATION)')$(if $(WORKERS), --workers '$(WORKERS)')$(if $(RATE), --rate '$(RATE)')

run: build ## the same with one worker, until Ctrl+C or for DURATION=10s
	@exec bin/rouse demo --duration '$(or $(DURATION),0)' --workers '$(or $(WORKERS),1)'$(if $(RATE), --rate '$(RATE)')

# What the lanes are built of is built before, or two of them would build it at the same time.
test: ## all tests; TEST_DATABASE_URL names a server, else one is started
	@test -n "$(RACE)" || echo 'make: no C compiler was found, the tests run without the race detector'
	@docker version >/dev/null 2>&1 || echo 'make: no Docker answers, so the tests that need a container are left out'
	@$(if $(word 2,$(LANES)),$(GO) build $(RACE) ./...)
	@$(MAKE) --no-print-directory -k -j $(TEST_P) $(addprefix lane/,$(LANES))

# Most tests wait for a database, so more of a package run at once than there are processors.
GO_TEST = $(GO) test $(RACE) -count=1 -vet=off -ldflags=-w -parallel 4

# A lane by its words for its module. What others test is left out of the rest of a module.
LANE   = $(patsubst ./test/%,./%,$*)
OTHERS = $(patsubst ./test/%,./%,$(if $(filter ./test/%,$*),$(filter ./test/%,$(SLOW)),$(filter-out ./test/%,$(SLOW))))
REST   = $$($(GO) list ./... | grep -v -x -F "$$($(GO) list $(OTHERS))")

# What a lane prints comes at its end, also where that comes from outside, unless it is the only one.
lane/%:
	@$(if $(word 2,$(LANES)),out="$$(mktemp)" && trap 'cat "$$out" >&3; rm -f "$$out"' EXIT && trap 'exit 143' INT TERM && exec 3>&1 >"$$out" 2>&1;) code=0; $(if $(filter ./test/%,$*),cd test;) \
	echo '$(if $(filter ./test/%,$*),cd test && )$(GO_TEST) -p $(if $(word 2,$(LANES)),1,$(TEST_P)) -timeout 15m $(subst ','\'',$(TESTFLAGS)) $(LANE)'; \
	$(GO_TEST) -p $(if $(word 2,$(LANES)),1,$(TEST_P)) -timeout 15m $(TESTFLAGS) $(if $(and $(ALL),$(filter ./...,$(LANE))),$(REST),$(LANE)) || code=$$?; exit $$code

# In a run of its own, because with -bench no two packages are tested at once.
benchmarks: ## each Go benchmark once
	@set -e; for module in $(MODULES); do cd '$(CURDIR)'/$$module; \
		packages="$$(grep -rl '^func Benchmark' --include='*_test.go' . | grep -v -e '^./bench/' -e '^./test/' | xargs -r -n 1 dirname | sort -u)"; \
		test -z "$$packages" || $(GO_TEST) -run '^$$' -bench . -benchtime 1x -p 1 -timeout 5m $$packages; done

test-deploy: ## the files of deploy/ against the schemas of those who read them
	cd test/deploy && $(GO) vet ./... && $(GO) test -count=1 -timeout 10m ./...

test-bench: ## the module that compares Rouse with others, and writes docs/performance.md
	cd bench && $(GO) vet ./... && $(GO) test -count=1 -timeout 10m ./...

stress: ## the long tests: 100,000 events under stress, 50,000 armings, ten crashes, the plans for a million events, each known-bad build
	cd test && ROUSE_STRESS=1 $(GO) test -count=1 -v -run 'Stress|Arming|Crash' -timeout 60m $(TESTFLAGS) ./integration/...
	cd test && ROUSE_STRESS=1 $(GO) test -count=1 -v -run 'KnownBad' -timeout 60m $(TESTFLAGS) ./knownbad
	ROUSE_STRESS=1 $(GO) test -count=1 -v -run 'Stress|Arming|Crash' -timeout 60m $(TESTFLAGS) ./listener ./catchup

model: ## the models of docs/model, and that their broken variants fail; installs spin on Debian
	@exec scripts/model

# Every fuzz target of the packages, one after the other, for so long. Their seeds run with `make test`.
FUZZTIME ?= 20s

fuzz: ## every fuzz target for FUZZTIME=20s
	@scripts/fuzz '$(FUZZTIME)' '$(GO)'

# With HOSTILE=1 the handlers have trouble with some events besides.
HOSTILE ?=

soak: ## faults at random for DURATION=2m, at PACE=0.2 or 1, by SEED=7, in IMAGE=postgres:18, with HOSTILE=1 handlers; docs/reliability.md gains the run
	cd test && $(GO) test -count=1 -v -run '^TestSoak$(if $(HOSTILE),WithHostileHandlers)$$' -timeout 4h ./reliability -args -duration '$(or $(DURATION),2m)' \
		$(if $(SEED),-seed '$(SEED)') $(if $(IMAGE),-image '$(IMAGE)') $(if $(PACE),-pace '$(PACE)') -record '$(CURDIR)/docs' -of '$(COMMIT)'

# Each part leaves its results in bench/results, and bench-report makes the page of what is there. A part can be run alone.
MEASURE = scripts/bench
ROUSE_BENCH = bin/rouse bench --json --log-level warn

bench: $(BENCHES) bench-report ## all benchmarks, on servers of their own, and docs/performance.md; about 45 minutes

bench-latency: bench-quiet bench-carried bench-busy bench-held bench-rows ## latency at rest, under writers, beside a foreign transaction and in a long log; about 10 minutes

bench-quiet: build ## latency at rest, at 10, 50 and 100 events/s; about 2 minutes
	@$(MEASURE) latency-quiet $(ROUSE_BENCH) latency --rate 10,50,100 --events 600 --table-rows 10000

bench-carried: build ## latency at rest, with pushes that carry the events and without; about 2 minutes
	@$(MEASURE) latency-carried $(ROUSE_BENCH) latency --rate 10,50,100 --events 300 --table-rows 10000 --carry

bench-busy: build ## latency under 16 writers, at 1,000 and 3,000 events/s; about 2 minutes
	@$(MEASURE) latency-busy $(ROUSE_BENCH) latency --rate 1000,3000 --writers 16 --table-rows 10000

bench-held: build ## latency beside a foreign transaction that stays open; about 3 minutes
	@$(MEASURE) latency-held $(ROUSE_BENCH) latency --rate 100 --events 6000 --hold

bench-rows: build ## latency in a log of 100,000 and of 10,000,000 events; about 4 minutes
	@$(MEASURE) latency-rows $(ROUSE_BENCH) latency --rate 100 --events 1000 --table-rows 100000,10000000

bench-ladder: build ## latency from 100 to 3,000 events/s and back, step by step; about 4 minutes
	@$(MEASURE) ladder $(ROUSE_BENCH) ladder

bench-cost: build ## statements, context switches and allocations of one event; about 2 minutes
	@$(MEASURE) cost $(ROUSE_BENCH) cost

bench-append: build ## what the push costs appends; about 5 minutes
	@$(MEASURE) append $(ROUSE_BENCH) append --rounds 3 --seconds 2

bench-append-idle: build ## the same beside 64 idle processes; about 2 minutes
	@$(MEASURE) append-idle $(ROUSE_BENCH) append --rounds 3 --seconds 8 --writers 16 --idle-processes 64 --disk as-is

bench-writers: build ## appends at full speed against a plain table, and beside a naive poller; about 4 minutes
	@$(MEASURE) writers $(ROUSE_BENCH) writers

bench-catchup: build ## a history of 1,000,000 events by one worker, in four forms; about 4 minutes
	@$(MEASURE) catchup $(ROUSE_BENCH) catchup --events 1000000

bench-partitions: build ## 1,024 partitions against 32, behind and at rest; about 2 minutes
	@$(MEASURE) partitions $(ROUSE_BENCH) partitions --events 1000000

bench-payloads: build ## payloads of 1 MiB, 10 KiB and 100 bytes: memory and speed; about 2 minutes
	@$(MEASURE) payloads $(ROUSE_BENCH) payloads

bench-scale: build ## that history by one, two and four workers, and what it costs; about 2 minutes
	@$(MEASURE) scale $(ROUSE_BENCH) scale --events 1000000

bench-projections: build ## 1, 50 and 200 projections in one process; about 2 minutes
	@$(MEASURE) projections $(ROUSE_BENCH) projections

bench-wait: build ## WaitFor with 1, 10 and 100 callers at once, beside the handling; about a minute
	@$(MEASURE) wait $(ROUSE_BENCH) wait --rounds 120

bench-idle: build ## what workers ask of the server at rest; about 2 minutes
	@$(MEASURE) idle $(ROUSE_BENCH) idle

bench-idle-many: build ## the same of 64 workers of one projection; about 2 minutes
	@$(MEASURE) idle-many $(ROUSE_BENCH) idle --workers 64 --appends 1

bench-tenants: build ## what a group of 200 schemas takes; about 4 minutes
	@$(MEASURE) tenants $(ROUSE_BENCH) tenants

# It is a module of its own, so that users of this one do not receive what it is compared with.
bench-compare: ## the same work by Rouse, watermill-sql, River and a naive worker; about 6 minutes
	@cd bench && $(GO) build -o ../bin/compare ./cmd/compare
	@$(MEASURE) compare bin/compare

bench-report: ## docs/performance.md and its pictures from bench/results
	@cd bench && $(GO) run ./cmd/report
	@echo 'make: docs/performance.md is written'

lint: lint-fmt lint-imports lint-house lint-golangci lint-systems lint-bench ## all of the lint targets

lint-fmt: ## is everything formatted
	@files="$$("$$($(GO) env GOROOT)/bin/gofmt" -s -l .)" || exit 1; \
	if [ -n "$$files" ]; then echo "$$files"; echo 'make: these files are not formatted, run: make fmt'; exit 1; fi

# A program that imports these must not be built of tools, and users must not receive them.
IMPORTED := . ./aggregate ./eventstore ./eventstore/stdsql ./events ./migrations ./parked ./projection ./retention
UNWANTED := github.com/spf13/|docker|github.com/stretchr/|github.com/prometheus/|opentelemetry|otel|github.com/Shopify/|chromedp|goleak|^testing$$

lint-imports: ## that a program which imports Rouse is not built of tools
	@set -e; for os in $(SYSTEMS); do packages="$$(CGO_ENABLED=0 GOOS=$$os $(GO) list -deps $(IMPORTED))"; \
		if echo "$$packages" | grep -E '$(UNWANTED)'; then echo "make: for $$os, $(IMPORTED) bring these to programs that import them"; exit 1; fi; \
		if CGO_ENABLED=0 GOOS=$$os $(GO) list -deps ./rousetest | grep -v '^testing$$' | grep -E '$(UNWANTED)'; then echo "make: for $$os, rousetest brings these to tests that import it"; exit 1; fi; done

# Both modules, by the configuration at the root. Which package may import which is looked at for the other systems too.
lint-golangci: ## golangci-lint, set up by .golangci.yml: go vet and staticcheck among others, and which package may import which
	@set -e; for module in $(MODULES); do echo "cd $$module && golangci-lint run ./..."; (cd $$module && $(GO) run $(GOLANGCI) run ./...); done
	@set -e; for os in $(ELSEWHERE); do echo "GOOS=$$os golangci-lint run --enable-only depguard ./..."; \
		$(GO) run -exec "env GOOS=$$os CGO_ENABLED=0" $(GOLANGCI) run --enable-only depguard ./...; done

# For other systems nothing is compiled, which would cost as much again for each.
lint-systems: ## that both modules have the right types on the other systems too
	cd test && for module in .. .; do echo "systems $$module $(ELSEWHERE)"; $(GO) run ./systems $$module $(ELSEWHERE) || exit 1; done

lint-house: ## what no linter knows: no SQL through fmt, and each test binary looks for goroutines
	cd test && $(GO) test -count=1 ./house

lint-bench: ## go vet of the module that compares
	cd bench && $(GO) vet ./...

# Neither is a gate: what a commit says is for people to judge.
BASE ?= origin/main

hooks: ## git looks at each message of a commit here: scripts/commit-msg
	@hook="$$(git rev-parse --git-path hooks)/commit-msg"; mkdir -p "$$(dirname "$$hook")" && cp scripts/commit-msg "$$hook" && echo "make: $$hook is installed"

lint-commits: ## what commit-msg says about the commits since BASE=origin/main
	@exec scripts/lint-commits '$(BASE)'

# A file in which `make vulncheck` says that it could not check; empty: it fails then.
UNCHECKED ?=

vulncheck: ## known faults in what the product is built of; it fails where vuln.go.dev cannot be reached, UNCHECKED=file takes that instead
	@UNCHECKED='$(UNCHECKED)' GO='$(GO)' GOVULNCHECK='$(GOVULNCHECK)' exec scripts/vulncheck

fmt: ## format everything
	"$$($(GO) env GOROOT)/bin/gofmt" -s -w .

clean: ## remove what was built
	rm -rf bin dist
	rm -f coverage.txt *.test *.out
