# `make demo` and `make test` are the only set-up: each makes .venv, installs, runs.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check format bench bench-adapt bench-pretrain bench-transfer bench-index bench-serve clean help

help:
	@echo "make demo    recommendations for the bundled example shop"
	@echo "make test    every test"
	@echo "make check   format, lint, types, layers"
	@echo "make format  rewrite the files as 'make check' wants them"
	@echo "make bench   the benchmarks of recipes/benchmarks; make bench-pretrain, training speed against the paper's code;"
	@echo "             make bench-index, a living index beside hnswlib and faiss;"
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
	$(BIN)/python -m pytest -n 2

check: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/installed
	$(BIN)/python recipes/benchmarks/data_check.py
	$(BIN)/python recipes/benchmarks/encode.py
	$(BIN)/python recipes/benchmarks/search.py
	$(BIN)/python recipes/benchmarks/bad_input.py

bench-pretrain: .venv/installed
	$(BIN)/python recipes/benchmarks/pretrain.py

TARGETS := amazon_beauty_2014 amazon_industrial_2018 ml100k

# Needs the real data sets, a process for each so that the peak of memory is its own: make bench-adapt ADAPT_DATA=FOLDER
bench-adapt: .venv/installed
	$(foreach name,$(TARGETS),$(BIN)/python recipes/benchmarks/few_shot.py --data $(ADAPT_DATA)/$(name) &&) true
	$(foreach name,$(TARGETS),$(BIN)/python recipes/benchmarks/finetune.py --data $(ADAPT_DATA)/$(name) &&) true

# Needs the real data sets: make bench-transfer ADAPT_DATA=FOLDER
bench-transfer: .venv/installed
	$(BIN)/python recipes/benchmarks/transfer.py --minilm $(foreach name,$(TARGETS),--data $(ADAPT_DATA)/$(name))

bench-index: .venv/installed
	$(BIN)/python recipes/benchmarks/index.py

# Needs a data set with histories and the load generators wrk and hey: make bench-serve ADAPT_DATA=FOLDER
bench-serve: .venv/installed
	$(BIN)/python recipes/benchmarks/serve.py --data $(ADAPT_DATA)/amazon_beauty_2014

clean:
	rm -rf .venv dist build
