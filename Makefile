# What a student, a lecturer and a developer do, each in one word: `make help` lists them.
# Linux and macOS; on Windows use conda and environment.yml.
#
#   PYTHON=python3.12             the interpreter that makes the environment
#   VENV=.venv                    where it is made (no spaces; an existing environment will do)
#   JUPYTER_ARGS=--no-browser     handed to JupyterLab
#   PIP_ARGS=…                    handed to pip, such as where to find PyTorch for CPUs (README.md)
#
# What mpkit itself reads (MPKIT_SCALE, MPKIT_SYNC, MPKIT_DATA …) passes through from the shell.

PYTHON ?= python3
VENV ?= .venv
JUPYTER_ARGS ?=
PIP_ARGS ?=

BIN := $(VENV)/bin
NOTEBOOKS := $(sort $(wildcard notebooks/*.ipynb notebooks/lecture/*.ipynb))
BENCHMARKS := $(sort $(filter-out %/__init__.py %/conftest.py,$(wildcard tests/benchmarks/*.py)))
# Two files at a time, each as a whole; what takes longest comes first (tests/conftest.py).
BY_FILE = -n 2 --dist loadfile --no-loadscope-reorder
# Three in browsers, where much is waited for.
BROWSED = -n 3 --dist loadfile --no-loadscope-reorder
# Two notebooks likewise.
NBVAL = -p tests.notebooks.once -n 2 --dist loadscope --no-loadscope-reorder --nbval --nbval-current-env --nbval-cell-timeout=120

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help setup lab lecture demo test lint test-unit test-notebooks test-browser bench format constraints margins opening clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

# ── the environment: one stamp for each set of extras, so that a second run has nothing to do ──────

$(VENV)/.created:
	@found="$(PYTHON)"; [ ! -x "$(BIN)/python" ] || found="$(BIN)/python"; \
	command -v "$$found" >/dev/null || { \
	    echo "There is no '$$found' here. Install Python 3.11 or newer, or name one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }; \
	"$$found" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "mpkit needs Python 3.11 or newer, and '$$found' is $$("$$found" --version 2>&1). Name another: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }; \
	"$$found" -c 'import sys; sys.exit(sys.version_info >= (3, 15))' || { \
	    echo "The versions in constraints.txt are for Python 3.11 to 3.14, and '$$found' is $$("$$found" --version 2>&1). Name another: make $(MAKECMDGOALS) PYTHON=python3.14"; exit 1; }
	@"$(BIN)/python" -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv "$(VENV)" || { \
	    echo "'$(PYTHON) -m venv $(VENV)' failed, for the reason above. On Debian and Ubuntu: sudo apt-get install python3-venv, and then make $(MAKECMDGOALS) again."; exit 1; }
	@touch "$@"

# Whoever has no NVIDIA card need not wait for its libraries. What pip's settings say is not seen here.
define tell_size
[ "$$(uname -s)" != Linux ] || [ -n "$(PIP_ARGS)" ] || [ -e /proc/driver/nvidia ] || command -v nvidia-smi >/dev/null \
|| "$(BIN)/python" -c 'import importlib.util as u, sys; sys.exit(not u.find_spec("torch"))' || { \
echo "There is no NVIDIA driver here, and yet pip may bring PyTorch for NVIDIA cards: 2.7 GB to download, where PyTorch for CPUs has 0.2 GB."; \
echo "For that: Ctrl-C, and make $(MAKECMDGOALS) PIP_ARGS='--extra-index-url ADDRESS', with the address that"; \
echo "https://pytorch.org/get-started/locally names for Linux, Pip and CPU."; }
endef

# $(call install,[extras])
define install
@$(tell_size)
@echo "Installing mpkit$(1) into $(VENV) (minutes the first time: torch is large)"
@"$(BIN)/python" -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e ".$(1)"
@touch "$@"
endef

$(VENV)/.with-library: $(VENV)/.created pyproject.toml setup.py constraints.txt
	$(call install,)

$(VENV)/.with-notebooks: $(VENV)/.created pyproject.toml setup.py constraints.txt
	$(call install,[notebooks])
	@touch "$(VENV)/.with-library"

$(VENV)/.with-dev: $(VENV)/.created pyproject.toml setup.py constraints.txt
	$(call install,[dev])
	@touch "$(VENV)/.with-library" "$(VENV)/.with-notebooks"

# Also what only the benchmarks need.
$(VENV)/.with-bench: $(VENV)/.created pyproject.toml setup.py constraints.txt
	$(call install,[bench])
	@touch "$(VENV)/.with-library" "$(VENV)/.with-notebooks"

# ── for students and lecturers ─────────────────────────────────────────────────────────────────────

setup: $(VENV)/.with-notebooks ## make the environment: the library and what the notebooks need
	@echo "Ready. Next: make lab"

lab: $(VENV)/.with-notebooks ## open the course in JupyterLab
	JUPYTER_PREFER_ENV_PATH=1 "$(BIN)/python" -m jupyterlab --ServerApp.ip=127.0.0.1 --ServerApp.root_dir=notebooks $(JUPYTER_ARGS)

lecture: $(VENV)/.with-notebooks ## every lab as a page without code, in large type
	JUPYTER_PREFER_ENV_PATH=1 "$(BIN)/python" -m jupyter_server --ServerApp.ip=127.0.0.1 --ServerApp.root_dir=notebooks/lecture \
	    --ServerApp.jpserver_extensions="voila.server_extension=True" --ServerApp.default_url=/voila/render/index.ipynb \
	    --ServerApp.open_browser=True $(JUPYTER_ARGS)

demo: $(VENV)/.with-library ## a whole attack in the terminal
	"$(BIN)/mpkit" attack

# ── for developers ─────────────────────────────────────────────────────────────────────────────────

# $(call stage,name,command): says what it does and how long it took
define stage
@echo "── $(1)"; begun=$$(date +%s); $(2) && echo "── $(1): passed in $$(($$(date +%s) - begun)) s"
endef

test: lint test-unit test-notebooks test-browser ## everything: lint, unit tests, notebooks, browser

lint: $(VENV)/.with-dev ## ruff: rules and layout
	$(call stage,lint,"$(BIN)/python" -m ruff check . && "$(BIN)/python" -m ruff format --check .)

test-unit: $(VENV)/.with-dev ## the unit tests
	$(call stage,unit tests,"$(BIN)/python" -m pytest tests --ignore=tests/browser --ignore=tests/notebooks -p no:nbval $(BY_FILE) $(PYTEST_ARGS))

test-notebooks: $(VENV)/.with-dev ## every notebook at the smallest scale, its labs left alone and run to their end (nbval), and as a page (nbconvert)
ifneq ($(NOTEBOOKS),)
	$(call stage,notebooks,MPKIT_SCALE=ci MPKIT_SYNC=0 "$(BIN)/python" -m pytest $(NBVAL) tests/notebooks $(NOTEBOOKS) $(PYTEST_ARGS))
endif

test-browser: $(VENV)/.with-dev ## the lab in a real browser
ifneq ($(wildcard tests/browser),)
	$(call stage,browser,"$(BIN)/python" -m pytest tests/browser $(BROWSED) $(PYTEST_ARGS))
endif

bench: $(VENV)/.with-bench ## the benchmarks, one after the other
	@[ -n "$(BENCHMARKS)" ] || { echo "There are no benchmarks in tests/benchmarks."; exit 1; }
	@set -e; for file in $(BENCHMARKS); do echo "── $$file"; "$(BIN)/python" "$$file"; done
	@echo "── meta_gradients.py on one thread"; "$(BIN)/python" tests/benchmarks/meta_gradients.py --threads 1

format: $(VENV)/.with-dev ## let ruff put the code in order
	"$(BIN)/python" -m ruff check --fix .
	"$(BIN)/python" -m ruff format .

# Resolves for 3.11.0, the oldest Python there is support for, so that no pin asks for a newer one.
define write_pins
import datetime, json, re, sys
found = json.load(open(sys.argv[1]))["install"]
pins = {re.sub(r"[-_.]+", "-", p["metadata"]["name"]).lower(): p["metadata"]["version"].split("+")[0] for p in found}
pins = {name: version for name, version in pins.items() if not re.match("mpkit|nvidia-|cuda-|triton", name)}
print(f"""# The versions mpkit is tested with, resolved on {datetime.date.today()} for Python 3.11 and all extras.
#     pip install -c constraints.txt -e ".[notebooks]"
# They fit Python 3.11 to 3.14 on Linux, macOS (Apple silicon) and Windows. What only some systems
# need (pywinpty, appnope, the CUDA libraries of torch) is left to pip. To refresh: make constraints,
# with Python 3.11; a new torch is a decision, taken in the Makefile.""")
for name in sorted(pins):
    print(f"{name}=={pins[name]}")
endef
export write_pins

TORCH := 2.13.0

constraints: $(VENV)/.created ## resolve anew and write constraints.txt
	@"$(BIN)/python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
	    echo "constraints.txt is resolved with Python 3.11, the oldest supported: make constraints PYTHON=python3.11 VENV=.venv311"; exit 1; }
	@"$(BIN)/python" -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) --dry-run --ignore-installed \
	    --python-version 3.11 --only-binary=:all: --target "$(VENV)/unused" --report "$(VENV)/resolved.json" \
	    torch==$(TORCH) ".[dev,bench]"
	@"$(BIN)/python" -c "$$write_pins" "$(VENV)/resolved.json" > "$(VENV)/constraints.txt"
	@mv "$(VENV)/constraints.txt" constraints.txt
	@echo "constraints.txt is written: make test, and look at the difference, before committing it."

margins: $(VENV)/.with-library ## compute anew the clean margins that ship in data/margins
	rm -f data/margins/*.safetensors
	@kept=$$(mktemp -d); for what in digits signs fashion "signs --fine-tune no"; do for scale in laptop ci; do \
	    MPKIT_DATA="$$kept" "$(BIN)/mpkit" targets --data $$what --scale $$scale --keep data/margins --quiet \
	    | head -n 1; done; done; rm -rf "$$kept"

opening: $(VENV)/.with-notebooks ## draw anew the picture that chapter 00 opens with, of the run in data/recorded/signs-stop
	"$(BIN)/python" -m mpkit.course.opening

clean: ## remove caches and what building leaves; the environment and downloaded data stay
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .ipynb_checkpoints notebooks/.ipynb_checkpoints
	find mpkit tests notebooks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
