#!/usr/bin/env bash
# Shared by deploy/quickstart and deploy/test: creates a Python environment from the lock file, finds or starts a Docker
# Engine, and provides a few tools. Everything is created in the checkout (.venv/ and .timeball/, both ignored by git),
# except Debian packages, which are installed only as root. Requires bash 3.2 or newer.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
STATE="$ROOT/.timeball"
VENV="$ROOT/.venv"
SETUP_LOG="$STATE/setup.log"
TOOLS="$STATE/tools"
ENGINE_STATE="$STATE/engine"
ENGINE_WAIT_SECONDS=60

# PYTHONDONTWRITEBYTECODE makes imports three times as slow at every start; the others would redirect Python.
unset PYTHONDONTWRITEBYTECODE PYTHONHOME PYTHONPATH VIRTUAL_ENV
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore

# ---------------------------------------------------------------- messages

say() { printf '%s\n' "$*"; }
done_line() { printf '✓ %s\n' "$*"; }
note() { printf '· %s\n' "$*"; }

# fail WHAT [REMEDY-LINE…]: prints the error and its fix, and exits.
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
    fail "$STATE is not writable." "Change the owner of the checkout, for example: sudo chown -R \"\$(id -un)\" '$ROOT'"
  fi
}

# Setups in the same checkout run one after another. macOS has no flock, so this is skipped there.
lock_setup() {
  command -v flock >/dev/null 2>&1 || return 0
  exec 9>"$STATE/setup.lock"
  if ! flock -n 9; then
    note "Another process is setting up this checkout; waiting for it …"
    flock -w 1200 9 || fail "The other setup has not ended within 20 minutes." "Find the process that holds $STATE/setup.lock."
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

# apt_install PACKAGE…: updates the package lists only if the installation fails without.
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

# fetch_tool PACKAGE COMMAND: adds COMMAND to the PATH. If it is missing, the Debian package is unpacked into the state
# directory: nothing is installed, no service is started, and root is not required.
fetch_tool() {
  local package=$1 command=$2 folder="$TOOLS/$1"
  if [ -d "$folder" ]; then PATH="$folder/usr/bin:$folder/bin:$PATH"; fi
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
  done_line "Downloaded $package to ${TOOLS#"$ROOT"/}"
}

# Debian's regular busybox needs the C library, which an image with only busybox does not have.
is_static() { has ldd && ! ldd "$1" >/dev/null 2>&1; }

# ---------------------------------------------------------------- Python

python_is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
python_makes_environments() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }

# find_python TEST: prints the first Python that is new enough and passes TEST. Candidates are executed, not only looked
# up, because a version manager's shim can be on the PATH for a Python that is not installed.
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
    apt_install python3 python3-venv || fail "Cannot install Python." "Try: apt-get install python3 python3-venv"
    hash -r
    PYTHON=$(find_python python_makes_environments) && return 0
    # A distribution may have an older python3 and newer versions next to it (python3.11 and python3.11-venv).
    local version
    for version in 3.13 3.12 3.11; do
      if apt-cache show "python$version-venv" >/dev/null 2>&1 && apt_install "python$version" "python$version-venv"; then
        PYTHON=$(find_python python_makes_environments) && return 0
      fi
    done
  fi
  if has python3; then old=" (found $(python3 -V 2>/dev/null | cut -d' ' -f2 || true))"; fi
  if PYTHON=$(find_python true); then
    fail "$PYTHON cannot create environments: its ensurepip module is missing." \
      "Debian, Ubuntu:  sudo apt-get install python3-venv" "Then run this again."
  fi
  fail "Timeball requires Python 3.11 or newer$old." \
    "Debian 12, Ubuntu 24.04 or newer:  sudo apt-get install python3 python3-venv" \
    "Fedora:                            sudo dnf install python3" \
    "macOS:                             brew install python@3.13" \
    "Then run this again."
}

checksum() { if has sha256sum; then cat "$@" | sha256sum; else cat "$@" | shasum -a 256; fi; }

