# make run          the sample app, on http://127.0.0.1:5000 (FLASK_RUN_PORT chooses another port)
# make test         every check, and every test that pip alone can serve; MariaDB is used where it is installed
#                   (CI=true besides fails where one would skip, and where fewer than 99.7 % of the lines are run)
# make smoke        less than a minute of them: the units, HTTP, and two writers at once on each database
# make test-proxies what nginx, Apache and Varnish do to tags (apt-get install nginx apache2-bin varnish varnish-modules)
# make test-browser the sample app in Chromium (apt-get install chromium)
# make test-frameworks one story with each framework above Flask, at its newest and its lowest version that works
# make test-contract the sample app against its OpenAPI document: schemathesis, and a client that is generated from it
# make test-torture client processes against gunicorn, while workers and databases die
# make test-lowest  the guard, HTTP and the units on the oldest that is supported (apt-get install libmariadb-dev)
# make test-clusters Galera, failovers, every kind of worker and of pool (apt-get install mariadb-server pgbouncer)
# make test-recipes what the docs say for Prometheus, OpenTelemetry, logs and Sentry (apt-get install prometheus)
# make test-release the wheel and the sdist, and a newcomer's first minutes in an environment with nothing else
# make test-costs   no request takes more processor instructions than it did (apt-get install valgrind)
# make test-all     all of these once
# make matrix       the same tests, on that and on each Python that is at hand
# make fuzz         a million hostile header values (SEED=2 for others, COUNT=1000 for fewer), and what gets past
# make torture      every database and way to write under fire (ACCEPTED=200 for quicker, ONLY=PostgreSQL for a part)
# make contention  32 clients on one record, and readers of another beside them
# make clusters     as make test-clusters, at length (ACCEPTED=2000, ONLY=Galera for a part)
# make search       random views and rivals against the guard (SECONDS=1800, ONLY=postgresql for a part, SEED=2)
# make peers        the same clients on other libraries: what is lost, and how fast they are (installs Django)
# make costs        how many function calls each kind of request costs, and each promise (WRITE=1: into the docs)
# make instructions how many processor instructions, and what is written down (WRITE=1 writes it; needs valgrind)
# make rivals       writers of one row, and of many, by Flask-ETag and its peers, on each database (ONLY=MariaDB, QUICK=1)
# make bench        what each kind of request costs, and what peers do (ONLY=reads for a part, QUICK=1 for seconds)
# make screenshot   the README's picture of the sample app (needs Chromium)
# make test-stores  the recipes for Valkey, Redis, etcd, DynamoDB and S3 (apt-get install redis-server etcd-server), and
#                   for Quart, Starlette, Django, and a history; in .venv-stores, an environment of its own; part of test-all
# make tags         what a 304 costs whose version is kept in Valkey or Redis, and one that asks the database
# make scale        what very many editors cost, measured and simulated, into docs/scale.md (ONLY=hot for a part, QUICK=1)
# All of them make .venv themselves, once; it is made again only when one of INPUTS changes.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
INPUTS := pyproject.toml setup.cfg constraints.txt
PYTEST := $(BIN)/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder
SMOKE  := README.md tests/unit tests/http tests/guard/test_races.py tests/guard/test_locks.py tests/sample_app/test_sample_app.py
PIP    := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

# pytest rewrites each assert of the tests, and keeps that as bytecode: without it every process takes 5 s to begin.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test smoke test-recipes test-proxies test-browser test-torture test-clusters test-release test-costs test-all dist docs fuzz torture contention clusters search peers costs instructions rivals bench screenshot constraints clean

run: $(VENV)/.run
	@echo "Open http://127.0.0.1:$${FLASK_RUN_PORT:-5000} and press \"Try it\". Below, flask_etag logs what becomes of each save."
	@exec $(BIN)/flask --app sample_app run

test: $(VENV)/.test
	$(MAKE) --no-print-directory --jobs=2 $(WHOLE) docs types style imports spelling
ifeq ($(CI),true)  # it makes a run half as long again
	$(PYTEST) --cov --cov-report=
	$(BIN)/coverage report --precision=2 --fail-under=99.7
else
	$(PYTEST)
endif

# The checks before the tests, two at a time; the longest begin. What each prints is kept whole by make 4 and later.
WHOLE := $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)
.PHONY: style types imports spelling
style: $(VENV)/.test
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.test
	$(BIN)/mypy

imports: $(VENV)/.test
	$(BIN)/lint-imports

spelling: $(VENV)/.test
	$(BIN)/codespell

smoke: $(VENV)/.test
	$(PYTEST) $(SMOKE)

test-proxies test-browser test-torture test-costs: test-%: $(VENV)/.test
	$(PYTEST) tests/$*

test-recipes: $(VENV)/.recipes
	$(PYTEST) tests/recipes

test-clusters: $(VENV)/.clusters
	$(PYTEST) tests/clusters
	@$(BIN)/python -m torture.clusters --accepted 40

.PHONY: test-lowest matrix
test-lowest: $(VENV)/.test
	$(BIN)/tox run -e lowest

matrix: $(VENV)/.test
	$(BIN)/tox run

test-release: $(VENV)/.release
	$(PYTEST) tests/release

test-all: test test-recipes test-proxies test-browser test-torture test-frameworks test-contract test-clusters test-release test-lowest test-costs

