#!/usr/bin/env bash
# The part of deploy/install-check that uses an engine: builds the image as two versions, and runs it with deploy/compose.yaml
# next to PostgreSQL. Sourced by deploy/install-check.

set -euo pipefail

PROJECT="timeball-check-$$"
COMPOSE=""
IMAGE=""

# fetch_debian13 PACKAGE FILE: sets FETCHED to a program in a package of Debian 13, which is not installed.
fetch_debian13() {
  local folder="$TOOLS/$1"
  FETCHED="$folder/$2"
  if [ -x "$FETCHED" ]; then return 0; fi
  copy_root trixie check-fetch
  cp /etc/resolv.conf "$COPY/etc/resolv.conf"
  # shellcheck disable=SC2016  # expanded by the inner shell
  in_root "$COPY" sh -c 'cd /tmp && apt-get -q update && apt-get -q -o APT::Sandbox::User=root download "$1"' sh "$1" \
    >>"$SETUP_LOG" 2>&1 || return 1
  rm -rf "$folder"
  mkdir -p "$folder"
  dpkg-deb -x "$COPY/tmp/$1"_*.deb "$folder"
  rm -rf "$COPY"
  [ -x "$FETCHED" ]
}

compose() {
  DOCKER_GID=$(stat -c %g /var/run/docker.sock) TIMEBALL_IMAGE=$IMAGE TIMEBALL_VOLUME="$PROJECT-data" TIMEBALL_PORT=$PORT \
    POSTGRES_IMAGE=$POSTGRES_IMAGE POSTGRES_VOLUME="$PROJECT-database" POSTGRES_PASSWORD=check \
    "$COMPOSE" --project-name "$PROJECT" -f "$ROOT/deploy/compose.yaml" -f "$ROOT/deploy/compose.postgresql.yaml" \
    -f "$ROOT/deploy/check/compose.yaml" "$@"
}

remove_compose() {
  if [ -n "$COMPOSE" ]; then compose down --volumes --timeout 5 >>"$SETUP_LOG" 2>&1 || true; fi
  docker images --quiet --filter "reference=$PROJECT" | sort -u | xargs -r docker rmi --force >>"$SETUP_LOG" 2>&1 || true
}

# up: starts the services, and waits until the health check of the daemon succeeds.
up() {
  local deadline=$((SECONDS + 120)) state
  compose up --detach --no-build --quiet-pull >>"$SETUP_LOG" 2>&1 || fail_compose "The services do not start."
  until
    state=$(docker inspect --format '{{.State.Health.Status}}' "$(compose ps -q timeball)")
    [ "$state" = healthy ]
  do
    [ "$SECONDS" -lt "$deadline" ] || fail_compose "The daemon's container is '$state', not healthy, after 120 s."
    sleep 0.5
  done
  TIMEBALL_TOKEN=$(compose exec -T timeball cat /var/lib/timeball/admin.token)
  export TIMEBALL_TOKEN TIMEBALL_URL="http://127.0.0.1:$PORT"
}

fail_compose() {
  compose logs --tail 15 2>&1 | sed 's/^/    | /' >&2
  fail "$@"
}

# expect TEXT COMMAND…: the command must succeed and print that text.
expect() {
  local text=$1 found
  shift
  found=$("$@" 2>&1) || fail_compose "'$*' failed." "$found"
  case $found in *"$text"*) ;; *) fail_compose "'$*' does not print '$text'." "$found" ;; esac
}

# build_image VERSION: from the source archive of that version, with a token of a daemon next to it.
build_image() {
  local context="$WORK/context"
  rm -rf "$context"
  mkdir -p "$context/.timeball/data"
  tar -xzf "$WORK/$1"/timeball-*.tar.gz --strip-components=1 -C "$context"
  echo secret >"$context/.timeball/data/admin.token"
  cp "$ROOT/requirements.lock" "$ROOT/.dockerignore" "$context/"
  cp "$ROOT/deploy/Dockerfile" "$ROOT/deploy/healthcheck.py" "$context/deploy/"
  printf 'FROM timeball/busybox:1\nCOPY . /context\n' >"$context/deploy/probe.Dockerfile"
  if ! docker build --build-arg "BASE_IMAGE=$BASE_IMAGE" --build-arg "BUILD_IMAGE=$BUILD_IMAGE" -t "$PROJECT:$1" \
    -f "$context/deploy/Dockerfile" "$context" >>"$SETUP_LOG" 2>&1; then
    show_log_end "$SETUP_LOG" 20
    fail "The image cannot be built." "See the lines above."
  fi
}

