# Short names for contributors. `python3 manage.py test` makes the environment these recipes use.
PYTHON := $(if $(wildcard .venv/bin/python),.venv/bin/python,python3)
UV := .venv/tool/bin/uv
CODE := manage.py ct4site identity orphans attribution recovery

.PHONY: check fast format test bench pins messages clean

check: fast test  ## everything, before a push

fast:  ## everything but the tests
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) .ci/lint_sql.py
	$(PYTHON) -m djlint templates --lint --profile django --quiet
	$(PYTHON) -m mypy $(CODE)
	$(PYTHON) manage.py makemigrations --check --dry-run
	$(PYTHON) -m pytest -q tests/ct4site/test_translations.py

format:
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

test:
	$(PYTHON) manage.py test

bench:
	$(PYTHON) -c "import duckdb, splink" || $(UV) pip install --quiet --system-certs --require-hashes --python $(PYTHON) -r requirements/bench.txt
	$(PYTHON) -m bench

pins:  ## renew every pin from the .in files
	for name in uv base dev bench; do $(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url -o requirements/$$name.txt requirements/$$name.in || exit 1; done

messages:  ## collect the texts (needs GNU gettext), then compile the catalog
	$(PYTHON) manage.py makemessages --locale es --no-location --no-obsolete --ignore tests --ignore bench
	$(PYTHON) manage.py compile_translations

clean:  ## remove what tools leave behind; the environment and the database stay
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis staticfiles
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
