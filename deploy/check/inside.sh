#!/usr/bin/env bash
# Runs in a bare root: installs Timeball in one way, uses it, upgrades it with its data, and uninstalls it. Called by
# deploy/install-check with the way and two versions; what is installed is in /check/VERSION/.

set -euo pipefail

WAY=$1 OLD=$2 NEW=$3
DATA=/srv/timeball
TIMEBALL=() # the command, and the user that it runs as
DAEMON=""
OPTIONS=()

fail() {
  printf '✗ %s: %s\n' "$WAY" "$1" >&2
  if [ -s /tmp/daemon.log ]; then tail -n 15 /tmp/daemon.log | sed 's/^/    | /' >&2; fi
  exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }

# quietly COMMAND…: shows what the command prints only if it fails.
quietly() {
  if ! "$@" >/tmp/output 2>&1; then
    tail -n 20 /tmp/output | sed 's/^/    | /' >&2
    fail "'$*' failed"
  fi
}
wheel() { echo "/check/$1"/timeball-*.whl; }

# expect TEXT COMMAND…: the command must succeed and print that text.
expect() {
  local text=$1 found
  shift
  found=$("$@" 2>&1) || fail "'$*' failed: $found"
  case $found in *"$text"*) ;; *) fail "'$*' does not print '$text', but: $found" ;; esac
}
gone() { [ ! -e "$1" ] || fail "$1 is still there after the removal"; }
kept() { [ -e "$1" ] || fail "$1 is gone after the removal"; }

# ---------------------------------------------------------------- the daemon

start() {
  : >/tmp/printed
  "${TIMEBALL[@]}" serve --port 0 --data-dir "$DATA" "${OPTIONS[@]}" >/tmp/printed 2>/tmp/daemon.log &
  DAEMON=$!
  local deadline=$((SECONDS + 60))
  until grep -q '^Timeball listens on ' /tmp/printed; do
    kill -0 "$DAEMON" 2>/dev/null || fail "the daemon did not start"
    [ "$SECONDS" -lt "$deadline" ] || fail "the daemon did not start within 60 s"
    sleep 0.1
  done
  TIMEBALL_URL=$(sed -n 's/^Timeball listens on //p' /tmp/printed)
  TIMEBALL_TOKEN=$(cat "$DATA/admin.token")
  export TIMEBALL_URL TIMEBALL_TOKEN
}

stop() {
  kill "$DAEMON"
  wait "$DAEMON" || fail "the daemon did not stop cleanly"
}

use_first() {
  expect "timeball $OLD" "${TIMEBALL[@]}" version
  start
  "${TIMEBALL[@]}" job create kept --image timeball/busybox:1 --command 'echo what was printed' -q >/dev/null
  expect "what was printed" "${TIMEBALL[@]}" run kept
  stop
}

use_upgraded() {
  expect "timeball $NEW" "${TIMEBALL[@]}" version
  start
  expect kept "${TIMEBALL[@]}" job list
  expect "what was printed" "${TIMEBALL[@]}" logs kept
  expect "what was printed" "${TIMEBALL[@]}" run kept
  stop
}

# refuses_foreign: packages of another project on PYTHONPATH are named, and nothing of them is executed.
refuses_foreign() {
  local names status=0 printed
  for names in api scheduler "scheduler api"; do
    rm -rf /tmp/theirs
    for name in $names; do
      mkdir -p "/tmp/theirs/$name"
      echo 'print("executed")' >"/tmp/theirs/$name/__init__.py"
    done
    status=0
    printed=$(PYTHONPATH=/tmp/theirs "${TIMEBALL[@]}" version 2>&1) || status=$?
    if [ "$status" -ne 2 ] || [ "${printed#*Remove /tmp/theirs from PYTHONPATH}" = "$printed" ]; then
      fail "with $names of another project, 'timeball version' exits with $status: $printed"
    fi
  done
}

# ignores_foreign: where the environment of the command is not looked at, nothing can hide its packages.
ignores_foreign() {
  mkdir -p /tmp/theirs/api /tmp/theirs/scheduler
  echo 'print("executed")' | tee /tmp/theirs/api/__init__.py >/tmp/theirs/scheduler/__init__.py
  expect "timeball $OLD" env PYTHONPATH=/tmp/theirs "${TIMEBALL[@]}" version
}

# ---------------------------------------------------------------- the ways

