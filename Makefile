# Every command runs with the pinned Node of node_modules, whatever the host has; the host needs npm and make.
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)
.DEFAULT_GOAL := help

VITEST := node node_modules/vitest/vitest.mjs run --config test/vitest.config.ts
INSTALLED := node_modules/.installed
FUZZ_SECONDS ?= 60
ONCE ?=
IMAGE ?= weft:dev
INIT_IMAGE ?= weft-init:dev

.PHONY: setup demo test check format bench bench-quick faults fuzz schemas build image clean help

setup: $(INSTALLED) ## install what is missing (the other targets call it)

$(INSTALLED): package-lock.json
	@.ci/setup

demo: setup ## services, sidecars, mTLS, a canary split, a failing instance, one trace; ONCE=1 exits by itself
	@node deploy/demo/run.ts $(if $(ONCE),--once)

test: setup ## all tests that need nothing but Node and Debian packages
	@$(VITEST)

check: setup ## format, lint, types, tests
	@echo 'check: format'; biome check --error-on-warnings .
	@echo 'check: lint'; oxlint --deny-warnings
	@echo 'check: types'; tsc -p .
	@echo 'check: tests'; $(VITEST)

format: setup ## rewrite the sources in the one format
	@biome check --write .

bench: setup ## the comparison with nginx, HAProxy and Envoy, as a table of ratios
	@node test/bench/run.ts

bench-quick: setup ## the same in under a minute
	@node test/bench/run.ts --quick

faults: setup ## faults under load
	@for file in test/faults/*.ts; do echo "faults: $$file"; node "$$file" || exit 1; done

fuzz: setup ## every fuzzer for FUZZ_SECONDS (60)
	@for file in test/fuzz/*.ts; do echo "fuzz: $$file"; node "$$file" --seconds $(FUZZ_SECONDS) || exit 1; done

schemas: setup ## JSON Schemas of the policy kinds into deploy/schemas
	@node deploy/schemas.ts

build: setup ## one JavaScript file that is its own worker entry, dist/weft.js
	@node deploy/build.ts

image: setup ## the container images IMAGE (weft:dev) and INIT_IMAGE (weft-init:dev)
	@docker info >/dev/null 2>&1 || { echo 'image: no image was built: docker is missing or its daemon does not answer.' >&2; exit 1; }
	docker build --file deploy/Dockerfile --tag $(IMAGE) .
	docker build --file deploy/Dockerfile --target init --tag $(INIT_IMAGE) .

clean: ## remove what was built and cached, packages included
	@rm -rf dist .cache coverage node_modules

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
