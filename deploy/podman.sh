# shellcheck shell=bash
# Podman for the tests only: Debian 13's packages with all that they need, unpacked below the state directory as a root of
# its own, in which `podman system service` answers the Docker API. Nothing is installed. Sourced after engines.sh, whose
# places it uses: the files of a running service are in /run/timeball-engine-PID.

PODMAN_PACKAGES=(podman crun netavark aardvark-dns iptables nftables base-files bash coreutils util-linux mount libc-bin)
PODMAN_KEEPER=""
# Ports of image registries that Podman accepts without TLS; Docker Engines accept all on 127.0.0.0/8.
PODMAN_REGISTRY_PORTS=$(seq -s ' ' 5000 5031)

# fetch_podman: provides .timeball/engines/podman, once: a root with Podman.
fetch_podman() {
  local folder="$LAB/podman" started=$SECONDS each
  [ ! -d "$folder" ] || return 0
  note "Fetching Podman of Debian trixie …"
  rm -rf "$folder.part"
  fetch_with_all_they_need trixie "$folder.part" "${PODMAN_PACKAGES[@]}" || return 1
  (
    cd "$folder.part" || exit 1
    mkdir -p proc sys dev run tmp root var/tmp var/lib/containers etc/containers
    chmod 1777 tmp var/tmp
    # The packages' own scripts, which did not run, would make these.
    printf 'root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/:/bin/false\n' >etc/passwd
    printf 'root:x:0:\nnogroup:x:65534:\n' >etc/group
    for each in iptables ip6tables; do
      ln -sf xtables-nft-multi "usr/sbin/$each"
      ln -sf xtables-nft-multi "usr/sbin/$each-save"
      ln -sf xtables-nft-multi "usr/sbin/$each-restore"
    done
    printf '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\nruntime = "crun"\n' >etc/containers/containers.conf
    printf '[network]\nfirewall_driver = "iptables"\n' >>etc/containers/containers.conf
    for each in $PODMAN_REGISTRY_PORTS; do
      printf '[[registry]]\nlocation = "127.0.0.1:%s"\ninsecure = true\n' "$each"
    done >etc/containers/registries.conf
  ) || return 1
  mv "$folder.part" "$folder"
  done_line "Unpacked Podman of Debian trixie in ${folder#"$ROOT"/} ($((SECONDS - started)) s)"
}

# fetch_with_all_they_need SUITE FOLDER PACKAGE…: like fetch_packages, with everything that the packages depend on, as if
# nothing were installed.
fetch_with_all_they_need() {
  local suite=$1 folder=$2 mirror each
  shift 2
  mirror=$(debian_mirror)
  [ -n "$mirror" ] || return 1
  mkdir -p "$folder"/apt/lists/partial "$folder"/apt/cache/archives/partial
  : >"$folder/apt/status"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$folder/apt/src.list"
  local own=(-o "Dir::Etc::sourcelist=$folder/apt/src.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$folder/apt/lists"
    -o "Dir::State::status=$folder/apt/status" -o "Dir::Cache=$folder/apt/cache" -o APT::Sandbox::User=root
    -o APT::Get::List-Cleanup=0)
  apt_get "${own[@]}" update || return 1
  apt_get "${own[@]}" install --no-install-recommends --download-only "$@" || return 1
  # base-files first: its links from /bin to /usr/bin must be there before other packages put files into /bin.
  for each in "$folder"/apt/cache/archives/base-files_*.deb "$folder"/apt/cache/archives/*.deb; do
    dpkg-deb -x "$each" "$folder" || return 1
  done
  rm -rf "$folder/apt"
}

# start_lab_podman: like start_lab_engine. TIMEBALL_TEST_PODMAN is the folder of its root.
start_lab_podman() {
  local started=$SECONDS
  LAB_REMEDY=$(why_no_lab)
  [ -z "$LAB_REMEDY" ] || return 1
  sweep_lab
  if ! { install_lab_tools && fetch_podman; }; then
    show_log_end "$SETUP_LOG"
    LAB_REMEDY="Podman of Debian trixie could not be fetched; see the lines above"
    return 1
  fi
  LAB_NETNS="timeball-engine-$$" LAB_RUN="/run/timeball-engine-$$" LAB_DATA="$LAB/data-$$"
  mkdir -p "$LAB_RUN" "$LAB_DATA"
  printf '%s\n' "$ROOT" >"$LAB_RUN/checkout"
  export DOCKER_HOST="unix://$LAB_RUN/docker.sock" TIMEBALL_TEST_PODMAN="$LAB/podman"
  export TIMEBALL_TEST_REGISTRY_PORTS="$PODMAN_REGISTRY_PORTS"
  if ! { ip netns add "$LAB_NETNS" && ip -n "$LAB_NETNS" link set lo up; } >>"$SETUP_LOG" 2>&1; then
    show_log_end "$SETUP_LOG" 3
    stop_lab_podman
    LAB_REMEDY="a network namespace could not be made (is this a container without --privileged?)"
    return 1
  fi
  setsid nsenter --net="/run/netns/$LAB_NETNS" unshare --mount --uts "$ROOT/deploy/podman-root" \
    "$LAB/podman" "$LAB_DATA" "$LAB_RUN" "${TMPDIR:-/tmp}" </dev/null >"$LAB_RUN/log" 2>&1 9>&- &
  PODMAN_KEEPER=$!
  printf '%s\n' "$PODMAN_KEEPER" >"$LAB_RUN/keeper"
  local deadline=$((SECONDS + 10))
  until [ "$(cat "/proc/$PODMAN_KEEPER/comm" 2>/dev/null)" = sleep ] || [ "$SECONDS" -gt "$deadline" ]; do sleep 0.05; done
  setsid nsenter --target "$PODMAN_KEEPER" --mount --net --uts --root /usr/bin/env --chdir=/ -i PATH=/usr/sbin:/usr/bin HOME=/root \
    podman system service --time 0 "$DOCKER_HOST" </dev/null >>"$LAB_RUN/log" 2>&1 9>&- &
  LAB_PID=$!
  if ! wait_for_engine "$LAB_PID"; then
    show_log_end "$LAB_RUN/log" 15
    stop_lab_podman
    LAB_REMEDY="Podman of Debian trixie did not start; see the lines above"
    return 1
  fi
  done_line "Started Podman $ENGINE_VERSION for the tests in $((SECONDS - started)) s"
}

# stop_lab_podman: ends Podman with all of its containers, and removes what it leaves behind.
stop_lab_podman() {
  [ -n "${LAB_RUN:-}" ] || return 0
  if [ -n "$LAB_PID" ]; then
    nsenter --target "$PODMAN_KEEPER" --mount --net --uts --root /usr/bin/env --chdir=/ -i PATH=/usr/sbin:/usr/bin HOME=/root \
      podman rm --all --force --time 0 >>"$SETUP_LOG" 2>&1 || true
    end_process "$LAB_PID"
  fi
  if [ -n "$PODMAN_KEEPER" ]; then end_process "$PODMAN_KEEPER"; fi
  remove_lab "$LAB_RUN" "$LAB_DATA" "$LAB_NETNS"
  LAB_PID="" LAB_RUN="" PODMAN_KEEPER=""
  unset DOCKER_HOST TIMEBALL_TEST_PODMAN TIMEBALL_TEST_REGISTRY_PORTS
}
