# make help lists the targets. Everything works from a clone below a home that other users cannot enter.

CARGO   ?= cargo
PREFIX  ?= /usr/local
DESTDIR ?=
DIR     ?= /usr/bin
SOAK_SECONDS ?= 1800
SOAK_SEED    ?=

PROGRAMS := fdbroker fdscand fdscan fdbrokerctl
# One profile for everything, so that the engine is compiled once.
BUILD    := $(CARGO) build --release --locked --workspace --bins
OUT      := target/release
# FDSCAN_STATIC=no: fdscan without the C library inside.
export FDSCAN_STATIC

.PHONY: help build test bench microbench soak demo check fmt clippy doc deny count-root-lines install uninstall deb man picture \
        clean need fuzz mutation fairness

help:
	@echo "make build              the four executables, in $(OUT)"
	@echo "make demo [DIR=...]     shows the main job for real, then stops everything"
	@echo "make test               all tests; whole-system ones need root and are counted as skipped without"
	@echo "make soak               everything at once as root, for SOAK_SECONDS (1800), with the choices of SOAK_SEED"
	@echo "make bench              beside yr, clamd and others, as ratios, into docs/performance.md; needs root"
	@echo "make microbench         instructions of the hot paths, into docs/performance.md"
	@echo "make check              fmt, clippy, doc, and the number of lines that run as root"
	@echo "make fairness           how fast a caller is beside one that crashes workers; needs root"
	@echo "make man                man/, completions/ and etc/, anew from the programs' own options and keys"
	@echo "make picture            the picture of the README, anew from a real scan; needs root"
	@echo "make install [DESTDIR=] [PREFIX=$(PREFIX)]   and make uninstall, which removes the same files"
	@echo "make deb                the Debian package, in target/debian"
	@echo "make count-root-lines   first-party lines that can run with uid 0"
	@echo "make deny               licences and advisories, with cargo-deny"
	@echo "make mutation           takes one defence after the other away and shows which test notices"
	@echo "make fuzz [FUZZ_SECONDS=30] [FUZZ_TARGET=...]   every decoder under libFuzzer, for so long each"

need:
	@scripts/need.sh $(CARGO)

build: need
	$(BUILD)
	@scripts/static.sh $(CARGO)
	@# Whatever the umask: other users are to execute them, by descriptor.
	@cd $(OUT) && chmod a+rx $(PROGRAMS)

test: build
	scripts/test.sh $(CARGO)
	@# cargo test has made fdscan anew, without the C library inside.
	@scripts/static.sh $(CARGO)

# A measurement, of a quiet machine.
fairness: build
	$(CARGO) build --release --locked -p fdbroker-scanner --example fdscand-faults
	$(CARGO) test --release --locked -p fdbroker-tests --test faults -- --ignored --nocapture speed_beside

# With the scanner that has faults.
soak: build
	$(CARGO) build --release --locked -p fdbroker-scanner --example fdscand-faults
	SOAK_SECONDS=$(SOAK_SECONDS) SOAK_SEED=$(SOAK_SEED) $(OUT)/soak
# BENCH_RUNS=5 rounds; BENCH_FULL=1 with 500,000 files; BENCH_ONLY=small,held… only these, and nothing is recorded.
bench: build
	$(OUT)/bench $(if $(BENCH_ONLY),,docs)

microbench: need
	$(CARGO) bench --locked -p fdbroker-broker --bench hot_paths -- $(CURDIR)/docs/performance.md

demo: build
	@scripts/demo.sh $(OUT) "$(DIR)"

check: need fmt clippy doc count-root-lines

fmt:
	$(CARGO) fmt --all --check

clippy:
	$(CARGO) clippy --release --locked --workspace --all-targets -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --release --locked --workspace --no-deps

# Of a real scan on a terminal; needs root.
picture: build
	$(OUT)/picture docs/terminal.svg

deny:
	$(CARGO) deny check

count-root-lines:
	@scripts/count-root-lines.sh

# Pages and completions, and etc/fdbroker.toml. fdbroker-protocol.7 is written by hand.
man: build
	$(OUT)/pages-of-programs "$(CURDIR)"

install uninstall:
	@scripts/install.sh $@ "$(OUT)" "$(DESTDIR)" "$(PREFIX)"

# Of the same executables that the tests run, but for fdscan, which contains the C library. DEB_VERSION=0.1.0-2 for another version.
deb: build
	@scripts/deb.sh $(CARGO) "$(OUT)" target/debian

clean:
	$(CARGO) clean

mutation: need
	scripts/mutation.sh

fuzz: need
	scripts/fuzz.sh $(CARGO)
