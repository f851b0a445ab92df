# make repro    the whole pipeline: environment, data, training, metrics, pictures
# make report   the results as one page, report.html, which needs no network
# make test     lint, types and tests; .ci/run adds those that are marked slow
# make show     the experiments as a table: their metrics, and the parameters in which they differ;
#               make show WITH="effective_samples train.seed" adds columns by name
# make bench    speed beside the usual training loop
# Each prepares what it needs and skips what is done. Needs Python 3.11 or newer, git and make.

VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
export PATH := $(abspath $(BIN)):$(PATH)
unexport PYTHONSAFEPATH # with it Python does not find the stages

.PHONY: repro report test bench show with-or-without-git

repro: $(INSTALLED) with-or-without-git
	$(BIN)/dvc repro
	@$(BIN)/python -m report.result

report: repro
	$(BIN)/python -m report

test: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -m "not slow"

space := $(subst ,, )
columns = $(subst $(space),|,$(strip elbo log_likelihood kl $(WITH)))
# Parameters, and not metrics of metrics/train.json, which are called train.elbo and so on.
parameters := (prepare|model|train|evaluate|sample)\.(?!(elbo|reconstruction|kl)$$)[^/]*
show: $(INSTALLED) with-or-without-git
	@$(BIN)/dvc exp show --only-changed --keep '^($(columns))$$' \
	    --drop '^(?!(Experiment|State|$(columns)|$(parameters))$$)'

bench: repro
	$(BIN)/python -m benchmarks

# The stamp comes last: an interrupted installation is taken up again.
$(INSTALLED): requirements.txt constraints.txt
	@for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        $$python -m venv $(VENV) && exit 0; \
	        echo "$$python has no working venv module (on Debian: apt install python3-venv)"; exit 1; \
	    fi; \
	done; echo "Python 3.11 or newer is needed; name one with: make PYTHON=/path/to/python"; exit 1
	@echo "Installing into $(VENV): a few minutes, and 6 GB on Linux, most of it PyTorch's GPU libraries."
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -r requirements.txt -c constraints.txt
	@cat requirements.txt constraints.txt > $@

# DVC refuses to work outside a Git repository unless told so, and then has no experiments.
with-or-without-git: $(INSTALLED)
	@if [ ! -e .git ] && ! git rev-parse --git-dir >/dev/null 2>&1; then \
	    $(BIN)/dvc config --local core.no_scm true; \
	    echo "No Git repository here: the pipeline runs, but experiments (dvc exp) need Git."; \
	elif grep -qs no_scm .dvc/config.local; then \
	    $(BIN)/dvc config --local --unset core.no_scm; \
	fi
