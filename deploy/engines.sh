# shellcheck shell=bash
# Docker Engines for the tests only, beside the one of the machine: Debian's packages of several releases, unpacked below
# the state directory (nothing is installed), each started in a network namespace of its own. Sourced after lib.sh.
#
#   old       Debian 12's 20.10, the oldest supported        overlay2
#   trixie    Debian 13's 26.1                               containerd (the default here) or overlay2
#   sid       the newest in Debian                           containerd or overlay2; refuses clients older than API 1.44
#   machine   what DOCKER_HOST or the default socket gives   whatever it uses
#
# Only the download is kept. The files of a running engine are in /run/timeball-engine-PID (short, because a socket's path
# is limited to 108 bytes) and its data in the state directory; both go when the script PID ends, or at the next start.

LAB="$STATE/engines"
LAB_TOOLS="ip:iproute2 iptables:iptables nsenter:util-linux unshare:util-linux"
LAB_PID=""

# why_no_lab: prints why engines of the tests' own cannot run on this machine, or nothing.
why_no_lab() {
  if [ "$(uname -s)" != Linux ] || ! is_root; then
    echo "only root on Linux can start engines for the tests"
  elif ! grep -qs '^ID=debian$' /etc/os-release || ! has apt-get || ! has dpkg-deb; then
    echo "engines for the tests are fetched with Debian's apt, which this machine does not have"
  elif ! grep -qsE ' cgroup2? ' /proc/self/mounts; then
    echo "no cgroup file system is mounted"
  fi
}

# debian_mirror: prints the address of the Debian archive that this machine's own apt configuration names.
debian_mirror() {
  local release
  # shellcheck disable=SC1091
  release=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
  # shellcheck disable=SC2016  # apt fills these in
  apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT) $(CREATED_BY)' 2>>"$SETUP_LOG" |
    sed -nE "s|^([^ ]+) ($release\|stable\|testing\|sid\|unstable) main Packages\$|\1|p" | head -n 1
}

lab_suite() { if [ "$1" = old ]; then echo bookworm; else echo "$1"; fi; }