# setup_environment runtime|dev: creates .venv from the lock file. Later starts skip this because of a stamp with the lock
# file's checksum. The development lock file includes the runtime packages, so its stamp is valid for both.
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
    fail "$VENV exists, but is not a Python environment." "Move it away and run this again."
  fi
  if ! python_is_new_enough "$VENV/bin/python" || ! "$VENV/bin/python" -m pip -V >/dev/null 2>&1; then
    require_python
    note "Creating a Python environment ($("$PYTHON" -V)) …"
    if ! "$PYTHON" -m venv --clear "$VENV" >>"$SETUP_LOG" 2>&1; then
      show_log_end "$SETUP_LOG"
      fail "Cannot create the Python environment $VENV." "Check the disk space and the owner of the checkout."
    fi
  fi
  rm -f "$VENV/.timeball-runtime" "$VENV/.timeball-dev"

  started=$SECONDS
  note "Installing $(grep -c '^[a-z]' "$lock") locked packages …"
  if ! { pip_install --only-binary :all: --require-hashes --requirement "$lock" &&
    pip_install --no-deps --no-build-isolation --editable "$ROOT"; }; then
    show_log_end "$SETUP_LOG"
    fail "Cannot install the packages in $(basename "$lock")." \
      "If the package index cannot be reached, check the network, or set HTTPS_PROXY or PIP_INDEX_URL for your" \
      "network, and run this again. Packages that are already installed are kept."
  fi
  "$VENV/bin/python" -m compileall -q "$ROOT/scheduler" "$ROOT/api" >>"$SETUP_LOG" 2>&1 || true
  printf '%s\n' "$stamp" >"$VENV/.timeball-$kind"
  done_line "Created the Python environment from $(basename "$lock") ($((SECONDS - started)) s)"
}

pip_install() { "$VENV/bin/python" -m pip install --quiet --compile "$@" </dev/null >>"$SETUP_LOG" 2>&1 9>&-; }

# ---------------------------------------------------------------- a Docker Engine

engine_ping() { "$VENV/bin/python" "$ROOT/deploy/engine.py" ping; }

# find_engine: sets ENGINE_VERSION if an engine responds, otherwise ENGINE_STATUS (3 none, 4 no access) and ENGINE_WORDS.
# Besides DOCKER_HOST and the default socket, it tries the sockets of rootless engines and Docker Desktop.
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

engine_line() { done_line "Docker Engine $ENGINE_VERSION responds at ${DOCKER_HOST:-/var/run/docker.sock}"; }

# ensure_engine: finds an engine, or installs and starts one if permitted. Otherwise returns 1, with instructions in
# ENGINE_REMEDY, one per line.
ensure_engine() {
  if find_engine; then
    engine_line
    return 0
  fi
  if [ -n "${DOCKER_HOST:-}" ]; then
    ENGINE_REMEDY="No Docker Engine responds at DOCKER_HOST=$DOCKER_HOST: $ENGINE_WORDS
Start that engine, or unset DOCKER_HOST to use the engine on this machine."
    return 1
  fi
  if [ "$ENGINE_STATUS" -eq 4 ]; then
    ENGINE_REMEDY="The user $(id -un) does not have access to the Docker Engine on this machine.
Join its group:    sudo usermod -aG docker $(id -un)
Then log in again, or run:  sg docker -c '$0'
(Members of that group have root access to this machine.)"
    return 1
  fi
  if ! is_root || [ "$(uname -s)" != Linux ]; then
    ENGINE_REMEDY=$(engine_instructions)
    return 1
  fi
  if ! grep -qsE ' cgroup2? ' /proc/self/mounts; then
    ENGINE_REMEDY="A Docker Engine cannot run here: no cgroup file system is mounted (is this a container without one?).
Start the container with the host's engine:       -v /var/run/docker.sock:/var/run/docker.sock
or, with --privileged, mount the file system:     mount -t cgroup2 none /sys/fs/cgroup"
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
No Docker Engine responds at /var/run/docker.sock, and it can be installed automatically only as root on Debian or Ubuntu.
Debian, Ubuntu:  sudo apt-get install --no-install-recommends docker.io iptables ca-certificates
                 sudo usermod -aG docker $(id -un)      (then log in again)
Fedora:          sudo dnf install moby-engine && sudo systemctl enable --now docker
                 sudo usermod -aG docker $(id -un)      (then log in again)
macOS:           install Docker Desktop or colima, and start it
Other systems:   set DOCKER_HOST to an engine that you can use, for example unix:///run/user/1000/docker.sock
Then run this again.
END
}