# In environments of their own: what they need differs, and is much.
APART := $(VENV)-apart
RUN_APART = -m pytest -c $(1)/pytest.ini --rootdir . --confcutdir $(1) -p no:cacheprovider $(1)
test-frameworks: $(APART)/frameworks/newest/.made $(APART)/frameworks/lowest/.made
	$(APART)/frameworks/newest/bin/python $(call RUN_APART,tests/frameworks)
	$(APART)/frameworks/lowest/bin/python $(call RUN_APART,tests/frameworks)

test-contract: $(APART)/contract/requirements/.made
	$(APART)/contract/requirements/bin/python $(call RUN_APART,tests/contract)

$(APART)/%/.made: tests/%.txt
	$(PYTHON) -m venv --clear --without-pip $(@D)
	$(PYTHON) -m pip --disable-pip-version-check --python $(@D)/bin/python install --quiet --no-deps --requirement $<
	@touch $@

docs: $(VENV)/.test
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going docs docs/_build/html

dist: $(VENV)/.test
	rm -rf dist
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(BIN)/python -m build --no-isolation

.PHONY: test-stores
test-all: test-stores
test-stores:
	@$(MAKE) --no-print-directory VENV=.venv-stores .venv-stores/.stores
	.venv-stores/bin/python -m pytest tests/stores tests/other_frameworks tests/audit_trail
	TEST_HISTORY_LIBRARY=sqlalchemy_history .venv-stores/bin/python -m pytest tests/audit_trail

.PHONY: tags scale
scale: $(VENV)/.test $(VENV)/.bench
	@$(BIN)/python -m benchmarks.scale $(if $(ONLY),--only '$(ONLY)') $(if $(QUICK),--quick)

tags:
	@$(MAKE) --no-print-directory VENV=.venv-stores .venv-stores/.stores
	@.venv-stores/bin/python -m benchmarks.tags

fuzz: $(VENV)/.test
	@$(BIN)/python -m tests.http.fuzz $(if $(SEED),--seed $(SEED)) $(if $(COUNT),--count $(COUNT))

torture: $(VENV)/.test
	@$(BIN)/python -m torture.matrix $(if $(ACCEPTED),--accepted $(ACCEPTED)) $(if $(ONLY),--only '$(ONLY)')

contention: $(VENV)/.test
	@$(BIN)/python -m torture.contention $(if $(ACCEPTED),--accepted $(ACCEPTED)) $(if $(ONLY),--only '$(ONLY)')

search: $(VENV)/.test
	@$(BIN)/python -m search $(if $(SECONDS),--seconds $(SECONDS)) $(if $(ONLY),--database '$(ONLY)') $(if $(SEED),--seed $(SEED))

clusters: $(VENV)/.clusters
	@$(BIN)/python -m torture.clusters $(if $(ACCEPTED),--accepted $(ACCEPTED)) $(if $(ONLY),--only '$(ONLY)')

peers: $(VENV)/.test
	$(PIP) --group peers
	@$(BIN)/python -m torture.peers compare $(ACCEPTED)
	@$(BIN)/python -m torture.peers race $(ACCEPTED)

costs: $(VENV)/.test
	@$(BIN)/python -m benchmarks.costs
	@echo
	@$(BIN)/python -m benchmarks.shares $(if $(WRITE),--write)

instructions: $(VENV)/.test
	@$(BIN)/python -m benchmarks.instructions $(if $(WRITE),--write)

rivals: $(VENV)/.bench
	$(PIP) --group peers
	@$(BIN)/python -m benchmarks.contention $(if $(ONLY),--only '$(ONLY)') $(if $(QUICK),--quick)

bench: $(VENV)/.bench
	@$(BIN)/python -m benchmarks $(if $(ONLY),--only '$(ONLY)') $(if $(QUICK),--quick)

screenshot: $(VENV)/.test
	@$(BIN)/python -m tests.browser docs/_static/browser.png

# The system's pip fills the environment: a bare Python may come without the means to put a pip there by itself.
$(VENV)/.run: $(INPUTS)
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or later is needed: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv --clear --without-pip $(VENV)
	$(PYTHON) -m pip --disable-pip-version-check --python $(BIN)/python install --quiet --constraint constraints.txt pip setuptools
	@# Setuptools warns of every editable installation, in a block that tells whoever runs this nothing.
	PYTHONWARNINGS=ignore $(PIP) --no-build-isolation --group run --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.run
	$(PIP) --group test
	@touch $@

$(VENV)/.recipes: $(VENV)/.test
	$(PIP) --group recipes

$(VENV)/.clusters: $(VENV)/.test
	$(PIP) --group clusters
	@touch $@

$(VENV)/.release: $(VENV)/.test
	$(PIP) --group release
	@touch $@

$(VENV)/.stores: $(VENV)/.run
	$(PIP) --group stores
	@touch $@

$(VENV)/.bench: $(VENV)/.run
	$(PIP) --no-build-isolation --editable '.[bench]'
	@touch $@

# Take the newest versions of everything, for a commit of their own. Run it with the oldest Python that is
# supported (make constraints PYTHON=...): what installs there installs on the newer ones.
constraints:
	$(PYTHON) -m venv --clear --without-pip $(VENV)
	$(PYTHON) -m pip --python $(BIN)/python install --quiet --upgrade pip setuptools
	$(BIN)/python -m pip install --quiet --no-build-isolation --group clusters --group recipes --group release --group stores --editable '.[bench]'
	$(BIN)/python -m pip freeze --all --exclude-editable > constraints.txt

clean:
	rm -rf $(VENV) .venv-stores build dist docs/_build *.egg-info
