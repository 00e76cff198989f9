# One run: servers on free ports with fresh data for as long as a command takes.

claim_ports() { # prints the first of a block of ports that is free now, and makes the run's data folder
  local base offset
  for _ in {1..100}; do
    base=$((20000 + RANDOM % 750 * 16)) # below 32768, where Linux starts to give ports to outgoing connections
    for ((offset = 0; offset < ${#ports[@]}; offset++)); do
      ! listening $((base + offset)) || continue 2
    done
    mkdir "$SVC_HOME/state/run-$base" 2>/dev/null || continue
    echo "$$ $(started_at $$)" >"$SVC_HOME/state/run-$base/owner"
    echo "$base"
    return
  done
  fail "${#ports[@]} free ports in a row between 20000 and 32000 are nowhere to be found"
}

remove_dead_runs() { # what a run left behind that was killed
  local folder pid start
  for folder in "$SVC_HOME"/state/run-*/; do
    pid='' start=''
    [ ! -e "$folder/owner" ] || read -r pid start <"$folder/owner" || true
    [ -d "$folder" ] && ! { [ -n "$pid" ] && same_process "$pid" "$start"; } || continue
    say "removing what a killed run left in $folder"
    (SVC_RUN=$folder/run stop_servers "${servers[@]}")
    rm -rf "$folder"
  done
}

end_run() { # STATUS: keeps the logs of a run that failed
  "$here/services.sh" stop
  if [ "$1" != 0 ] && [ -d "$SVC_DATA/log" ]; then
    rm -rf "$SVC_HOME/log/failed-run"
    cp -r "$SVC_DATA/log" "$SVC_HOME/log/failed-run" && say "the servers' logs are kept in $SVC_HOME/log/failed-run"
  fi
  rm -rf "$SVC_DATA"
}

run_with_servers() { # COMMAND...: ends with its status
  local child status=0
  "$here/services.sh" install
  mkdir -p "$SVC_HOME/state"
  exec 9>"$SVC_HOME/.runs.lock"
  flock 9
  remove_dead_runs
  unset "${ports[@]}" # ports set for the servers one keeps running are not for this run
  SVC_PORT_BASE=$(claim_ports)
  exec 9>&-
  export SVC_HOME SVC_PORT_BASE SVC_DATA=$SVC_HOME/state/run-$SVC_PORT_BASE
  trap 'end_run $?' EXIT
  "$here/services.sh" start
  eval "$("$here/services.sh" env)"
  set -m # the command is a process group of its own: signals reach all of it, and are not held back until it ends
  "$@" </dev/null &
  child=$!
  set +m
  trap 'kill -INT -- -$child' INT
  trap 'kill -TERM -- -$child' TERM HUP
  wait "$child" || status=$?
  while kill -0 "$child" 2>/dev/null; do # a signal ends `wait`, not the command
    status=0
    wait "$child" || status=$?
  done
  exit $status
}
