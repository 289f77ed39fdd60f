#!/usr/bin/env bash
# The part of deploy/install-check that starts the Debian package's service with a real systemd, as the first process of a
# container. Sourced by deploy/install-check.

set -euo pipefail

SYSTEMD="timeball-check-systemd-$$"

remove_systemd() {
  docker rm --force "$SYSTEMD" >/dev/null 2>&1 || true
  docker rmi --force "$SYSTEMD" >/dev/null 2>&1 || true
}

# start_systemd: returns 1 if a container on this machine cannot run systemd.
start_systemd() {
  local deadline=$((SECONDS + 60)) options=(
    --cap-add SYS_ADMIN --cap-add SYS_PTRACE --cap-add NET_ADMIN --security-opt seccomp=unconfined
    --security-opt apparmor=unconfined --cgroupns private --tmpfs /run --tmpfs /run/lock --env container=docker
    --volume /var/run/docker.sock:/engine.sock --volume "$WORK:/check:ro"
  )
  copy_root bookworm check-systemd "${DEB_NEEDS[@]}"
  rm -f "$COPY/usr/sbin/policy-rc.d" # here, the package starts its service
  tar --create --numeric-owner --directory "$COPY" --exclude='./dev/*' --exclude='./proc/*' . |
    docker import - "$SYSTEMD" >>"$SETUP_LOG"
  rm -rf "$COPY"
  docker run --detach --name "$SYSTEMD" "${options[@]}" "$SYSTEMD" sh -c '
    mount -o remount,rw /sys/fs/cgroup || true
    [ -e /sys/fs/cgroup/cgroup.controllers ] || mkdir -p /sys/fs/cgroup/systemd
    exec /lib/systemd/systemd' >>"$SETUP_LOG" 2>&1 || return 1
  until in_systemd systemctl is-system-running 2>/dev/null | grep -qE 'running|degraded'; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.3
  done
}

in_systemd() { docker exec --env TIMEBALL_DATA_DIR=/var/lib/timeball "$SYSTEMD" "$@"; }

fail_systemd() {
  in_systemd journalctl --no-pager -n 20 2>&1 | sed 's/^/    | /' >&2 || true
  fail "$@"
}

# prints TEXT COMMAND…: the command in there must print that text, within a minute.
prints() {
  local text=$1 found deadline=$((SECONDS + 60))
  shift
  while
    found=$(in_systemd "$@" 2>&1 || true)
    case $found in *"$text"*) false ;; esac
  do
    [ "$SECONDS" -lt "$deadline" ] || fail_systemd "'$*' does not print '$text'." "$found"
    sleep 0.3
  done
}

way_systemd() {
  if ! start_systemd; then
    # shellcheck disable=SC2034  # used by deploy/install-check
    NOT_TRIED="systemd cannot run in a container on this machine"
    return 0
  fi
  in_systemd sh -c "groupadd --system --gid $(stat -c %g /var/run/docker.sock) docker; ln -s /engine.sock /run/docker.sock"
  in_systemd sh -c "dpkg --install /check/${VERSIONS[0]}/timeball_*.deb" >>"$SETUP_LOG" 2>&1 ||
    fail_systemd "The package cannot be installed."
  prints "ok       daemon: Timeball ${VERSIONS[0]}" timeball doctor
  prints "ok       engine" timeball doctor
  prints enabled systemctl is-enabled timeball
  prints timeball systemctl show --property MainPID,User timeball
  in_systemd timeball job create kept --image timeball/busybox:1 --command 'echo what was printed' -q >>"$SETUP_LOG"
  prints "what was printed" timeball run kept
  in_systemd sh -c "dpkg --install /check/${VERSIONS[1]}/timeball_*.deb" >>"$SETUP_LOG" 2>&1 ||
    fail_systemd "The package cannot be upgraded."
  prints "ok       daemon: Timeball ${VERSIONS[1]}" timeball doctor # the upgrade has restarted the service
  prints "what was printed" timeball logs kept
  in_systemd dpkg --remove timeball >>"$SETUP_LOG" 2>&1
  prints inactive systemctl is-active timeball
  prints timeball.db ls /var/lib/timeball
  in_systemd sh -c "dpkg --install /check/${VERSIONS[1]}/timeball_*.deb" >>"$SETUP_LOG" 2>&1
  prints "what was printed" timeball logs kept # the data of the removed package is still there
  in_systemd dpkg --purge timeball >>"$SETUP_LOG" 2>&1
  prints "No such file" ls /var/lib/timeball
  prints "No such file" ls /etc/timeball
  prints "0 loaded units" systemctl list-units --failed --no-pager
}
