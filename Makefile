# make demo     train DP-FedEmb on the built-in data, print privacy and recall
# make test     run every test
# make soak     run the tests that take minutes each
# make reproduce-smoke  run one tiny cell of every table of docs/results.md, in minutes
# make check    format, lint, types and doctests, as continuous integration does
# make audit    look the lock up among known vulnerabilities (needs the package index)
# make doctor   say what is wrong with this environment
# make lock     resolve the dependencies anew (maintainers; needs uv)

VENV ?= .venv
PYTHON ?= $(firstword $(foreach p,python3.11 python3 python,$(shell $(p) -c 'import sys; sys.version_info[:2] == (3, 11) and print("$(p)")' 2>/dev/null)))
READY := $(VENV)/.ready
RUN := $(VENV)/bin/python
# TensorFlow logs GPUs that it does not find as errors.
export TF_CPP_MIN_LOG_LEVEL ?= 3
DEMO_DIR ?= runs/demo
SMOKE_DIR ?= runs/smoke

.PHONY: audit demo test soak reproduce-smoke check doctor lock venv clean

demo: $(READY)
	$(RUN) bin/train.py --flagfile=tasks/configs/demo.flags --output_dir=$(DEMO_DIR)
	@cat docs/results/epsilon/beside.txt

test: $(READY)
	$(RUN) -m pytest -n auto --dist loadfile $(TESTARGS)

soak: $(READY)
	$(RUN) -m pytest -m soak -s $(TESTARGS)

reproduce-smoke: $(READY)
	$(RUN) bin/reproduce.py --table=all --task=synthetic --scale=smoke --output_dir=$(SMOKE_DIR)

check: $(READY)
	$(RUN) -m ruff format --check --quiet .
	$(RUN) -m ruff check --quiet .
	$(RUN) -m mypy
	$(RUN) -m pytest --doctest-modules dp_fedemb --durations=0

audit: $(READY)
	$(RUN) requirements/audit.py

doctor:
	@if [ -x $(RUN) ]; then $(RUN) dp_fedemb/environment.py; \
	elif [ -n "$(PYTHON)" ]; then echo "no $(VENV) yet: run 'make venv'"; $(PYTHON) dp_fedemb/environment.py; \
	else $(MAKE) --no-print-directory no-python; fi

venv: $(READY)

# --no-deps with hashes: the lock is complete, and pip's own resolver would
# stop at TFF's pin of a jaxlib release that no longer exists.
$(READY): requirements/lock.txt pyproject.toml
	@if [ -z "$(PYTHON)" ]; then $(MAKE) --no-print-directory no-python; fi
	@echo "Creating $(VENV) from requirements/lock.txt (about two minutes)"
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@$(RUN) -m pip install --quiet --no-deps --require-hashes -r requirements/lock.txt
	@$(RUN) -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: no-python
no-python:
	@echo "No Python 3.11 found: TensorFlow Federated 0.87 runs on Python 3.9 to 3.11 and the lock is made for 3.11." >&2
	@echo "Install it (Debian 12: 'apt-get install python3.11-venv'; elsewhere: 'uv python install 3.11' or 'pyenv install 3.11')," >&2
	@echo "then run 'make PYTHON=/path/to/python3.11 ...'." >&2
	@exit 1

lock:
	cd requirements && uv pip compile ../pyproject.toml lock.in --override overrides.txt --generate-hashes \
	  --python-version 3.11 --python-platform x86_64-manylinux_2_31 \
	  --custom-compile-command "make lock" --no-annotate --quiet --no-emit-package dp-fedemb --allow-unsafe --output-file lock.txt

clean:
	rm -rf $(VENV) build *.egg-info
