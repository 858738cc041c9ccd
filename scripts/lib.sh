#!/usr/bin/env bash
# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What the scripts of this folder share; they source it.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
XDG_CACHE_HOME=${XDG_CACHE_HOME:-$HOME/.cache}
XDG_CONFIG_HOME=${XDG_CONFIG_HOME:-$HOME/.config} # a script may have a HOME of its own; pip's settings stay
CACHE=$XDG_CACHE_HOME/directdisk-qemu
export XDG_CACHE_HOME XDG_CONFIG_HOME LC_ALL=C.UTF-8 PIP_DISABLE_PIP_VERSION_CHECK=1

fail() {
  echo "scripts/${0##*/}: $*" >&2
  exit 1
}

note() { # what is under way; a script may say it in its own way
  echo "== $*"
}

install_packages() {
  local package missing=()
  for package in "$@"; do
    [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
      missing+=("$package")
  done
  [[ ${missing[*]} ]] || return 0
  [[ $EUID == 0 && $(command -v apt-get) ]] || fail "install these packages first: ${missing[*]}"
  note "packages: ${missing[*]}"
  [[ ${APT_UPDATED:-} ]] || apt-get --quiet=2 update
  APT_UPDATED=1
  DEBIAN_FRONTEND=noninteractive apt-get --quiet=2 --yes --option Dpkg::Use-Pty=0 \
    install --no-install-recommends "${missing[@]}" >/dev/null
}

# The first Python that the pinned tools support, or the other release of ansible-core.
find_python() {
  local candidate oldest=3.11 newest=3.13
  case ${DIRECTDISK_ANSIBLE_CORE:-} in
    2.16 | 2.17) oldest=3.10 newest=3.12 ;;
    2.2?) oldest=3.12 newest=3.14 ;;
  esac
  for candidate in /usr/bin/python3 python3.14 python3.13 python3.12 python3.11 python3.10; do
    if "$candidate" -c 'import sys, venv, ensurepip
oldest, newest = (tuple(map(int, release.split("."))) for release in sys.argv[1:])
sys.exit(not oldest <= sys.version_info[:2] <= newest)' "$oldest" "$newest" 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

# What goes into the virtual environment: the tools of tests/requirements.txt, or another release of ansible-core with
# those that the unit tests need, because the other tools do not support each release.
tool_requirements() {
  local pins=$ROOT/tests/requirements.txt names
  if [[ ! ${DIRECTDISK_ANSIBLE_CORE:-} ]]; then
    cat "$pins"
    return
  fi
  names=$(sed '/^#/d; s/$/|/' "$ROOT/tests/unit/requirements.txt" | tr -d '\n')
  echo "ansible-core~=$DIRECTDISK_ANSIBLE_CORE.0"
  grep --extended-regexp "^(${names}pytest|pytest-xdist)==" "$pins"
}

# These tools first in PATH: a virtual environment in the cache, anew when they change.
make_venv() {
  local python hash venv
  python=$(find_python) || { install_packages python3.11 python3.11-venv && python=$(find_python); } ||
    fail "no Python is installed, with its venv module, that ansible-core ${DIRECTDISK_ANSIBLE_CORE:-of tests/requirements.txt} supports"
  hash=$({ "$python" -VV && tool_requirements; } | sha256sum | cut -c 1-12)
  venv=$CACHE/venv-$hash
  mkdir -p "$CACHE"
  exec 8>"$CACHE/venv.lock"
  flock 8
  if [[ ! -f $venv/complete ]]; then
    note "tools: $venv"
    "$python" -m venv --clear "$venv"
    tool_requirements >"$venv/requirements.txt"
    "$venv/bin/pip" install --quiet --requirement "$venv/requirements.txt"
    touch "$venv/complete"
  fi
  exec 8>&-
  export PATH=$venv/bin:$PATH
}
