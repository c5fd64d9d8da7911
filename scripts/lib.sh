# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What scripts/deploy, scripts/test and scripts/bench share. POSIX sh; sourced with $root set to the checkout.

# The Python that runs Ansible and the tests: 3.11 or later, for that is what ansible-core asks of a controller.
CONTROLLER_PYTHONS="python3.13 python3.12 python3.11 python3"

say() {
    printf '== %s\n' "$*" >&2
}

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

need_root() {
    [ "$(id -u)" = 0 ] || die "this needs root: containers are made of namespaces and mounts; run it with sudo"
}

# Install packages by their Debian names; $1 on CentOS is translated where it is called something else there.
install_packages() {
    if command -v apt-get >/dev/null 2>&1; then
        missing=
        for package; do
            dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || missing="$missing $package"
        done
        [ -n "$missing" ] || return 0
        say "installing$missing"
        apt-get update -q >&2 || die "apt-get update failed: are the package sources reachable?"
        # shellcheck disable=SC2086  # a list of words
        DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing >&2 ||
            die "cannot install$missing"
    elif command -v dnf >/dev/null 2>&1; then
        say "installing $*"
        dnf -q -y install epel-release >&2 || true # absent where EPEL is configured by hand
        dnf -q -y install "$@" >&2 || die "cannot install $*"
    else
        die "neither apt-get nor dnf is here: this script knows Debian, Ubuntu and CentOS"
    fi
}

# Set $python to an interpreter that can run Ansible; install one where there is none.
find_controller_python() {
    for candidate in $CONTROLLER_PYTHONS; do
        for path in "$candidate" "/usr/bin/$candidate"; do
            if "$path" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
                python=$path
                return 0
            fi
        done
    done
    return 1
}

controller_python() {
    find_controller_python && return 0
    if command -v apt-get >/dev/null 2>&1; then
        install_packages python3 python3-venv
    else
        install_packages python3.12 python3.12-pip
    fi
    find_controller_python || die "no Python of at least 3.11 with venv can be had here: install one and run this again"
}

# Make (once) a virtual environment $venv that holds the Python packages that a requirements file names.
make_venv() {
    requirements=$1
    stamp=$(cksum <"$requirements" | cut -d ' ' -f 1)
    venv=${VITRINE_VENV:-$root/.cache/venv-$stamp}
    stamp=$venv/complete
    [ -e "$stamp" ] && return 0
    controller_python
    say "making a Python environment in $venv"
    "$python" -m venv --clear "$venv" || die "cannot make a virtual environment in $venv"
    "$venv/bin/pip" install -q --disable-pip-version-check -r "$requirements" >&2 ||
        die "cannot install $requirements into $venv: is PyPI reachable?"
    : >"$stamp"
}

# Put the checkout where Ansible looks for the collection vitrine.engine.
collections_path() {
    collections=$root/.cache/collections
    mkdir -p "$collections/ansible_collections/vitrine"
    ln -sfn "$root" "$collections/ansible_collections/vitrine/engine"
    ANSIBLE_COLLECTIONS_PATH=$collections
    export ANSIBLE_COLLECTIONS_PATH
}
