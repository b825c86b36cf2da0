# Slipway. `make demo` runs the main job, `make check` the tests; `make help` lists the rest.
#   SAN=1      AddressSanitizer and UndefinedBehaviorSanitizer, in a build folder of its own
#   CC=clang   the other compiler, likewise
#   PREFIX, DESTDIR   for make install

CC := $(if $(filter default,$(origin CC)),gcc,$(CC))
SAN ?=
PREFIX ?= /usr/local
DESTDIR ?=
VERSION := $(shell cat VERSION)

variant := $(if $(filter clang%,$(notdir $(CC))),-clang)$(if $(SAN),-san)
B := build$(variant)

PKGS := jansson libsodium libcrypto libgit2 libarchive libmicrohttpd yaml-0.1 sqlite3 libseccomp libcurl
pkg_cflags := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
pkg_libs := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lbz2 -lpthread

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wwrite-strings -Wformat=2 -Werror
comma := ,
SANFLAGS := $(if $(SAN),-fsanitize=address$(comma)undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
CPPFLAGS = -D_GNU_SOURCE -DSLIPWAY_VERSION='"$(VERSION)"' -I. $(pkg_cflags)
CFLAGS = -std=c17 -O2 -g $(WARN) -fstack-protector-strong -D_FORTIFY_SOURCE=2
ifneq ($(SAN),)
CFLAGS := $(filter-out -D_FORTIFY_SOURCE=2,$(CFLAGS))
endif
LDFLAGS = -Wl,-z,relro,-z,now -Wl,--as-needed

# V=1 shows the commands.
say = @$(if $(V),,echo '  $(1)';)

lib_src := $(wildcard lib/*.c)
senv_src := $(filter-out senv/main.c,$(wildcard senv/*.c))
runner_src := $(filter-out runner/main.c runner/job_main.c,$(wildcard runner/*.c runner/*/*.c))
unit_src := $(wildcard tests/unit/test_*.c)
fuzz_src := $(wildcard tests/fuzz/fuzz_*.c)

obj = $(patsubst %.c,$(B)/obj/%.o,$(1))
common_obj := $(call obj,$(lib_src) $(senv_src))
all_obj := $(common_obj) $(call obj,$(runner_src))
units := $(patsubst tests/unit/%.c,$(B)/tests/%,$(unit_src))
bins := $(B)/bin/runner $(B)/bin/slipway-runner $(B)/bin/senv $(B)/bin/slipway-init $(B)/bin/slipway-job $(B)/bin/slipway-supervise

all: $(bins)

help:
	@echo 'all      the programs, into $(B)/bin'
	@echo 'demo     the main job in a throwaway folder; KEEP=1 leaves it running'
	@echo 'check    all tests: units under sanitizers, lint, end to end'
	@echo 'check-xen  deploys to real Xen in a virtual machine (TCG)'
	@echo 'lint     layering, banned functions, cppcheck, formats, shellcheck, man pages'
	@echo 'units    the unit tests alone; SAN=1 under sanitizers'
	@echo 'e2e      the end-to-end tests alone; ONLY=part-of-a-name'
	@echo 'bench    figures against what a user would use instead, into build/bench.json'
	@echo 'fuzz     every fuzzer for SECONDS_EACH (60) seconds'
	@echo 'install, uninstall   below PREFIX (/usr/local) and DESTDIR; as root'
	@echo 'deps     installs the Debian packages of packages.txt that are missing'
	@echo 'SAN=1 sanitizers, CC=clang the other compiler, V=1 shows the commands'

deps:
	@tools/deps

demo:
	@tools/deps
	@$(MAKE) --no-print-directory all
	@KEEP=$(KEEP) BIN=$(abspath $(B)/bin) tools/demo

check:
	@tools/deps
	@$(MAKE) --no-print-directory all
	@tools/check

lint:
	@tools/lint/all

# Deploys to real Xen, in a virtual machine without KVM; what it downloads is cached.
check-xen: all
	@tests/xen/run || [ $$? = 77 ]

bench: all
	@BIN=$(abspath $(B)/bin) tests/bench/run

units: $(units)
	@tools/run-units $(units)

e2e: all
	@BIN=$(abspath $(B)/bin) tests/e2e/run $(ONLY)

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC    $<)$(CC) $(CPPFLAGS) $(CFLAGS) $(SANFLAGS) -MMD -MP -c $< -o $@

$(B)/libslipway.a: $(all_obj)
	@rm -f $@
	@$(AR) rcs $@ $^

$(B)/obj/runner/main_whole.o: runner/main.c
	@mkdir -p $(@D)
	$(call say,CC    $< (whole))$(CC) $(CPPFLAGS) -DRUNNER_WHOLE $(CFLAGS) $(SANFLAGS) -MMD -MP -c $< -o $@

$(B)/bin/slipway-runner: $(B)/obj/runner/main_whole.o $(B)/libslipway.a
	@mkdir -p $(@D)
	$(call say,LINK  $@)$(CC) $(SANFLAGS) $(LDFLAGS) $^ $(pkg_libs) -o $@

# What starts often has what it needs linked in, since loading the whole runner's 56 shared libraries takes 6 to 11 ms:
# what a person or a script types, and what each job starts twice. What is not named here is linked as ever, and then
# loaded at each start: keep it small. Without --gc-sections, libarchive's writers, which are not used, would ask for all
# of its compressors.
static_libs := -Wl,--gc-sections -Wl,-Bstatic -ljansson -lsodium -lsqlite3 -lseccomp -larchive -lyaml -lbz2 -Wl,-Bdynamic
$(B)/bin/runner: $(B)/obj/runner/main.o $(B)/libslipway.a
	@mkdir -p $(@D)
	$(call say,LINK  $@)$(CC) $(SANFLAGS) $(LDFLAGS) $^ $(static_libs) $(pkg_libs) -lm -o $@

