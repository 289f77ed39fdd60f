#!/usr/bin/env bash
# What deploy/quickstart and deploy/test share: a Python environment from the lock, a Docker Engine that answers, and
# the few tools that neither brings along. Everything it makes lies in the checkout (.venv/ and .timeball/, both
# ignored by git), except Debian packages, which are installed only for root. Written for bash 3.2 and later.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
STATE="$ROOT/.timeball"
VENV="$ROOT/.venv"
SETUP_LOG="$STATE/setup.log"
TOOLS="$STATE/tools"
ENGINE_STATE="$STATE/engine"
ENGINE_WAIT_SECONDS=60

# A set PYTHONDONTWRITEBYTECODE makes every start import three times as slowly; the others would point Python elsewhere.
unset PYTHONDONTWRITEBYTECODE PYTHONHOME PYTHONPATH VIRTUAL_ENV
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore

# ---------------------------------------------------------------- what the reader sees

say() { printf '%s\n' "$*"; }
done_line() { printf '✓ %s\n' "$*"; }
note() { printf '· %s\n' "$*"; }

# fail WHAT [REMEDY-LINE…]: says what went wrong and exactly what to do, and ends the script.
fail() {
  printf '✗ %s\n' "$1" >&2
  shift
  local line
  for line in "$@"; do printf '    %s\n' "$line" >&2; done
  exit 1
}

show_log_end() {
  if [ -s "$1" ]; then
    printf '    The last lines of %s:\n' "$1" >&2
    tail -n "${2:-12}" "$1" | sed 's/^/    | /' >&2
  fi
}

# ---------------------------------------------------------------- one at a time

prepare_state() {
  mkdir -p "$STATE" 2>/dev/null || true
  if [ ! -w "$STATE" ]; then
    fail "$STATE cannot be written." "Make the checkout yours, e.g.: sudo chown -R \"\$(id -un)\" '$ROOT'"
  fi
}

# Two starts in one checkout take turns while they set up; macOS has no flock, where this is left out.
lock_setup() {
  command -v flock >/dev/null 2>&1 || return 0
  exec 9>"$STATE/setup.lock"
  if ! flock -n 9; then
    note "Another start is setting up this checkout; waiting for it …"
    flock -w 1200 9 || fail "The other start has not ended within 20 minutes." "See who holds $STATE/setup.lock."
  fi
}

unlock_setup() { exec 9>&-; }

# ---------------------------------------------------------------- Debian packages

is_root() { [ "$(id -u)" -eq 0 ]; }
has() { command -v "$1" >/dev/null 2>&1; }
may_install() { is_root && has apt-get; }

apt_get() {
  DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 "$@" </dev/null >>"$SETUP_LOG" 2>&1 9>&-
}

# apt_install PACKAGE…: the lists are fetched only when the packages cannot be had without.
apt_install() {
  local started=$SECONDS
  note "Installing $* …"
  if ! apt_get install --no-install-recommends "$@"; then
    if ! { apt_get update && apt_get install --no-install-recommends "$@"; }; then
      show_log_end "$SETUP_LOG"
      return 1
    fi
  fi
  done_line "Installed $* ($((SECONDS - started)) s)"
}

# fetch_tool PACKAGE COMMAND: puts COMMAND on the PATH. Where it is missing, the Debian package is unpacked into the
# state directory: nothing is installed, no service starts, and no root is needed.
fetch_tool() {
  local package=$1 command=$2 folder="$TOOLS/$1"
  if [ -d "$folder/usr/bin" ]; then PATH="$folder/usr/bin:$folder/bin:$PATH"; fi
  if has "$command" && { [ "$package" != busybox-static ] || is_static "$(command -v busybox)"; }; then return 0; fi
  has apt-get && has dpkg-deb || return 1
  rm -rf "$folder.part"
  mkdir -p "$folder.part"
  if ! (cd "$folder.part" && apt_get download "$package"); then
    is_root && apt_get update && (cd "$folder.part" && apt_get download "$package") || return 1
  fi
  dpkg-deb -x "$folder.part/"*.deb "$folder.part" && rm -f "$folder.part/"*.deb
  rm -rf "$folder"
  mv "$folder.part" "$folder"
  PATH="$folder/usr/bin:$folder/bin:$PATH"
  hash -r
  has "$command" || return 1
  done_line "Fetched $package into ${TOOLS#"$ROOT"/}"
}

# Debian's plain busybox needs the C library, which an image made of it alone would lack.
is_static() { has ldd && ! ldd "$1" >/dev/null 2>&1; }

