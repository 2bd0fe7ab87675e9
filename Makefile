# moonring. `make help` lists what there is to do.

VARIANT ?= release
BUILD   := build/$(VARIANT)
PREFIX  ?= /usr/local
ifeq ($(origin CC),default)
CC := gcc
endif

JOBS    ?= $(shell nproc)

DATE := $(shell git log -1 --format=%cs 2>/dev/null || date +%F)
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

# ---- flags ------------------------------------------------------------------------------------------------------------

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef \
            -Wwrite-strings -Wcast-qual -Wformat=2 -Wimplicit-fallthrough -Wswitch-enum -Werror
HARDENING := -fstack-protector-strong -fPIE
CPPFLAGS += -D_GNU_SOURCE -Icore -I. $(shell pkg-config --cflags luajit 2>/dev/null)
COMMON   := -std=gnu11 -g -pthread $(WARNINGS) $(HARDENING)

FLAGS_release  := -O2 -D_FORTIFY_SOURCE=2 -fno-plt
FLAGS_debug    := -Og -D_FORTIFY_SOURCE=2 -DMOONRING_DEBUG
FLAGS_asan     := -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -DMOONRING_DEBUG
FLAGS_tsan     := -O1 -fsanitize=thread -fno-omit-frame-pointer -DMOONRING_DEBUG
FLAGS_coverage := -O0 --coverage -DMOONRING_DEBUG
FLAGS_fuzz     := -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
ifeq ($(FLAGS_$(VARIANT)),)
$(error VARIANT=$(VARIANT) is none of: release debug asan tsan coverage fuzz)
endif

CFLAGS  ?=
LDFLAGS ?=
ALL_CFLAGS  = $(COMMON) $(FLAGS_$(VARIANT)) $(CFLAGS)
ALL_LDFLAGS = $(FLAGS_$(VARIANT)) -pthread -pie -Wl,-z,relro,-z,now $(LDFLAGS)
LIBS        := -luring -lyaml -lluajit-5.1 -lmicrohttpd -lm
LIBRARIES   := $(shell pkg-config --exists liburing yaml-0.1 luajit libmicrohttpd 2>/dev/null && echo "liburing $$(pkg-config --modversion liburing), libyaml $$(pkg-config --modversion yaml-0.1), LuaJIT $$(pkg-config --modversion luajit), libmicrohttpd $$(pkg-config --modversion libmicrohttpd)")
TEST_LIBS   := -lcriterion

# ---- sources: every .c of a folder belongs to it ------------------------------------------------------------------------