$(B)/bin/slipway-job: $(B)/obj/runner/job_main.o $(B)/libslipway.a
	@mkdir -p $(@D)
	$(call say,LINK  $@)$(CC) $(SANFLAGS) $(LDFLAGS) $^ $(static_libs) $(pkg_libs) -lm -o $@

$(B)/bin/senv: $(B)/obj/senv/main.o $(common_obj)
	@mkdir -p $(@D)
	$(call say,LINK  $@)$(CC) $(SANFLAGS) $(LDFLAGS) $^ $(shell pkg-config --libs jansson libsodium yaml-0.1 libcurl) -o $@

# Static and without sanitizers: it runs as pid 1 of containers that may hold nothing else.
$(B)/bin/slipway-init: runner/sandbox/init/init.c
	@mkdir -p $(@D)
	$(call say,CC    $<)$(CC) $(CPPFLAGS) $(CFLAGS) -Os -static -MMD -MP -MF $(B)/slipway-init.d $< -o $@
	@strip $@

# Static: it is copied to target boxes.
$(B)/bin/slipway-supervise: $(wildcard deploy-hooks/supervise/*.[ch])
	@mkdir -p $(@D)
	$(call say,CC    $@)$(CC) $(CPPFLAGS) $(CFLAGS) -Os -static $(filter %.c,$^) -o $@
	@strip $@

$(B)/tests/%: $(B)/obj/tests/unit/%.o $(B)/libslipway.a
	@mkdir -p $(@D)
	$(call say,LINK  $@)$(CC) $(SANFLAGS) $(LDFLAGS) $^ $(pkg_libs) -lcmocka -o $@

$(B)/bench/%: $(B)/obj/tests/bench/%.o $(B)/libslipway.a
	@mkdir -p $(@D)
	$(CC) $(SANFLAGS) $(LDFLAGS) $^ $(pkg_libs) -o $@

# Fuzzers: clang's libFuzzer over sources built with coverage. SECONDS_EACH bounds each run; FUZZ='seal mask' takes
# these only.
SECONDS_EACH ?= 60
FUZZ ?= $(patsubst tests/fuzz/fuzz_%.c,%,$(fuzz_src))
fuzz_bins := $(patsubst %,build-fuzz/fuzz_%,$(FUZZ))
fuzz_flags := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
build-fuzz/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CLANG $<)clang $(CPPFLAGS) -std=c17 -O1 -g $(WARN) $(fuzz_flags) -MMD -MP -c $< -o $@

build-fuzz/libslipway.a: $(patsubst %.c,build-fuzz/obj/%.o,$(lib_src) $(senv_src) $(runner_src))
	@rm -f $@
	@$(AR) rcs $@ $^

build-fuzz/%: build-fuzz/obj/tests/fuzz/%.o build-fuzz/libslipway.a
	$(call say,LINK  $@)clang -fsanitize=fuzzer,address,undefined $(LDFLAGS) $^ $(pkg_libs) -o $@

fuzz: $(fuzz_bins)
	@SECONDS_EACH=$(SECONDS_EACH) tools/run-fuzz $(fuzz_bins)

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/libexec/slipway $(DESTDIR)$(PREFIX)/share/slipway $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/man/man5 $(DESTDIR)$(PREFIX)/share/man/man7 $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/site-functions
	install -m 755 $(B)/bin/runner $(B)/bin/senv $(B)/bin/slipway-supervise $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(B)/bin/slipway-init $(B)/bin/slipway-job $(B)/bin/slipway-runner $(DESTDIR)$(PREFIX)/libexec/slipway
	cp -R deploy-hooks ci-templates $(DESTDIR)$(PREFIX)/share/slipway
	install -m 644 docs/ci.schema.json $(DESTDIR)$(PREFIX)/share/slipway
	sed 's,@PREFIX@,$(PREFIX),' docs/slipway-runner.service >$(DESTDIR)$(PREFIX)/share/slipway/slipway-runner.service
	$(B)/bin/senv completion bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/senv
	$(B)/bin/senv completion zsh >$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_senv
	for s in 1 5 7; do for f in docs/*.$$s; do [ ! -e "$$f" ] || install -m 644 "$$f" $(DESTDIR)$(PREFIX)/share/man/man$$s; done; done

uninstall:
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/bin/,runner senv slipway-supervise)
	rm -rf $(DESTDIR)$(PREFIX)/libexec/slipway $(DESTDIR)$(PREFIX)/share/slipway
	rm -f $(DESTDIR)$(PREFIX)/share/bash-completion/completions/senv $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_senv
	rm -f $(foreach f,$(wildcard docs/*.[157]),$(DESTDIR)$(PREFIX)/share/man/man$(patsubst .%,%,$(suffix $(f)))/$(notdir $(f)))

clean:
	rm -rf build build-*

-include $(wildcard $(B)/obj/*/*.d $(B)/obj/*/*/*.d $(B)/*.d build-fuzz/obj/*/*.d build-fuzz/obj/*/*/*.d)

.PHONY: all help deps demo check check-xen lint bench units e2e fuzz install uninstall clean
.SECONDARY:
