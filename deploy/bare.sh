#!/usr/bin/env bash
# Shared by the scripts that need a bare Debian: deploy/image, deploy/install-check and deploy/pythons. They require root on
# Debian or Ubuntu, whose package mirror they use, and keep what they download in .timeball/roots. Source deploy/lib.sh first.

set -euo pipefail

ROOTS="$STATE/roots"

require_bare_roots() {
  if is_root && has apt-get && has unshare; then return 0; fi
  fail "${1:-This script} requires root on Debian or Ubuntu, because it works in bare roots of Debian." \
    "Run it as root, for example in a container started with --privileged."
}

# debian_mirror: prints the mirror in this machine's package lists, for a bare root to use.
debian_mirror() {
  if [ -n "${TIMEBALL_DEBIAN_MIRROR:-}" ]; then
    printf '%s\n' "$TIMEBALL_DEBIAN_MIRROR"
    return 0
  fi
  # The lists may also name other archives.
  local each
  # shellcheck disable=SC2016  # apt-get's own placeholder
  for each in $(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | sort -u); do
    case $each in */debian | */debian/)
      printf '%s\n' "${each%/}"
      return 0
      ;;
    esac
  done
  fail "The package lists of this machine name no mirror of Debian." "Set TIMEBALL_DEBIAN_MIRROR to one."
}

# bare_root SUITE: sets BARE_ROOT to a minimal root of that suite, which is created only once. Nothing may change it.
bare_root() {
  local suite=$1 started=$SECONDS
  BARE_ROOT="$ROOTS/$suite"
  if [ -e "$BARE_ROOT.complete" ]; then return 0; fi
  fetch_tool debootstrap debootstrap || true # its program is in sbin
  local program="$TOOLS/debootstrap/usr/sbin/debootstrap" folder="$TOOLS/debootstrap/usr/share/debootstrap"
  if [ ! -x "$program" ]; then
    program=$(command -v debootstrap) || fail "debootstrap cannot be downloaded." "Try: apt-get install debootstrap"
    folder=/usr/share/debootstrap
  fi
  note "Creating a bare root of Debian $suite …"
  rm -rf "$BARE_ROOT"
  mkdir -p "$ROOTS"
  if ! DEBOOTSTRAP_DIR=$folder "$program" --variant=minbase "$suite" "$BARE_ROOT" "$(debian_mirror)" >>"$SETUP_LOG" 2>&1; then
    show_log_end "$SETUP_LOG"
    fail "debootstrap cannot create a root of Debian $suite." "See the lines above."
  fi
  # A mirror may be a snapshot, whose lists are older than Debian allows.
  echo 'Acquire::Check-Valid-Until "false";' >"$BARE_ROOT/etc/apt/apt.conf.d/99snapshot"
  : >"$BARE_ROOT.complete"
  done_line "Created a bare root of Debian $suite ($((SECONDS - started)) s)"
}