BASE    := $(wildcard core/base/*.c)
PROTOCOL := $(wildcard core/protocol/*.c)
CONFIG  := $(wildcard config/*.c)
LUA     := $(wildcard lua/*.c)
# The seam: ring.c, with spin.c, and kernel.c are what a fake stands in for (tests/simulate).
SEAM    := core/engine/ring.c core/engine/kernel.c core/engine/spin.c
ENGINE  := $(filter-out $(SEAM),$(wildcard core/engine/*.c))
PROGRAM := $(filter-out core/program/main.c,$(wildcard core/program/*.c))
LIBRARY := $(BASE) $(PROTOCOL) $(CONFIG) $(ENGINE) $(SEAM) $(LUA) $(PROGRAM)
SUPPORT := $(wildcard tests/support/*.c)
UNIT    := $(wildcard tests/unit/*/*.c)
SCENARIO := $(wildcard tests/scenario/*.c)
TORTURE := $(wildcard tests/torture/*.c)
# The simulator: the engine on the fake. recorder.c stands in for the access log. Its tests also run what the fake
# promises (conformance.c) on the kernel itself.
SIMULATION := $(filter-out %/main.c %_test.c tests/simulate/conformance%,$(wildcard tests/simulate/*.c)) \
              $(BASE) core/protocol/proxy_header.c $(filter-out core/engine/access_log.c,$(ENGINE))
SIMULATION_TESTS := $(wildcard tests/simulate/*_test.c) tests/simulate/conformance.c tests/support/sanitizer.c tests/support/timeouts.c
BENCH   := $(wildcard tests/bench/*.c)
HOOK_BENCH := $(wildcard tests/bench/hooks/*.c)
CHAINS  := $(wildcard tests/chains/*.c)
EPOLL_RELAY := $(wildcard tests/bench/epoll/*.c)

objects = $(patsubst %.c,$(BUILD)/%.o,$(1))

.PHONY: all run test asan tsan simulate chains fuzz coverage soak torture bench bench-quick bench-curves bench-report bench-hooks fmt lint install clean distclean help FORCE
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all

# V=1 shows the commands.
Q := $(if $(V),,@)

# ---- building -----------------------------------------------------------------------------------------------------------

all: $(BUILD)/moonring ## build build/release/moonring (VARIANT=debug|asan|tsan|coverage: another build)

$(BUILD)/moonring: $(call objects,core/program/main.c $(LIBRARY))
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

# tests/unit/engine/allocation_test.c counts what our code allocates.
COUNTED := malloc calloc realloc reallocarray strdup
$(BUILD)/tests/unit-tests: $(call objects,$(UNIT) $(SUPPORT) $(LIBRARY))
	$(Q)$(CC) $(ALL_LDFLAGS) $(COUNTED:%=-Wl,--wrap=%) -o $@ $^ $(LIBS) $(TEST_LIBS)

# .incbin is not a dependency that the compiler would tell.
$(BUILD)/lua/embed.o: $(wildcard lua/moonring/*.lua)

$(BUILD)/tests/scenario-tests: $(call objects,$(SCENARIO) $(SUPPORT) $(BASE))
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(TEST_LIBS)

$(BUILD)/tests/torture-tests: $(call objects,$(TORTURE) $(SUPPORT) $(BASE))
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(TEST_LIBS)

$(BUILD)/tests/simulator: $(call objects,tests/simulate/main.c $(SIMULATION))
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lm

# Filters in Lua on the fake: what a hook costs. It has the world's clock for sessions, and the real one to measure.
$(BUILD)/tests/hook-bench: $(call objects,$(HOOK_BENCH) $(SIMULATION) $(CONFIG) $(PROTOCOL) $(LUA))
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lyaml -lluajit-5.1 -lm

# Filters in Lua on the fake: chains of them against a model.
$(BUILD)/tests/chain-rounds: $(call objects,$(CHAINS) $(SIMULATION) $(CONFIG) $(PROTOCOL) $(LUA))
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lyaml -lluajit-5.1 -lm

$(BUILD)/tests/simulator-tests: $(call objects,$(SIMULATION_TESTS) tests/simulate/conformance_world.c $(SIMULATION))
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lm $(TEST_LIBS)

$(BUILD)/tests/conformance-tests: $(call objects,tests/simulate/conformance.c tests/simulate/conformance_kernel.c tests/support/timeouts.c $(BASE) $(SEAM))
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -luring $(TEST_LIBS)

$(BUILD)/tests/benchmark: $(call objects,$(BENCH) $(BASE) core/engine/sources.c)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -luring -lm

$(BUILD)/tests/epoll-relay: $(call objects,$(EPOLL_RELAY) $(BASE))
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lm

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC $<"
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# Made again when the version changes, not otherwise.
VERSION_FLAGS = -DMOONRING_VERSION='"$(VERSION)"' -DMOONRING_DATE='"$(DATE)"' -DMOONRING_VARIANT='"$(VARIANT)"' -DMOONRING_LIBRARIES='"$(LIBRARIES)"'
$(BUILD)/core/program/version.o: CPPFLAGS += $(VERSION_FLAGS)
$(BUILD)/core/program/version.o: $(BUILD)/version.stamp
$(BUILD)/version.stamp: FORCE
	@mkdir -p $(@D)
	@echo '$(VERSION)' | cmp -s - $@ || echo '$(VERSION)' > $@
FORCE:

# ---- running ------------------------------------------------------------------------------------------------------------

run: ## install what is missing, build, and start moonring in front of two small servers
	@.ci/install build
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@echo; echo "  moonring balances http://127.0.0.1:8080/ over two small servers. In another terminal, twice:"
	@echo; echo "      curl http://127.0.0.1:8080/"
	@echo; echo "  A answers, then B. Ctrl-C ends everything."; echo
	@$(BUILD)/moonring run -c examples/quick-start.yaml

# ---- testing ------------------------------------------------------------------------------------------------------------

TESTS = $(BUILD)/tests/unit-tests $(BUILD)/tests/conformance-tests $(BUILD)/tests/simulator-tests $(BUILD)/tests/scenario-tests
# Tests of the simulator run these: the simulator under valgrind, and chains of filters.
$(BUILD)/tests/simulator-tests: | $(BUILD)/tests/simulator $(BUILD)/tests/chain-rounds
export MOONRING = $(BUILD)/moonring

test: ## install what is missing and run every test
	@.ci/install build test
	@$(MAKE) --no-print-directory -j$(JOBS) $(BUILD)/moonring $(BUILD)/tests/hook-bench $(TESTS)
	@tests/run.sh $(TESTS)

asan: ## unit tests, simulator and scenarios under AddressSanitizer and UndefinedBehaviorSanitizer, with leaks
	@.ci/install build test
	@$(MAKE) --no-print-directory -j$(JOBS) VARIANT=asan $(SANITIZED:%=build/asan/%)
	@$(MAKE) --no-print-directory -j$(JOBS) VARIANT=release build/release/tests/scenario-tests
	@tests/run.sh build/asan/tests/unit-tests build/asan/tests/simulator-tests
	@MOONRING=build/asan/moonring TEST_FILTER='$(UNDER_ASAN)' tests/run.sh build/release/tests/scenario-tests
SANITIZED = moonring tests/unit-tests tests/simulator-tests
# reload_memory: the sanitizers' allocators keep what was freed for a while.
UNDER_ASAN = !(soak|fault|torture|reload_memory)/*

# What has several threads, and of the simulator, which has one, only a little. ThreadSanitizer's own thread keeps the rights
# that user/* looks for; databases and ssh add only time. It keeps a signal back until the next system call, and so never ends
# a script that runs away: the two tests that want one ended are left out.
tsan: ## unit tests, simulator and scenarios with several workers under ThreadSanitizer
	@.ci/install build test
	@$(MAKE) --no-print-directory -j$(JOBS) VARIANT=tsan $(SANITIZED:%=build/tsan/%)
	@$(MAKE) --no-print-directory -j$(JOBS) VARIANT=release build/release/tests/scenario-tests
	@TEST_FILTER='$(UNDER_TSAN_UNIT)' tests/run.sh build/tsan/tests/unit-tests
	@TEST_FILTER='!(chains)/!(*fifty_thousand*)' tests/run.sh build/tsan/tests/simulator-tests
	@MOONRING=build/tsan/moonring TEST_FILTER='$(UNDER_TSAN)' tests/run.sh build/release/tests/scenario-tests
UNDER_TSAN_UNIT = @(courtesy|errand|ring*|kernel|access_log*|server|session|flow|listener|worker|zero_copy|buffer|log|metric|meter)/*
UNDER_TSAN = !(example*|torture|user|ssh|postgres|nginx|redis|soak|fault|kernel_refusal|reload_memory)/!(tell_of_filters_and*|hears_nothing_while_a_worker*)

SEED ?= 1
SEEDS ?= 1000
SESSIONS ?= 100
simulate: ## run the engine in a simulated world: SEED=first SEEDS=count SESSIONS=of each seed
	@$(MAKE) --no-print-directory -j$(JOBS) $(BUILD)/tests/simulator
	@$(BUILD)/tests/simulator --seed $(SEED) --seeds $(SEEDS) --sessions $(SESSIONS)

ROUNDS ?= 1000000
chains: ## chains of Lua filters in random pieces against a model: SEED=first ROUNDS=1000000 (about 6 minutes)
	@.ci/install build
	@$(MAKE) --no-print-directory -j$(JOBS) $(BUILD)/tests/chain-rounds
	@$(BUILD)/tests/chain-rounds --seed $(SEED) --rounds $(ROUNDS)

COVERED = moonring tests/unit-tests tests/simulator-tests tests/scenario-tests
coverage: ## which lines the unit tests, the simulator and scenarios run, the worst file last; what of flow and session did not run
	@.ci/install build test
	@$(MAKE) --no-print-directory -j$(JOBS) VARIANT=coverage $(COVERED:%=build/coverage/%)
	@TEST_FILTER='!(soak)/*' tests/coverage.sh build/coverage build/coverage/tests/unit-tests build/coverage/tests/simulator-tests \
	    build/coverage/tests/scenario-tests

SECONDS ?= 1800
soak: ## mixed load for SECONDS=1800: descriptors, memory and objects must stay as they are
	@.ci/install build test
	@$(MAKE) --no-print-directory -j$(JOBS) all $(BUILD)/tests/scenario-tests
	@SOAK_SECONDS=$(SECONDS) TEST_FILTER='soak/*' tests/run.sh $(BUILD)/tests/scenario-tests

BENCHMARK = $(BUILD)/tests/benchmark --moonring $(BUILD)/moonring --epoll-relay $(BUILD)/tests/epoll-relay
RELOADS ?= 1000
torture: ## RELOADS=1000 reloads under load: nobody may notice, nothing may stay behind; then HAProxy and nginx, for comparison
	@.ci/install build test bench
	@$(MAKE) --no-print-directory -j$(JOBS) all $(BUILD)/tests/scenario-tests $(BUILD)/tests/torture-tests
	@rm -f $(BUILD)/torture.txt
	@TORTURE_RELOADS=$(RELOADS) TORTURE_TABLE=$(BUILD)/torture.txt MEMORY_SESSIONS=9000 MEMORY_RELOADS=$(RELOADS) \
	    TEST_FILTER='@(torture|rivals|reload_memory)/*' TEST_JOBS=1 \
	    tests/run.sh $(BUILD)/tests/scenario-tests $(BUILD)/tests/torture-tests; result=$$?; \
	    cat $(BUILD)/torture.txt; exit $$result

bench: ## compare with HAProxy, nginx and an epoll relay: throughput, latency, CPU, memory, filters, reloads (about 18 minutes)
	@.ci/install build bench
	@$(MAKE) --no-print-directory -j$(JOBS) all $(BUILD)/tests/benchmark $(BUILD)/tests/epoll-relay
	@mkdir -p $(FIGURES)
	@bash -o pipefail -c '$(BENCHMARK) --json $(FIGURES)/$(BENCH_NAME).json $(BENCH_FLAGS) | tee $(FIGURES)/$(BENCH_NAME).txt'
FIGURES = build/bench
BENCH_NAME ?= bench

CHUNKS ?= 10000000
bench-hooks: ## what byte hooks in Lua add to relaying a chunk, in process, over CHUNKS=10000000 of 64 bytes
	@.ci/install build
	@$(MAKE) --no-print-directory -j$(JOBS) $(BUILD)/tests/hook-bench
	@$(BUILD)/tests/hook-bench $(CHUNKS)

bench-quick: ## the same with few and short rounds: what works, and figures of a rough kind (about 3 minutes)
	@$(MAKE) --no-print-directory bench BENCH_NAME=quick BENCH_FLAGS='--rounds 1 --seconds 0.4 $(BENCH_FLAGS)'

bench-curves: ## throughput, p99 and CPU against connections, sizes, listeners and servers (about 7 minutes)
	@$(MAKE) --no-print-directory bench BENCH_NAME=curves BENCH_FLAGS='--only curves $(BENCH_FLAGS)'

bench-report: ## draw the figures of `make bench`, and of `make bench-curves` if there are some: tests/bench/REPORT.md
	@python3 tests/bench/report.py tests/bench README.md $(wildcard $(FIGURES)/bench.json $(FIGURES)/curves.json)

# ---- fuzzing ------------------------------------------------------------------------------------------------------------

FUZZERS = $(patsubst tests/fuzz/%_fuzzer.c,%,$(wildcard tests/fuzz/*_fuzzer.c))
FUZZED  = $(BASE) $(PROTOCOL) $(CONFIG) core/program/arguments.c core/program/commands.c
FUZZ_SECONDS ?= 60

$(BUILD)/framing-fuzzer: $(call objects,lua/framing.c lua/framers.c lua/framers_http1.c lua/exchange.c)
$(BUILD)/%-fuzzer: $(call objects,tests/fuzz/%_fuzzer.c $(FUZZED))
	$(Q)$(CC) $(FLAGS_fuzz) -fsanitize=fuzzer -pthread -o $@ $^ $(LIBS)

fuzz: ## every fuzzer for FUZZ_SECONDS=60, beginning with its corpus
	@.ci/install build lint
	@$(MAKE) --no-print-directory -j$(JOBS) VARIANT=fuzz CC=clang $(FUZZERS:%=build/fuzz/%-fuzzer)
	@FUZZ_SECONDS=$(FUZZ_SECONDS) tests/fuzz/run.sh $(FUZZERS:%=build/fuzz/%-fuzzer)

# ---- reading ------------------------------------------------------------------------------------------------------------

lint: ## check format, dependencies between folders, words, and warnings of clang
	@.ci/install build test lint
	@LINT_FLAGS='$(CPPFLAGS) $(COMMON)' tests/lint/lint.sh

fmt: ## format the C sources
	@git ls-files -co --exclude-standard '*.c' '*.h' | xargs clang-format -i

# ---- installing ---------------------------------------------------------------------------------------------------------

SHARE = $(DESTDIR)$(PREFIX)/share

install: all ## install below $(DESTDIR)$(PREFIX), with manual pages, a systemd unit and a seccomp profile for containers
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/systemd/system $(SHARE)/moonring \
	    $(SHARE)/man/man1 $(SHARE)/man/man5 $(SHARE)/bash-completion/completions \
	    $(SHARE)/moonring/library $(SHARE)/doc/moonring/examples $(DESTDIR)/etc/moonring
	install -m 755 $(BUILD)/moonring $(DESTDIR)$(PREFIX)/bin/moonring
	sed 's|@PREFIX@|$(PREFIX)|g' core/program/moonring.service.in > $(DESTDIR)$(PREFIX)/lib/systemd/system/moonring.service
	install -m 644 core/program/moonring.seccomp.json $(SHARE)/moonring/seccomp.json
	$(BUILD)/moonring config schema > $(SHARE)/moonring/moonring.schema.json
	$(BUILD)/moonring manual moonring.1 > $(SHARE)/man/man1/moonring.1
	$(BUILD)/moonring manual moonring.yaml.5 > $(SHARE)/man/man5/moonring.yaml.5
	$(BUILD)/moonring completion > $(SHARE)/bash-completion/completions/moonring
	install -m 644 README.md $(SHARE)/doc/moonring/README.md
	install -m 644 config/README.md $(SHARE)/doc/moonring/configuration.md
	install -m 644 core/program/README.md $(SHARE)/doc/moonring/operating.md
	install -m 644 lua/README.md $(SHARE)/doc/moonring/filters.md
	install -m 644 lua/library/moonring.lua $(SHARE)/moonring/library/moonring.lua
	install -m 644 examples/*.lua examples/*.yaml examples/*.md examples/*.json $(SHARE)/doc/moonring/examples
	test -e $(DESTDIR)/etc/moonring/moonring.yaml || install -m 644 core/program/moonring.yaml $(DESTDIR)/etc/moonring/moonring.yaml

clean: ## remove what was built (this variant)
	rm -rf $(BUILD)

distclean: ## remove everything that was built
	rm -rf build

help: ## list these targets
	@echo "make TARGET [VARIANT=release|debug|asan|tsan|coverage] [CC=clang] [PREFIX=/usr/local] [DESTDIR=]"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' Makefile | while IFS='|' read -r target text; do printf '%-12s %s\n' "$$target" "$$text"; done

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