# start_engine: starts the engine with systemd if it is running. Otherwise dockerd runs in the background and keeps running
# when this script exits, so that the next start finds it. Its log and process id are in .timeball/engine.
start_engine() {
  local started=$SECONDS pid log="$ENGINE_STATE/dockerd.log"
  if [ -d /run/systemd/system ]; then
    systemctl start docker >>"$SETUP_LOG" 2>&1 9>&- || true
    if wait_for_engine ""; then
      engine_line
      return 0
    fi
    ENGINE_REMEDY="systemd could not start the Docker Engine.
For details, run:  systemctl status docker; journalctl -u docker -n 50"
    return 1
  fi
  mkdir -p "$ENGINE_STATE"
  # A machine has only one engine on the default socket: setups in other checkouts wait here and then find it running.
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
    done_line "Started Docker Engine $ENGINE_VERSION in $((SECONDS - started)) s; it keeps running (to stop it: kill $pid)"
    return 0
  fi
  exec 8>&-
  kill "$pid" 2>/dev/null || true
  rm -f "$ENGINE_STATE/dockerd.pid"
  show_log_end "$log" 15
  ENGINE_REMEDY="A Docker Engine was started, but did not respond within $ENGINE_WAIT_SECONDS s; see the lines above.
An engine requires a machine or a container with full privileges (--privileged). Otherwise, use another engine:
set DOCKER_HOST, or mount its socket at /var/run/docker.sock. Then run this again."
  return 1
}

# wait_for_engine PID: waits until an engine responds; stops waiting if the process PID (if given) has ended.
wait_for_engine() {
  local deadline=$((SECONDS + ENGINE_WAIT_SECONDS))
  while [ "$SECONDS" -lt "$deadline" ]; do
    if find_engine; then return 0; fi
    if [ -n "$1" ] && ! kill -0 "$1" 2>/dev/null; then return 1; fi
    sleep 0.3
  done
  return 1
}

# own_engine_pid: prints the process id of the dockerd that this checkout has started, if it is still running.
own_engine_pid() {
  local pid
  pid=$(cat "$ENGINE_STATE/dockerd.pid" 2>/dev/null) || return 1
  [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ] || return 1
  printf '%s\n' "$pid"
}

fail_without_engine() {
  local IFS=$'\n'
  # shellcheck disable=SC2086  # split into one argument per line
  fail $ENGINE_REMEDY
}

# ---------------------------------------------------------------- an image

# ensure_image: provides the image timeball/busybox:1 on the engine. An existing image with that name is used as it is.
ensure_image() {
  local words
  if words=$("$VENV/bin/python" "$ROOT/deploy/engine.py" image 2>>"$SETUP_LOG"); then
    done_line "$words"
    return 0
  fi
  note "No image registry is available; building the image from busybox …"
  if ! fetch_tool busybox-static busybox || ! is_static "$(command -v busybox)"; then
    fail "There is no image to run, and no static busybox to build one." \
      "Debian, Ubuntu:  sudo apt-get install busybox-static" \
      "Other systems:   give the engine access to an image registry, or tag any small image with a shell:" \
      "                 docker tag SOME-IMAGE timeball/busybox:1" \
      "Then run this again."
  fi
  words=$("$VENV/bin/python" "$ROOT/deploy/engine.py" build-image "$(command -v busybox)" 2>>"$SETUP_LOG") || {
    show_log_end "$SETUP_LOG"
    fail "The engine did not accept the image." "See the lines above."
  }
  done_line "$words"
}

# ---------------------------------------------------------------- only for the tests

# prepare_test_packages: installs programs that some tests need. An ssh server is installed only without systemd, which
# would start it as a public service.
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

# prepare_postgresql: installs the server's programs. The tests create their own clusters, so the package is configured
# not to create one.
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