# ---------------------------------------------------------------- Python

python_is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
python_makes_environments() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }

# find_python TEST: prints the first Python that is new enough and passes TEST. They are run, not only looked up:
# a version manager's shim can stand on the PATH for a Python that is not there.
find_python() {
  local candidate
  for candidate in python3.13 python3.12 python3.11 python3.14 python3 /usr/bin/python3; do
    if has "$candidate" && python_is_new_enough "$candidate" && "$1" "$candidate"; then
      command -v "$candidate"
      return 0
    fi
  done
  return 1
}

require_python() {
  local old=""
  PYTHON=$(find_python python_makes_environments) && return 0
  if may_install; then
    apt_install python3 python3-venv || fail "Python could not be installed." "Try: apt-get install python3 python3-venv"
    hash -r
    PYTHON=$(find_python python_makes_environments) && return 0
    # A distribution may keep an older python3 and a newer one beside it (python3.11 and python3.11-venv).
    local version
    for version in 3.13 3.12 3.11; do
      if apt-cache show "python$version-venv" >/dev/null 2>&1 && apt_install "python$version" "python$version-venv"; then
        PYTHON=$(find_python python_makes_environments) && return 0
      fi
    done
  fi
  if has python3; then old=" (python3 here is $(python3 -V 2>/dev/null | cut -d' ' -f2 || true))"; fi
  if PYTHON=$(find_python true); then
    fail "$PYTHON cannot make environments: its ensurepip module is missing." \
      "Debian, Ubuntu:  sudo apt-get install python3-venv" "Then start this again."
  fi
  fail "Timeball needs Python 3.11 or newer$old." \
    "Debian 12, Ubuntu 24.04 or newer:  sudo apt-get install python3 python3-venv" \
    "Fedora:                            sudo dnf install python3" \
    "macOS:                             brew install python@3.13" \
    "Then start this again."
}

checksum() { if has sha256sum; then cat "$@" | sha256sum; else cat "$@" | shasum -a 256; fi; }

# setup_environment runtime|dev: makes .venv as the lock says. A stamp with the lock's checksum makes every later start
# skip all of it; the development lock holds everything that the other one does, so its stamp serves both.
setup_environment() {
  local kind=$1 lock="$ROOT/requirements.lock" stamp
  if [ "$kind" = dev ]; then lock="$ROOT/requirements-dev.lock"; fi
  stamp="$ROOT $(checksum "$ROOT/pyproject.toml" "$ROOT/requirements.lock" "$ROOT/requirements-dev.lock")"
  local each
  for each in "$kind" dev; do
    if [ "$(cat "$VENV/.timeball-$each" 2>/dev/null)" = "$stamp" ] && python_is_new_enough "$VENV/bin/python"; then
      done_line "Python environment is ready"
      return 0
    fi
  done

  local started
  if [ -e "$VENV" ] && [ ! -e "$VENV/pyvenv.cfg" ] && [ -n "$(ls -A "$VENV")" ]; then
    fail "$VENV is there, but is no Python environment." "Move it away and start this again."
  fi
  if ! python_is_new_enough "$VENV/bin/python" || ! "$VENV/bin/python" -m pip -V >/dev/null 2>&1; then
    require_python
    note "Making a Python environment ($("$PYTHON" -V)) …"
    if ! "$PYTHON" -m venv --clear "$VENV" >>"$SETUP_LOG" 2>&1; then
      show_log_end "$SETUP_LOG"
      fail "The Python environment $VENV could not be made." "Is the disk full, or the checkout not yours?"
    fi
  fi
  rm -f "$VENV/.timeball-runtime" "$VENV/.timeball-dev"

  started=$SECONDS
  note "Installing $(grep -c '^[a-z]' "$lock") locked packages …"
  if ! { pip_install --only-binary :all: --require-hashes --requirement "$lock" &&
    pip_install --no-deps --no-build-isolation --editable "$ROOT"; }; then
    show_log_end "$SETUP_LOG"
    fail "The packages of $(basename "$lock") could not be installed." \
      "If the package index could not be reached: check the network, or set HTTPS_PROXY or PIP_INDEX_URL as your" \
      "network needs it, and start this again. What is already there is kept."
  fi
  "$VENV/bin/python" -m compileall -q "$ROOT/scheduler" "$ROOT/api" >>"$SETUP_LOG" 2>&1 || true
  printf '%s\n' "$stamp" >"$VENV/.timeball-$kind"
  done_line "Python environment made from $(basename "$lock") ($((SECONDS - started)) s)"
}