way_pip() {
  quietly python3 -m venv /opt/timeball
  quietly /opt/timeball/bin/pip install "$(wheel "$OLD")[postgresql]"
  TIMEBALL=(/opt/timeball/bin/timeball)
  use_first
  refuses_foreign
  expect "timeball $OLD" /opt/timeball/bin/python -m timeball version
  expect psycopg /opt/timeball/bin/python -c 'import psycopg; print(psycopg.__name__)'
  quietly /opt/timeball/bin/pip install --upgrade "$(wheel "$NEW")[postgresql]"
  use_upgraded
  quietly /opt/timeball/bin/pip uninstall --yes timeball
  gone /opt/timeball/bin/timeball
  for each in /opt/timeball/lib/python3*/site-packages; do
    gone "$each/scheduler"
    gone "$each/api"
    gone "$each/timeball"
  done
}

way_pipx() {
  quietly python3 -m venv /opt/pipx
  quietly /opt/pipx/bin/pip install pipx
  quietly /opt/pipx/bin/pipx install "$(wheel "$OLD")[postgresql]"
  TIMEBALL=(/root/.local/bin/timeball)
  use_first
  ignores_foreign
  quietly /opt/pipx/bin/pipx install --force "$(wheel "$NEW")[postgresql]"
  use_upgraded
  quietly /opt/pipx/bin/pipx uninstall timeball
  gone /root/.local/bin/timeball
  gone /root/.local/share/pipx/venvs/timeball
}

way_uv() {
  quietly python3 -m venv /opt/uv
  quietly /opt/uv/bin/pip install uv
  quietly /opt/uv/bin/uv tool install "timeball[postgresql] @ $(wheel "$OLD")"
  TIMEBALL=(/root/.local/bin/timeball)
  use_first
  refuses_foreign
  quietly /opt/uv/bin/uv tool install --force "timeball[postgresql] @ $(wheel "$NEW")"
  use_upgraded
  quietly /opt/uv/bin/uv tool uninstall timeball
  gone /root/.local/bin/timeball
  gone /root/.local/share/uv/tools/timeball
}

# The package must not need a network: dpkg runs without one.
way_deb() {
  groupadd --system --gid "$(stat -c %g /run/docker.sock)" docker 2>/dev/null ||
    groupmod --new-name docker "$(getent group "$(stat -c %g /run/docker.sock)" | cut -d: -f1)"
  quietly unshare --net dpkg --install "/check/$OLD"/timeball_*.deb
  DATA=/var/lib/timeball
  OPTIONS=(--config /etc/timeball/timeball.toml)
  TIMEBALL=(setpriv --reuid timeball --regid timeball --init-groups timeball) # the last word is the command
  expect docker id -nG timeball
  expect "700 timeball timeball" stat -c '%a %U %G' /var/lib/timeball
  expect "640 root timeball" stat -c '%a %U %G' /etc/timeball/timeball.toml
  quietly systemd-analyze verify /usr/lib/systemd/system/timeball.service
  use_first
  ignores_foreign
  quietly env PYTHONPATH= /usr/lib/timeball/bin/python3 -c 'import psycopg'
  echo '# changed by its administrator' >>/etc/timeball/timeball.toml
  quietly unshare --net dpkg --install "/check/$NEW"/timeball_*.deb
  use_upgraded
  expect "changed by" cat /etc/timeball/timeball.toml
  expect "640 root timeball" stat -c '%a %U %G' /etc/timeball/timeball.toml
  if ! /usr/lib/timeball/bin/python3 -c 'import api, sys; sys.exit(api.__cached__ is None)' ||
    [ -z "$(find /usr/lib/timeball -name '*.pyc' -print -quit)" ]; then fail "the packages are not compiled"; fi
  quietly dpkg --remove timeball
  gone /usr/bin/timeball
  gone /usr/lib/timeball
  kept /etc/timeball/timeball.toml
  kept /var/lib/timeball/timeball.db
  quietly dpkg --purge timeball
  for each in /etc/timeball /var/lib/timeball /usr/lib/systemd/system/timeball.service /usr/share/doc/timeball; do
    gone "$each"
  done
  if getent passwd timeball >/dev/null; then fail "the user timeball is still there after the purge"; fi
  DATA=""
}

"way_$WAY"
if [ -n "$DATA" ]; then kept "$DATA/timeball.db"; fi
