# Starting and stopping. A server S has: S_ports (variables), S_spawn, S_ready (returns when it serves, sets it up).
# $SVC_RUN/S.pid holds pid and start time: a pid that now belongs to somebody else is not ours to stop.

started_at() { # PID: when it began, in clock ticks since boot; nothing for a dead or zombie process
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  # shellcheck disable=SC2086
  set -- ${stat##*) } # the name before it may hold blanks and brackets
  [ "$1" != Z ] && echo "${20}"
}

same_process() { # PID START
  [ -n "${2:-}" ] && [ "$(started_at "$1")" = "$2" ]
}

pid_of() { # SERVER: its pid if it is alive and ours
  local pid start
  read -r pid start 2>/dev/null <"$SVC_RUN/$1.pid" && same_process "$pid" "$start" && echo "$pid"
}

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

require_free_ports() { # SERVER
  local variables=${1}_ports variable
  for variable in ${!variables}; do
    ! listening "${!variable}" ||
      fail "$1 cannot start: port ${!variable} is taken. Set $variable to another port, or SVC_PORT_BASE to move all of them."
  done
}

spawn() { # SERVER COMMAND...: detached from this script, its terminal and its open files
  local server=$1
  shift
  setsid "$@" </dev/null >>"$SVC_LOG/$server.log" 2>&1 3>&- 4>&- 8>&- 9>&- &
  echo "$! $(started_at $!)" >"$SVC_RUN/$server.pid"
}

wait_until() { # SERVER SECONDS COMMAND...: until the command succeeds
  local server=$1 limit=$((SECONDS + $2)) why=''
  shift 2
  until "$@"; do
    pid_of "$server" >/dev/null || why="$server ended while starting"
    ((SECONDS < limit)) || why="$server does not answer"
    [ -z "$why" ] || {
      tail -n 10 "$SVC_LOG/$server.log" >&2
      fail "$why; its log is $SVC_LOG/$server.log"
    }
    sleep 0.1
  done
}

answers() { curl -sf --noproxy '*' -m 2 -o /dev/null "$1"; } # URL

start_servers() { # SERVER...: installs what is missing; a server that runs is left alone
  local server
  started=()
  install_servers "$@" || return 1
  mkdir -p "$SVC_RUN" "$SVC_LOG"
  exec 8>"$SVC_RUN/.lock"
  flock 8 # two starts at once: the second finds all running
  trap '[ ${#started[@]} -eq 0 ] || stop_servers "${started[@]}"' EXIT # a start that fails leaves nothing behind
  for server in "$@"; do
    if pid_of "$server" >/dev/null; then
      say "$server: already running"
      continue
    fi
    require_free_ports "$server"
    started+=("$server")
    "${server}_spawn"
  done
  for server in "${started[@]}"; do
    "${server}_ready"
    say "$server: ready after $SECONDS s"
  done
  trap - EXIT
  exec 8>&-
}

stop_servers() { # SERVER...: all at once, politely for 15 seconds
  local server pid limit=$((SECONDS + 15)) stopping=()
  for server in "$@"; do
    pid=$(pid_of "$server") || continue
    kill "$pid" 2>/dev/null || true
    stopping+=("$server")
  done
  for server in "${stopping[@]}"; do
    while pid=$(pid_of "$server") && ((SECONDS < limit)); do sleep 0.1; done
    [ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || true
    rm -f "$SVC_RUN/$server.pid"
    say "$server: stopped"
  done
}

status_servers() { # SERVER...
  local server pid variables memory stopped=0
  for server in "$@"; do
    if pid=$(pid_of "$server"); then
      variables=${server}_ports
      memory=$(awk '/VmRSS/ {print int($2 / 1024)}' "/proc/$pid/status")
      echo "$server: running on 127.0.0.1, ports$(for v in ${!variables}; do printf ' %s' "${!v}"; done) (pid $pid, $memory MiB)"
    else
      echo "$server: stopped"
      stopped=1
    fi
  done
  return $stopped
}
