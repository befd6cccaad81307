#!/bin/sh
# Run a command with nnmed installed, in a virtual environment beside this file.
#
#   sh run.sh python examples/detect_tumor.py
#   sh run.sh --extra test python -m pytest
#
# The environment is made in .venv on the first call; the system's Python stays untouched.
# Set PYTHON to choose an interpreter.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
venv="$here/.venv"
extra=""

fail() {
    printf 'run.sh: %s\n' "$1" >&2
    exit 2
}

# Find a Python that is new enough.
find_python() {
    for name in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10 python}; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    fail "no Python 3.10 or newer was found (${PYTHON:-python3}). On Debian or Ubuntu: apt-get install python3 python3-venv"
}

# Debian and Ubuntu ship venv in a package of its own: install it where that is allowed.
ensure_venv_module() {
    "$1" -c 'import ensurepip, venv' 2>/dev/null && return
    version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    install="apt-get install -y python$version-venv"
    echo "run.sh: the package python$version-venv is missing" >&2
    command -v apt-get >/dev/null || fail "install Python's venv and ensurepip modules, then run this again"
    if [ "$(id -u)" -eq 0 ]; then
        as_root=""
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        as_root="sudo"
    else
        fail "run this, then try again:  sudo $install"
    fi
    echo "run.sh: installing it: $install" >&2
    $as_root apt-get update -q >&2 || true
    $as_root env DEBIAN_FRONTEND=noninteractive $install >&2 || fail "could not install python$version-venv"
    "$1" -c 'import ensurepip, venv' || fail "python$version still has no venv module"
}

# Make the environment, or make it again where an earlier attempt was broken off.
ensure_environment() {
    "$venv/bin/python" -m pip --version >/dev/null 2>&1 && return
    python=$(find_python)
    ensure_venv_module "$python"
    echo "run.sh: making the environment $venv" >&2
    "$python" -m venv --clear "$venv"
}

# Install nnmed as it stands here, unless that was done since setup.cfg last changed.
ensure_installed() {
    done_file="$venv/.installed-$(echo "$extra" | tr -c 'a-z0-9\n' '-')"
    if [ -e "$done_file" ] && [ -z "$(find "$here/setup.cfg" "$here/pyproject.toml" -newer "$done_file")" ]; then
        return
    fi
    echo "run.sh: installing nnmed${extra:+ with the extras $extra}" >&2
    "$venv/bin/python" -m pip install --disable-pip-version-check --quiet --editable "$here${extra:+[$extra]}" \
        || fail "the installation failed; the lines above say why (is the network reachable?)"
    : >"$done_file"
}

if [ "${1:-}" = "--extra" ]; then
    [ $# -ge 2 ] || fail "--extra needs a name: --extra test"
    extra=$2
    shift 2
fi
[ $# -gt 0 ] || fail "no command given: sh run.sh [--extra NAME[,NAME]] COMMAND [ARGUMENT ...]"
ensure_environment
ensure_installed
PATH="$venv/bin:$PATH"
export PATH
exec "$@"
