# `make demo` and `make test` are the only set-up: each makes .venv, installs, runs.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check format bench bench-readme bench-adapt bench-transfer bench-serve clean help

help:
	@echo "make demo    recommendations for the bundled example shop"
	@echo "make test    every test"
	@echo "make check   format, lint, types, layers"
	@echo "make format  rewrite the files as 'make check' wants them"
	@echo "make bench   every benchmark that this machine can run, as ratios, compared with the committed results; FULL=1 at"
	@echo "             full size, ADAPT_DATA=FOLDER for those of real data; make bench-readme, its ratios into the README;"
	@echo "             make bench-serve ADAPT_DATA=FOLDER, the service under load (needs wrk and hey);"
	@echo "             make bench-transfer ADAPT_DATA=FOLDER, zero-shot quality on real data; make bench-adapt ADAPT_DATA=FOLDER,"
	@echo "             that of few-shot by evidence and of fine-tuning"

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@

demo: .venv/installed
	$(BIN)/adapt demo

test: .venv/installed
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# What it compares with is measured where it is installed: pip install -r recipes/benchmarks/requirements.txt
bench: .venv/installed
	ADAPT_DATA="$(ADAPT_DATA)" $(BIN)/python recipes/benchmarks/run_all.py $(if $(FULL),--full)

bench-readme: .venv/installed
	$(BIN)/python recipes/benchmarks/readme_ratios.py

TARGETS := amazon_beauty_2014 amazon_industrial_2018 ml100k

# Needs the real data sets, a process for each so that the peak of memory is its own: make bench-adapt ADAPT_DATA=FOLDER
bench-adapt: .venv/installed
	$(foreach name,$(TARGETS),$(BIN)/python recipes/benchmarks/few_shot.py --data $(ADAPT_DATA)/$(name) &&) true
	$(foreach name,$(TARGETS),$(BIN)/python recipes/benchmarks/finetune.py --data $(ADAPT_DATA)/$(name) &&) true

# Needs the real data sets: make bench-transfer ADAPT_DATA=FOLDER
bench-transfer: .venv/installed
	$(BIN)/python recipes/benchmarks/transfer.py --minilm $(foreach name,$(TARGETS),--data $(ADAPT_DATA)/$(name))

# Needs a data set with histories and the load generators wrk and hey: make bench-serve ADAPT_DATA=FOLDER
bench-serve: .venv/installed
	$(BIN)/python recipes/benchmarks/serve.py --data $(ADAPT_DATA)/amazon_beauty_2014

clean:
	rm -rf .venv dist build
