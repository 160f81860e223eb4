# What the scripts here share: words to the user, Debian packages, cargo tools, a PostgreSQL server, a Redis, a RabbitMQ and a
# Gatehouse of our own. Sourced, never run. Whatever is started here is stopped by `cleanup`, and nothing else.
# shellcheck shell=bash
# shellcheck disable=SC2034 # the scripts use what is set here

readonly BOLD=$'\e[1m' PLAIN=$'\e[0m'

# A line that stands out in a long output.
say() { printf '%s== %s%s\n' "$BOLD" "$*" "$PLAIN" >&2; }

# A line, and the end.
die() { printf '%s\n' "$*" >&2; exit 1; }

# --- what is undone at the end, last first

UNDO=()
undo_at_exit() { UNDO=("$*" "${UNDO[@]}"); }
cleanup() {
  local status=$? step
  trap - EXIT INT TERM
  for step in "${UNDO[@]}"; do eval "$step" || true; done
  exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# --- Debian packages

# require_packages PACKAGE=PROBE...: installs the packages whose probe (a shell command) fails. As root: here and now,
# without starting any service; otherwise: prints the line to run, and stops.
require_packages() {
  local entry missing=()
  for entry in "$@"; do
    eval "${entry#*=}" >/dev/null 2>&1 || missing+=("${entry%%=*}")
  done
  ((${#missing[@]})) || return 0
  command -v apt-get >/dev/null || die "Missing: ${missing[*]} (names of Debian packages). Install what your system calls them."
  local install="apt-get install -y --no-install-recommends ${missing[*]}"
  [[ $EUID -eq 0 ]] || die "Missing packages. Run this, then try again:
  sudo apt-get update && sudo $install"
  say "installing ${missing[*]}"
  suppress_service_starts
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive $install
  allow_service_starts
}

# A policy of our own makes every `invoke-rc.d start` of a package's installation a no-op; the machine's own is put back.
readonly POLICY=/usr/sbin/policy-rc.d
suppress_service_starts() {
  undo_at_exit allow_service_starts
  # One that is ours was left by a run that could not end well: what it put aside is still there.
  grep -qs 'written by gatehouse' "$POLICY" || [[ ! -e $POLICY ]] || mv "$POLICY" "$POLICY.before-gatehouse"
  printf '#!/bin/sh\nexit 101 # written by gatehouse scripts/lib.sh\n' >"$POLICY"
  chmod 755 "$POLICY"
}
allow_service_starts() {
  ! grep -qs 'written by gatehouse' "$POLICY" || rm -f "$POLICY"
  [[ ! -e $POLICY.before-gatehouse ]] || mv "$POLICY.before-gatehouse" "$POLICY"
}

# What the crates with C inside (aws-lc-sys, tikv-jemalloc-sys, libsqlite3-sys) are built with.
readonly COMPILERS=('gcc=command -v cc' 'libc6-dev=test -e /usr/include/stdio.h' 'make=command -v make')

# What tests read our pictures with.
readonly READERS=('tesseract-ocr=command -v tesseract')

# What tests watch our calls of the system with.
readonly TRACERS=('strace=command -v strace')

# What tests look at our pages with.
readonly BROWSERS=('chromium=command -v chromium' 'chromium-driver=command -v chromedriver')

# --- cargo

# Where cargo builds, whatever decided it: the variable, a configuration file, or the default.
target_dir() {
  cargo metadata --no-deps --format-version 1 --offline | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}

# cargo_tool NAME VERSION: makes `cargo NAME` available; one already on the PATH is good enough, else this version is
# built into target/tools. It runs once or twice: to build it fast is worth more than to run it fast. Its own build folder
# is thrown away.
cargo_tool() {
  local tools build
  tools="$(target_dir)/tools"
  PATH="$tools/bin:$PATH"
  ! command -v "cargo-$1" >/dev/null || return 0
  say "building cargo-$1 $2 (once; some minutes)"
  build="$tools/build"
  CARGO_TARGET_DIR="$build" CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off \
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=0 \
    cargo install "cargo-$1" --version "$2" --locked --no-track --root "$tools" --quiet
  rm -rf "$build"
}

# --- PostgreSQL

# The folder of the newest PostgreSQL server on this machine.
postgres_bin() {
  local newest
  newest=$(printf '%s\n' /usr/lib/postgresql/*/bin/initdb | sort -V | tail -n 1)
  [[ -x $newest ]] || newest=$(command -v initdb) || return 1
  dirname "$newest"
}

# A TCP port on loopback that nobody listens on. It is below those that the system gives to whoever connects somewhere
# (32768 and up), or one of them could be taken before the server that it is for begins to listen.
free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 12000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
  done
}

# PostgreSQL refuses to run as root.
as_postgres() {
  if [[ $EUID -eq 0 ]]; then runuser -u postgres -- "$@"; else "$@"; fi
}

# Where the files of such a server go. Tests make and drop a thousand databases of a thousand files each, of which a
# journalling file system makes more work than all tests: where memory has room for those of a few tests, they go there.
folder_for() {
  local memory=/dev/shm
  if [[ $1 == fast && -w $memory ]] && (($(df --output=avail -k "$memory" | tail -n 1) > 4000000)); then
    echo "$memory"
  else
    echo "${TMPDIR:-/tmp}"
  fi
}

# start_postgres [fast|durable]: an empty server in a folder of its own, on a free port of loopback, stopped and deleted
# at the end. Sets POSTGRES_URL. `fast` (the default) trades safety against a power cut for speed, as a test suite may.
start_postgres() {
  local mode=${1:-fast} bin data password port options try
  bin=$(postgres_bin) || die "No PostgreSQL server found (Debian: postgresql)."
  data=$(mktemp -d "$(folder_for "$mode")/gatehouse-postgres.XXXXXX")
  undo_at_exit "stop_postgres '$bin' '$data'"
  password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  printf '%s\n' "$password" >"$data/password"
  [[ $EUID -ne 0 ]] || chown -R postgres: "$data"
  # md5, because the SCRAM handshake costs an unoptimised client some 20 ms on each of a suite's many connections.
  (cd "$data" && as_postgres "$bin/initdb" -D "$data/db" -U postgres --auth=md5 --pwfile="$data/password" \
    --encoding=UTF8 --locale=C --no-sync >"$data/initdb.log") || die "initdb failed"
  options="-c max_connections=300 -c unix_socket_directories=$data -c listen_addresses=127.0.0.1 -c max_wal_size=1GB"
  [[ $mode == durable ]] || options+=" -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c jit=off"
  for try in 1 2 3 4 5; do
    port=$(free_port)
    if (cd "$data" && as_postgres "$bin/pg_ctl" -D "$data/db" -l "$data/log" -o "$options -p $port" -w start >/dev/null); then
      POSTGRES_URL="postgres://postgres:$password@127.0.0.1:$port/postgres"
      return
    fi
  done
  cat "$data/log" >&2
  die "PostgreSQL did not start in $try tries"
}

stop_postgres() {
  (cd "$2" && as_postgres "$1/pg_ctl" -D "$2/db" -m immediate -w stop >/dev/null 2>&1) || true
  rm -rf "$2"
}

# --- Redis

# start_redis: an empty one that keeps nothing, on a free port of loopback, stopped at the end. Sets REDIS_ADDRESS.
start_redis() {
  local port try
  port=$(free_port)
  redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no --dir "${TMPDIR:-/tmp}" >/dev/null &
  undo_at_exit "kill $!"
  for ((try = 0; try < 100; try++)); do
    if redis-cli -p "$port" ping >/dev/null 2>&1; then
      REDIS_ADDRESS=redis://127.0.0.1:$port
      return
    fi
    sleep 0.05
  done
  die "Redis did not start"
}

# --- RabbitMQ

readonly RABBITMQ_PROGRAM=/usr/lib/rabbitmq/bin/rabbitmq-server

# start_rabbitmq: an empty node in a folder of its own, with ports, a cookie and a port mapper (epmd) of its own, so that it
# knows nothing of a RabbitMQ that the machine may run; stopped and deleted at the end. Sets RABBITMQ_ADDRESS. Its messages
# may have 256 KiB, so that tests can send one that is too large.
start_rabbitmq() {
  local folder port distribution mapper try
  folder=$(mktemp -d "${TMPDIR:-/tmp}/gatehouse-rabbitmq.XXXXXX")
  undo_at_exit "rm -rf '$folder'"
  port=$(free_port) distribution=$(free_port) mapper=$(free_port)
  printf 'listeners.tcp.default = 127.0.0.1:%s\nlog.file.level = warning\nmax_message_size = 262144\n' "$port" \
    >"$folder/rabbitmq.conf"
  echo '[].' >"$folder/enabled_plugins"
  ERL_EPMD_ADDRESS=127.0.0.1 epmd -port "$mapper" >/dev/null 2>&1 &
  undo_at_exit "kill $!"
  (
    cd "$folder"
    export HOME=$folder ERL_EPMD_PORT=$mapper ERL_EPMD_ADDRESS=127.0.0.1 RABBITMQ_NODENAME=gatehouse$port@localhost
    export RABBITMQ_NODE_PORT=$port RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_DIST_PORT=$distribution
    export RABBITMQ_CONFIG_FILE=$folder/rabbitmq.conf RABBITMQ_ENABLED_PLUGINS_FILE=$folder/enabled_plugins
    export RABBITMQ_MNESIA_BASE=$folder/mnesia RABBITMQ_LOG_BASE=$folder RABBITMQ_LOGS=$folder/log
    export RABBITMQ_PID_FILE=$folder/pid RABBITMQ_CONF_ENV_FILE=/dev/null
    export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}"
    exec "$RABBITMQ_PROGRAM" >/dev/null 2>&1
  ) &
  undo_at_exit "kill $! && wait $!"
  for ((try = 0; try < 1000; try++)); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      RABBITMQ_ADDRESS=amqp://127.0.0.1:$port
      return
    fi
    sleep 0.1
  done
  cat "$folder/log" >&2
  die "RabbitMQ did not start"
}

# --- Gatehouse

# start_gatehouse PROGRAM: with an admin, on an empty folder and a free port of loopback, and nothing else of this environment;
# stopped and deleted at the end. Sets GATEHOUSE_URL, FOLDER, and exports ADMIN_USERNAME and ADMIN_PASSWORD.
start_gatehouse() {
  local program port try
  program=$(realpath "$1")
  FOLDER=$(mktemp -d "${TMPDIR:-/tmp}/gatehouse-server.XXXXXX")
  undo_at_exit "rm -rf '$FOLDER'"
  port=$(free_port)
  GATEHOUSE_URL=http://localhost:$port
  export ADMIN_USERNAME=admin ADMIN_PASSWORD
  ADMIN_PASSWORD=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  (
    cd "$FOLDER"
    exec env -i PATH="$PATH" HOST=127.0.0.1 PORT="$port" BASE_URL="$GATEHOUSE_URL" DATA_DIR="$FOLDER/data" \
      ADMIN_USERNAME="$ADMIN_USERNAME" ADMIN_PASSWORD="$ADMIN_PASSWORD" WEBHOOK_ALLOW_PRIVATE=True LOG_FORMAT=json \
      "$program" >server.log 2>&1
  ) &
  undo_at_exit "kill $! 2>/dev/null && wait $!"
  for ((try = 0; try < 200; try++)); do
    if curl -sf "$GATEHOUSE_URL/health/ready" >/dev/null; then return; fi
    sleep 0.1
  done
  cat "$FOLDER/server.log" >&2
  die "Gatehouse did not start"
}