pip_install() { "$VENV/bin/python" -m pip install --quiet --compile "$@" </dev/null >>"$SETUP_LOG" 2>&1 9>&-; }

# ---------------------------------------------------------------- a Docker Engine

engine_ping() { "$VENV/bin/python" "$ROOT/deploy/engine.py" ping; }

# find_engine: sets ENGINE_VERSION if an engine answers, else ENGINE_STATUS (3 nobody there, 4 not allowed) and
# ENGINE_WORDS. Besides DOCKER_HOST and the usual socket, it looks where rootless engines and Docker Desktop listen.
find_engine() {
  ENGINE_STATUS=0
  if ENGINE_WORDS=$(engine_ping 2>&1); then
    ENGINE_VERSION=$ENGINE_WORDS
    return 0
  else
    ENGINE_STATUS=$?
  fi
  [ -z "${DOCKER_HOST:-}" ] || return 1
  local socket words
  for socket in "${XDG_RUNTIME_DIR:-/nowhere}/docker.sock" "${HOME:-/nowhere}/.docker/run/docker.sock"; do
    if [ -S "$socket" ] && words=$(DOCKER_HOST="unix://$socket" engine_ping 2>/dev/null); then
      export DOCKER_HOST="unix://$socket"
      ENGINE_VERSION=$words
      return 0
    fi
  done
  return 1
}

engine_line() { done_line "Docker Engine $ENGINE_VERSION answers at ${DOCKER_HOST:-/var/run/docker.sock}"; }

# ensure_engine: finds an engine, or installs and starts one where it may. Returns 1, with ENGINE_REMEDY naming what to
# do line by line, where it may not or cannot.
ensure_engine() {
  if find_engine; then
    engine_line
    return 0
  fi
  if [ -n "${DOCKER_HOST:-}" ]; then
    ENGINE_REMEDY="No Docker Engine answers at DOCKER_HOST=$DOCKER_HOST: $ENGINE_WORDS
Start that engine, or unset DOCKER_HOST to use the one of this machine."
    return 1
  fi
  if [ "$ENGINE_STATUS" -eq 4 ]; then
    ENGINE_REMEDY="The Docker Engine of this machine does not let $(id -un) in.
Join its group:    sudo usermod -aG docker $(id -un)
then log in again, or start this with:  sg docker -c '$0'
(Members of that group can do on this machine all that root can.)"
    return 1
  fi
  if ! is_root || [ "$(uname -s)" != Linux ]; then
    ENGINE_REMEDY=$(engine_instructions)
    return 1
  fi
  if ! grep -qsE ' cgroup2? ' /proc/self/mounts; then
    ENGINE_REMEDY="A Docker Engine cannot run here: no cgroup file system is mounted (is this a container without one?).
Start the container with the host's engine instead:  -v /var/run/docker.sock:/var/run/docker.sock
or, with full rights (--privileged), mount it:       mount -t cgroup2 none /sys/fs/cgroup"
    return 1
  fi
  if ! has dockerd; then
    if ! has apt-get; then
      ENGINE_REMEDY=$(engine_instructions)
      return 1
    fi
    if ! apt_install docker.io iptables ca-certificates; then
      ENGINE_REMEDY=$(engine_instructions)
      return 1
    fi
    hash -r
  fi
  start_engine
}

engine_instructions() {
  cat <<END
No Docker Engine answers at /var/run/docker.sock, and only root on Debian or Ubuntu gets one installed here.
Debian, Ubuntu:  sudo apt-get install --no-install-recommends docker.io iptables ca-certificates
                 sudo usermod -aG docker $(id -un)      (then log in again)
Fedora:          sudo dnf install moby-engine && sudo systemctl enable --now docker
                 sudo usermod -aG docker $(id -un)      (then log in again)
macOS:           install Docker Desktop or colima, and start it
Elsewhere:       set DOCKER_HOST to an engine that you may use, e.g. unix:///run/user/1000/docker.sock
Then start this again.
END
}