# copy_root SUITE NAME [PACKAGE…]: sets COPY to a fresh copy of the bare root; with packages, of one in which they are
# installed, which is kept as well.
copy_root() {
  local suite=$1 name=$2
  shift 2
  bare_root "$suite"
  local base=$BARE_ROOT
  if [ $# -gt 0 ]; then
    base="$ROOTS/$suite-$(printf '%s\n' "$@" | checksum | cut -c1-8)"
    if [ ! -e "$base.complete" ]; then
      note "Installing $* in a root of Debian $suite …"
      rm -rf "$base"
      cp -a --reflink=auto "$BARE_ROOT" "$base"
      cp /etc/resolv.conf "$base/etc/resolv.conf"
      printf '#!/bin/sh\nexit 101\n' >"$base/usr/sbin/policy-rc.d" # no package starts a service in there
      chmod +x "$base/usr/sbin/policy-rc.d"
      if ! in_root "$base" sh -c 'apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends "$@"' \
        sh "$@" >>"$SETUP_LOG" 2>&1; then
        show_log_end "$SETUP_LOG"
        fail "$* cannot be installed in a root of Debian $suite." "See the lines above."
      fi
      : >"$base.complete"
    fi
  fi
  COPY="$ROOTS/$name"
  rm -rf "$COPY"
  cp -a --reflink=auto "$base" "$COPY"
}

# in_root ROOT COMMAND…: runs the command in there, with the network of this machine, but with processes and mounts of its
# own: whatever it leaves running ends with it. BIND is an array of SOURCE:TARGET.
BIND=()
in_root() {
  local root=$1 each
  shift
  # shellcheck disable=SC2016  # expanded by the inner shell
  unshare --mount --pid --fork --kill-child sh -c '
    set -e
    root=$1 binds=$2
    shift 2
    mount --make-rprivate /
    mount -t proc proc "$root/proc"
    mount -t tmpfs tmpfs "$root/dev"
    for each in null zero full random urandom tty; do : >"$root/dev/$each"; mount --bind "/dev/$each" "$root/dev/$each"; done
    mkdir -p "$root/dev/shm" "$root/dev/pts"
    ln -s /proc/self/fd "$root/dev/fd"
    for each in $binds; do
      source=${each%%:*} target=$root${each#*:}
      if [ -d "$source" ]; then mkdir -p "$target"; else mkdir -p "$(dirname "$target")"; [ -e "$target" ] || : >"$target"; fi
      mount --bind "$source" "$target"
    done
    exec chroot "$root" /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
      LANG=C.UTF-8 "$@"
  ' sh "$root" "${BIND[*]:-}" "$@"
}

# network_settings: prints VARIABLE=VALUE for each setting that a package client needs on this machine's network, with the
# certificates in /etc/timeball-certificates.crt.
network_settings() {
  local each
  for each in PIP_INDEX_URL HTTPS_PROXY HTTP_PROXY NO_PROXY; do
    if [ -n "${!each:-}" ]; then printf '%s=%s\n' "$each" "${!each}"; fi
  done
  if [ -n "${PIP_INDEX_URL:-}" ]; then printf 'UV_DEFAULT_INDEX=%s\n' "$PIP_INDEX_URL"; fi
  if [ -n "$(own_certificates)" ]; then
    for each in PIP_CERT SSL_CERT_FILE REQUESTS_CA_BUNDLE; do printf '%s=/etc/timeball-certificates.crt\n' "$each"; done
  fi
}

# own_certificates: prints the file with the certificates that this machine's pip is configured to trust, if any.
own_certificates() {
  local file=${PIP_CERT:-}
  if [ -z "$file" ]; then file=$("$VENV/bin/python" -m pip config get global.cert 2>/dev/null) || file=""; fi
  if [ -f "$file" ]; then printf '%s\n' "$file"; fi
}

# base_images: sets BASE_IMAGE and BUILD_IMAGE for deploy/Dockerfile. Where Debian's image cannot be pulled, both are made
# from a bare root; the one to build with also has this machine's certificates.
base_images() {
  BASE_IMAGE=${BASE_IMAGE:-debian:trixie-slim}
  BUILD_IMAGE=$BASE_IMAGE
  if docker image inspect "$BASE_IMAGE" >/dev/null 2>&1 || timeout 60 docker pull -q "$BASE_IMAGE" >>"$SETUP_LOG" 2>&1; then
    return 0
  fi
  note "$BASE_IMAGE cannot be pulled; making a base image from a bare root"
  require_bare_roots "Making a base image"
  bare_root trixie
  BASE_IMAGE=timeball/debian:trixie
  local tar=(tar --create --numeric-owner --sort=name --directory "$BARE_ROOT" --exclude='./dev/*' --exclude='./proc/*'
    --exclude='./var/cache/apt/*' --exclude='./var/lib/apt/lists/*' --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*'
    --exclude='./usr/share/locale/*' --exclude='./var/log/*' .)
  "${tar[@]}" | docker import --change 'CMD ["bash"]' - "$BASE_IMAGE" >>"$SETUP_LOG"
  BUILD_IMAGE=$BASE_IMAGE
  local file
  file=$(own_certificates)
  if [ -n "$file" ]; then
    BUILD_IMAGE=timeball/debian:trixie-build
    printf 'FROM %s\nCOPY certificates.crt /etc/timeball-certificates.crt\nENV PIP_CERT=/etc/timeball-certificates.crt\n' \
      "$BASE_IMAGE" >"$STATE/Dockerfile.part"
    tar --create --transform "s,^$(basename "$STATE/Dockerfile.part")\$,Dockerfile," \
      --transform "s,^$(basename "$file")\$,certificates.crt," -C "$STATE" Dockerfile.part -C "$(dirname "$file")" \
      "$(basename "$file")" | DOCKER_BUILDKIT=0 docker build -q -t "$BUILD_IMAGE" - >>"$SETUP_LOG" 2>&1
    rm -f "$STATE/Dockerfile.part"
  fi
}
