#!/bin/sh
# Run a command with nnmed installed, in a virtual environment beside this file.
#
#   sh run.sh python examples/detect_tumor.py
#   sh run.sh --extra test python -m pytest
#
# The environment is made in .venv on the first call, with the interpreter that PYTHON names
# or the first one found; the system's Python stays untouched. Status 2 means that this was
# not possible, and the message says what to do; otherwise the status is the command's own.
set -eu
unset PYTHONHOME # it would lead the environment's Python astray

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
venv="$here/.venv"
# Exists in an environment made by this script; holds its path once that was finished.
mark="$venv/made-by-run.sh"
extra=""

say() { printf 'run.sh: %s\n' "$1" >&2; }
fail() { say "$1"; exit 2; }

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; }

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        is_new_enough "$PYTHON" || fail "PYTHON=$PYTHON is not Python 3.10 or newer"
        command -v "$PYTHON"
        return
    fi
    for name in python3 python3.14 python3.13 python3.12 python3.11 python3.10 python; do
        if is_new_enough "$name"; then
            command -v "$name"
            return
        fi
    done
    found=$(python3 -V 2>/dev/null) || found="no Python at all"
    fail "Python 3.10 or newer is needed, found $found. On Debian or Ubuntu, as root:
  apt-get update; apt-get install -y python3 python3-venv
or name an interpreter: PYTHON=/path/to/python3.12 sh run.sh ..."
}

# Debian and Ubuntu ship venv in a package of its own: install it where that is allowed.
ensure_venv_module() {
    "$1" -c 'import ensurepip, venv' 2>/dev/null && return
    version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    command -v apt-get >/dev/null ||
        fail "$1 lacks the modules venv and ensurepip: install them, then run this again"
    package="python$version-venv"
    say "the package $package is missing"
    if [ "$(id -u)" -eq 0 ]; then
        as_root="env"
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        as_root="sudo env"
    elif command -v sudo >/dev/null; then
        fail "run this, then try again:  sudo apt-get update; sudo apt-get install -y $package"
    else
        fail "run this as root, then try again:  apt-get update; apt-get install -y $package"
    fi
    say "installing it: apt-get install -y $package"
    $as_root apt-get update -q >&2 || say "apt-get update failed, trying all the same"
    $as_root DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -o DPkg::Lock::Timeout=120 "$package" >&2 ||
        fail "that failed; the lines above say why"
    "$1" -c 'import ensurepip, venv' || fail "$1 still has no venv module"
}

# Succeed if .venv is an environment with pip: outside of one, pip would change the system.
is_usable() {
    "$venv/bin/python" -c '
import sys, pip
sys.exit(sys.prefix == sys.base_prefix or sys.version_info < (3, 10))' 2>/dev/null
}

# Make the environment, or make it again where that was broken off or the folder has moved.
ensure_environment() {
    if [ -e "$mark" ]; then
        [ "$(cat "$mark")" = "$venv" ] && is_usable && return
    elif [ -e "$venv" ]; then
        is_usable && return # somebody's own
        fail "$venv is not an environment with Python 3.10 or newer and pip: move it away"
    fi
    python=$(find_python)
    ensure_venv_module "$python"
    say "making the environment $venv"
    rm -rf "$venv"
    { mkdir "$venv" && : >"$mark"; } || fail "$here cannot be written to"
    "$python" -m venv "$venv" || fail "that failed; the lines above say why"
}

# Succeed if nnmed was installed with these very requirements.
is_installed() {
    if [ -n "$extra" ]; then
        set -- "$venv/installed-$extra"
    else
        set -- "$venv"/installed-* # an extra brings the core too
    fi
    for done_file; do
        if [ -e "$done_file" ] && [ "$(cat "$done_file")" = "$requirements" ]; then return 0; fi
    done
    return 1
}

ensure_installed() {
    requirements=$(cat "$here/setup.cfg" "$here/pyproject.toml" | cksum)
    if is_installed; then return; fi
    say "installing nnmed${extra:+ with the extras $extra}; the first time takes a few minutes"
    PIP_USER=0 "$venv/bin/python" -m pip install --disable-pip-version-check --quiet \
        --editable "$here${extra:+[$extra]}" ||
        fail "the installation failed; the lines above say why (is the network reachable?)"
    printf '%s\n' "$requirements" >"$venv/installed-${extra:-core}"
    if [ -e "$mark" ]; then printf '%s\n' "$venv" >"$mark"; fi
}

if [ "${1:-}" = "--extra" ]; then
    extra=${2:-}
    case $extra in
        "" | *[!a-z0-9,]*) fail "--extra needs names with commas between them: --extra test,dicom" ;;
    esac
    shift 2
fi
[ $# -gt 0 ] || fail "no command given: sh run.sh [--extra NAME[,NAME]] COMMAND [ARGUMENT ...]"
ensure_environment
ensure_installed
PATH="$venv/bin:$PATH"
export PATH
exec "$@"