# start_engine: where systemd runs, it owns the engine; elsewhere dockerd runs in the background, and stays when this
# script ends, so that the next start finds it. Its log and process id are kept in .timeball/engine.
start_engine() {
  local started=$SECONDS pid log="$ENGINE_STATE/dockerd.log"
  if [ -d /run/systemd/system ]; then
    systemctl start docker >>"$SETUP_LOG" 2>&1 9>&- || true
    if wait_for_engine ""; then
      engine_line
      return 0
    fi
    ENGINE_REMEDY="systemd could not start the Docker Engine.
See why:  systemctl status docker; journalctl -u docker -n 50"
    return 1
  fi
  mkdir -p "$ENGINE_STATE"
  # One machine has one engine on the usual socket: starts from other checkouts wait here, then find it running.
  exec 8>/run/timeball-engine.lock
  if has flock; then flock -w 120 8 || true; fi
  if find_engine; then
    exec 8>&-
    engine_line
    return 0
  fi
  note "Starting a Docker Engine …"
  setsid dockerd </dev/null >"$log" 2>&1 8>&- 9>&- &
  pid=$!
  printf '%s\n' "$pid" >"$ENGINE_STATE/dockerd.pid"
  if wait_for_engine "$pid"; then
    exec 8>&-
    done_line "Docker Engine $ENGINE_VERSION started in $((SECONDS - started)) s; it stays (to stop it: kill $pid)"
    return 0
  fi
  exec 8>&-
  kill "$pid" 2>/dev/null || true
  rm -f "$ENGINE_STATE/dockerd.pid"
  show_log_end "$log" 15
  ENGINE_REMEDY="A Docker Engine was started, but did not answer within $ENGINE_WAIT_SECONDS s; the lines above say why.
Starting one takes a machine or a container with full rights (--privileged). Elsewhere, use another's:
set DOCKER_HOST, or mount its socket at /var/run/docker.sock. Then start this again."
  return 1
}

# wait_for_engine PID: waits until an engine answers; gives up at once when the process PID (if given) has ended.
wait_for_engine() {
  local deadline=$((SECONDS + ENGINE_WAIT_SECONDS))
  while [ "$SECONDS" -lt "$deadline" ]; do
    if find_engine; then return 0; fi
    if [ -n "$1" ] && ! kill -0 "$1" 2>/dev/null; then return 1; fi
    sleep 0.3
  done
  return 1
}

# own_engine_pid: prints the process id of the dockerd that this checkout started and that still runs.
own_engine_pid() {
  local pid
  pid=$(cat "$ENGINE_STATE/dockerd.pid" 2>/dev/null) || return 1
  [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ] || return 1
  printf '%s\n' "$pid"
}

fail_without_engine() {
  local IFS=$'\n'
  # shellcheck disable=SC2086  # one argument a line is meant
  fail $ENGINE_REMEDY
}

# ---------------------------------------------------------------- an image

# ensure_image: sees to an image named timeball/busybox:1 on the engine. An image of that name is used as it is.
ensure_image() {
  local words
  if words=$("$VENV/bin/python" "$ROOT/deploy/engine.py" image 2>>"$SETUP_LOG"); then
    done_line "$words"
    return 0
  fi
  note "No image registry answers; building the image from busybox …"
  if ! fetch_tool busybox-static busybox || ! is_static "$(command -v busybox)"; then
    fail "There is no image to run, and no static busybox to build one from." \
      "Debian, Ubuntu:  sudo apt-get install busybox-static" \
      "Elsewhere:       let the engine reach an image registry, or give it any small image with a shell:" \
      "                 docker tag SOME-IMAGE timeball/busybox:1" \
      "Then start this again."
  fi
  words=$("$VENV/bin/python" "$ROOT/deploy/engine.py" build-image "$(command -v busybox)" 2>>"$SETUP_LOG") || {
    show_log_end "$SETUP_LOG"
    fail "The engine did not take the image." "The lines above say why."
  }
  done_line "$words"
}

# ---------------------------------------------------------------- what only the tests need

# prepare_test_packages: the programs that some tests run beside the engine. An ssh server is installed only where no
# systemd would start it for all the world.
prepare_test_packages() {
  local each missing=()
  for each in curl:curl ip:iproute2 openssl:openssl ssh:openssh-client sshd:openssh-server; do
    if has "${each%%:*}" || [ -x "/usr/sbin/${each%%:*}" ]; then continue; fi
    if [ "${each%%:*}" = sshd ] && [ -d /run/systemd/system ]; then continue; fi
    missing+=("${each#*:}")
  done
  if [ ${#missing[@]} -eq 0 ]; then return 0; fi
  may_install || return 1
  apt_install "${missing[@]}"
}

# prepare_postgresql: installs the server's programs. The tests make clusters of their own, so the package is told to
# make none.
prepare_postgresql() {
  if has initdb || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then return 0; fi
  may_install || return 1
  local setting=/etc/postgresql-common/createcluster.d/timeball.conf status=0
  mkdir -p "$(dirname "$setting")"
  printf 'create_main_cluster = false\n' >"$setting"
  apt_install postgresql || status=1
  rm -f "$setting"
  return $status
}