# no_data_is_sent: neither builder sends a daemon's data in the checkout to the engine.
no_data_is_sent() {
  local builder found plugins="$WORK/docker"
  for builder in 0 1; do
    if [ "$builder" = 1 ]; then
      if ! fetch_debian13 docker-buildx usr/libexec/docker/cli-plugins/docker-buildx; then
        note "docker-buildx cannot be downloaded: BuildKit was not tried."
        continue
      fi
      mkdir -p "$plugins/cli-plugins"
      ln -sf "$FETCHED" "$plugins/cli-plugins/"
    fi
    DOCKER_CONFIG=$plugins DOCKER_BUILDKIT=$builder docker build -t "$PROJECT:probe" \
      -f "$WORK/context/deploy/probe.Dockerfile" "$WORK/context" >>"$SETUP_LOG" 2>&1 || {
      show_log_end "$SETUP_LOG" 20
      fail "The probe cannot be built with DOCKER_BUILDKIT=$builder."
    }
    found=$(docker run --rm "$PROJECT:probe" find /context)
    case $found in
      *.timeball*) fail "With DOCKER_BUILDKIT=$builder, data of a daemon in the checkout is sent to the engine." ;;
      */context/api/*) ;;
      *) fail "With DOCKER_BUILDKIT=$builder, the code is not sent to the engine." "$found" ;;
    esac
  done
}

way_compose() {
  local timeball="$VENV/bin/timeball" version
  fetch_debian13 docker-compose usr/libexec/docker/cli-plugins/docker-compose ||
    fail "The compose plugin cannot be downloaded." "The package of Debian 13 is called docker-compose."
  local program=$FETCHED
  base_images
  POSTGRES_IMAGE=postgres:17
  if ! timeout 60 docker pull -q "$POSTGRES_IMAGE" >>"$SETUP_LOG" 2>&1; then
    POSTGRES_IMAGE=$PROJECT:postgres
    docker build --build-arg "BASE_IMAGE=$BASE_IMAGE" -t "$POSTGRES_IMAGE" -f "$ROOT/deploy/check/postgres.Dockerfile" \
      "$ROOT/deploy/check" >>"$SETUP_LOG" 2>&1 || {
      show_log_end "$SETUP_LOG" 20
      fail "An image with PostgreSQL cannot be built." "See the lines above."
    }
  fi
  for version in "${VERSIONS[@]}"; do build_image "$version"; done
  no_data_is_sent
  PORT=$("$VENV/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  COMPOSE=$program IMAGE="$PROJECT:${VERSIONS[0]}"

  up
  expect 8601 compose exec -T timeball id -u
  expect "${VERSIONS[0]}" compose exec -T timeball timeball version
  "$timeball" job create kept --image timeball/busybox:1 --command 'echo what was printed' -q >>"$SETUP_LOG"
  expect "what was printed" "$timeball" run kept
  compose restart timeball >>"$SETUP_LOG" 2>&1
  up
  expect "what was printed" "$timeball" logs kept
  IMAGE="$PROJECT:${VERSIONS[1]}" # the upgrade
  up
  expect "${VERSIONS[1]}" compose exec -T timeball timeball version
  expect "what was printed" "$timeball" logs kept
  expect "what was printed" "$timeball" run kept
  compose down >>"$SETUP_LOG" 2>&1
  up # 'down' has kept the volumes
  expect "what was printed" "$timeball" logs kept
  compose down --volumes >>"$SETUP_LOG" 2>&1
  if [ -n "$(docker volume ls --quiet --filter "name=$PROJECT")" ]; then fail "'down --volumes' has left volumes."; fi
  note "The image has $(($(docker image inspect --format '{{.Size}}' "$IMAGE") / 1000000)) MB"
}