# fetch_packages SUITE FOLDER PACKAGE…: unpacks a release's packages into FOLDER, without the machine's own package lists.
fetch_packages() {
  local suite=$1 folder=$2 mirror each
  shift 2
  mirror=$(debian_mirror)
  [ -n "$mirror" ] || { echo "apt's configuration names no Debian archive" >>"$SETUP_LOG"; return 1; }
  mkdir -p "$folder"/apt/lists/partial "$folder"/apt/cache/archives/partial "$folder"/apt/debs
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$folder/apt/src.list"
  local own=(-o "Dir::Etc::sourcelist=$folder/apt/src.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$folder/apt/lists"
    -o "Dir::Cache=$folder/apt/cache" -o APT::Sandbox::User=root -o APT::Get::List-Cleanup=0)
  apt_get "${own[@]}" update || return 1
  (cd "$folder/apt/debs" && apt_get "${own[@]}" download "$@") || return 1
  for each in "$folder"/apt/debs/*.deb; do dpkg-deb -x "$each" "$folder" || return 1; done
  rm -rf "$folder/apt"
}

# fetch_lab_engine NAME: provides the programs of that engine in .timeball/engines/NAME/bin, once.
fetch_lab_engine() {
  local name=$1 folder="$LAB/$1" packages=(docker.io containerd) started=$SECONDS suite
  [ ! -d "$folder/bin" ] || return 0
  suite=$(lab_suite "$name")
  case $suite in bookworm) ;; *) packages+=(docker-cli) ;; esac
  note "Fetching the Docker Engine of Debian $suite …"
  rm -rf "$folder" "$folder.part"
  fetch_packages "$suite" "$folder.part" "${packages[@]}" || return 1
  # Newer releases of runc need a newer C library than Debian 12's; its own works with every engine.
  fetch_packages bookworm "$folder.part/runc" runc || return 1
  mkdir "$folder.part/bin"
  find "$folder.part"/usr "$folder.part"/runc/usr -type f \( -path '*/bin/*' -o -path '*/sbin/*' -o -path '*/libexec/docker/*' \) \
    -perm -u+x -exec mv {} "$folder.part/bin/" \;
  rm -rf "$folder.part/usr" "$folder.part/etc" "$folder.part/runc" "$folder.part/var"
  [ -x "$folder.part/bin/dockerd" ] && [ -x "$folder.part/bin/runc" ] || return 1
  mv "$folder.part" "$folder"
  done_line "Unpacked Docker Engine of Debian $suite in ${folder#"$ROOT"/} ($((SECONDS - started)) s)"
}

# install_lab_tools: the programs that an engine in a namespace needs from the machine.
install_lab_tools() {
  local each missing=()
  for each in $LAB_TOOLS; do
    if ! has "${each%%:*}" && [ ! -x "/usr/sbin/${each%%:*}" ]; then missing+=("${each#*:}"); fi
  done
  if [ ${#missing[@]} -eq 0 ]; then return 0; fi
  may_install && apt_install "${missing[@]}"
}

# start_lab_engine NAME STORE: fetches and starts that engine, and sets what the tests need to find it: DOCKER_HOST, PATH
# (with its programs first), ENGINE_CONFIG_FOR_TESTS (the configuration, for more engines of its kind), and LAB_NETNS.
# Otherwise returns 1, with the reason in LAB_REMEDY. The caller traps EXIT with stop_lab_engine.
start_lab_engine() {
  local name=$1 store=$2 started=$SECONDS snapshotter=false
  LAB_REMEDY=$(why_no_lab)
  [ -z "$LAB_REMEDY" ] || return 1
  sweep_lab
  if ! { install_lab_tools && fetch_lab_engine "$name"; }; then
    show_log_end "$SETUP_LOG"
    LAB_REMEDY="the Docker Engine of Debian $(lab_suite "$name") could not be fetched; see the lines above"
    return 1
  fi
  if [ "$store" = containerd ]; then snapshotter=true; fi
  if [ "$name" = sid ]; then export DOCKER_MIN_API_VERSION=1.44; fi # as Docker 29 has it

  LAB_NETNS="timeball-engine-$$" LAB_RUN="/run/timeball-engine-$$" LAB_DATA="$LAB/data-$$"
  mkdir -p "$LAB_RUN" "$LAB_DATA"
  printf '%s\n' "$ROOT" >"$LAB_RUN/checkout"
  printf '{"features": {"containerd-snapshotter": %s}}\n' "$snapshotter" >"$LAB_RUN/daemon.json"
  PATH="$LAB/$name/bin:$PATH:/usr/sbin:/sbin"
  export PATH ENGINE_CONFIG_FOR_TESTS="$LAB_RUN/daemon.json" DOCKER_HOST="unix://$LAB_RUN/docker.sock"
  hash -r
  if ! { ip netns add "$LAB_NETNS" && ip -n "$LAB_NETNS" link set lo up; } >>"$SETUP_LOG" 2>&1; then
    show_log_end "$SETUP_LOG" 3
    stop_lab_engine
    LAB_REMEDY="a network namespace could not be made (is this a container without --privileged?)"
    return 1
  fi
  # A session of its own: an interrupt at the terminal reaches the tests first, and the engine when they have ended.
  setsid nsenter --net="/run/netns/$LAB_NETNS" unshare --uts dockerd --config-file "$LAB_RUN/daemon.json" \
    --data-root "$LAB_DATA" --exec-root "$LAB_RUN/exec" --pidfile "$LAB_RUN/pid" --host "$DOCKER_HOST" \
    </dev/null >"$LAB_RUN/log" 2>&1 9>&- &
  LAB_PID=$!
  if ! wait_for_engine "$LAB_PID"; then
    show_log_end "$LAB_RUN/log" 15
    stop_lab_engine
    LAB_REMEDY="the Docker Engine of Debian $(lab_suite "$name") did not start; see the lines above"
    return 1
  fi
  done_line "Started Docker Engine $ENGINE_VERSION ($name, $store store) for the tests in $((SECONDS - started)) s"
}

# stop_lab_engine: stops the engine that start_lab_engine has started, and removes what it leaves behind.
stop_lab_engine() {
  [ -n "${LAB_RUN:-}" ] || return 0
  if [ -n "$LAB_PID" ]; then end_process "$LAB_PID"; fi
  remove_lab "$LAB_RUN" "$LAB_DATA" "$LAB_NETNS"
  LAB_PID="" LAB_RUN=""
  unset DOCKER_HOST ENGINE_CONFIG_FOR_TESTS DOCKER_MIN_API_VERSION
}

# sweep_lab: removes what engines of this checkout have left whose script was killed.
sweep_lab() {
  local run pid
  for run in /run/timeball-engine-*; do
    [ "$(cat "$run/checkout" 2>/dev/null)" = "$ROOT" ] || continue
    pid=${run##*-}
    if kill -0 "$pid" 2>/dev/null; then continue; fi
    if [ "$(cat "/proc/$(cat "$run/pid" 2>/dev/null)/comm" 2>/dev/null)" = dockerd ]; then end_process "$(cat "$run/pid")"; fi
    remove_lab "$run" "$LAB/data-$pid" "timeball-engine-$pid"
  done
}

# end_process PID: asks a process to end, and ends it after 30 s.
end_process() {
  local deadline=$((SECONDS + 30))
  kill "$1" 2>/dev/null || return 0
  while kill -0 "$1" 2>/dev/null && [ "$SECONDS" -lt "$deadline" ]; do sleep 0.1; done
  kill -9 "$1" 2>/dev/null || true
}

# remove_lab RUN DATA NETNS: ends the processes that an engine has left (containerd and the keepers of containers name its
# folder), and removes its mounts, files and namespace.
remove_lab() {
  local run=$1 data=$2 netns=$3 each words
  for each in /proc/[0-9]*; do
    { words=$(tr '\0' ' ' <"$each/cmdline"); } 2>/dev/null || continue # it has ended meanwhile
    case $words in
      containerd*"$run/"* | */containerd*"$run/"*) kill -9 "${each#/proc/}" 2>/dev/null || true ;;
    esac
  done
  awk -v run="$run/" -v data="$data/" 'index($2, run) == 1 || index($2, data) == 1 { print $2 }' /proc/mounts | sort -r |
    while read -r each; do umount --lazy "$each" 2>/dev/null || true; done
  rm -rf "$run" "$data"
  ip netns delete "$netns" 2>/dev/null || true
}
