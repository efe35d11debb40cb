# The suite's commands. Each installs what it needs first (as root: from the distribution's packages;
# Python packages into .venv), shows what it does, and fails when anything fails.
#
#   make demo              two throw-away containers on nerdctl's default network, shown step by step
#   make test              build, and every test
#   make build             dist/cni/bin: one executable per plugin and the runtime they share
#   make install           ... into BINDIR, replacing files atomically
#   make lint | check      ruff and mypy | lint and test
#   make test-reference    the black-box scenarios on the reference plugins
#   make bench             ours and the reference measured side by side (docs/performance.md)
#   make docs | clean

PYTHON ?= /usr/bin/python3
BINDIR ?= /opt/cni/bin
DESTDIR ?=
# systemd's directory for what an administrator installs; units go there where systemd runs
UNITDIR ?= $(if $(DESTDIR),/usr/lib/systemd/system,$(if $(wildcard /run/systemd/system),/usr/local/lib/systemd/system))
REFERENCE ?= /usr/lib/cni
PYTEST_FLAGS ?= -n auto

VENV := .venv
SOURCES := $(shell find cnilib plugins tools/freeze -name '*.py') build.spec
BUILT := dist/cni/bin
STAGE := build/stage/bin

say = @printf '\033[1m==> %s\033[0m\n'

.PHONY: bench help demo test build install uninstall lint check test-reference docs clean setup
.DELETE_ON_ERROR:

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

demo: build
	@tools/packages.sh demo
	@$(VENV)/bin/python -m tools.demo $(BUILT)

test: build
	@tools/packages.sh test
	@tools/tests.sh $(CURDIR)/$(BUILT) tests $(PYTEST_FLAGS)
	$(say) 'the scenarios once more, each call handed over to cnid'
	@CNI_BIN=$(CURDIR)/$(BUILT) tools/pytest.sh cnid tests/scenarios --with-cnid \
		--not-needing "$$($(VENV)/bin/python -m tests.lab.features)" $(PYTEST_FLAGS)

test-reference: $(VENV)/.ready
	@tools/packages.sh test
	@tools/tests.sh $(REFERENCE) tests/scenarios $(PYTEST_FLAGS)

build: build/.done

build/.done: $(SOURCES) $(VENV)/.loader tools/install.py
	$(say) 'freezing the plugins'
	@rm -rf build/stage
	@PYTHONNODEBUGRANGES=1 PYTHONHASHSEED=0 $(VENV)/bin/python -m PyInstaller --noconfirm \
		--log-level $(if $(VERBOSE),INFO,ERROR) --distpath build/stage --workpath build/work build.spec
	@$(VENV)/bin/python -m tools.install --prune $(STAGE) $(BUILT)
	@touch $@
	$(say) "built $$(ls -p $(BUILT) | grep -vc /) plugins in $(BUILT), $$(du -sh $(BUILT) | cut -f1)"

install: build
	$(say) 'installing into $(DESTDIR)$(BINDIR)'
	@$(VENV)/bin/python -m tools.install --bindir $(BINDIR) $(if $(UNITDIR),--units $(DESTDIR)$(UNITDIR)) \
		$(BUILT) $(DESTDIR)$(BINDIR)
	@$(if $(UNITDIR),echo 'systemd units are in $(UNITDIR): docs/install.md says what they are for',:)

uninstall:
	@$(VENV)/bin/python -m tools.install --uninstall $(if $(UNITDIR),--units $(DESTDIR)$(UNITDIR)) \
		$(DESTDIR)$(BINDIR)

lint: $(VENV)/.ready
	$(say) 'ruff and mypy'
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

check: lint test

bench: build
	@tools/packages.sh test
	@$(VENV)/bin/python -m pip install -q --disable-pip-version-check -c tools/constraints.txt matplotlib
	@$(VENV)/bin/python -m tests.bench --json build/bench.json --picture build/bench.svg $(BENCH_FLAGS)

docs: $(VENV)/.ready
	@$(VENV)/bin/python -m tools.docs

clean:
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

setup: $(VENV)/.loader

$(VENV)/.loader: $(VENV)/.ready tools/freeze/early.c tools/freeze/loader.py
	$(say) "building PyInstaller's boot loader"
	@$(VENV)/bin/python -m tools.freeze.loader
	@touch $@

# The distribution's interpreter: its shared library is what the executables carry.
$(VENV)/.ready: pyproject.toml tools/constraints.txt tools/requirements.py tools/packages.sh
	$(say) 'preparing: packages and $(VENV)'
	@tools/packages.sh build
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed, $(PYTHON) is " + sys.version)'
	@test -x $(VENV)/bin/pip || $(PYTHON) -m venv --clear $(VENV)
	@$(PYTHON) tools/requirements.py build test lint demo > $(VENV)/requirements.txt
	@$(VENV)/bin/python -m pip install --disable-pip-version-check --progress-bar on \
		-r $(VENV)/requirements.txt -c tools/constraints.txt
	@touch $@
