# Installing: each program is built in a folder of its own that gets its name only when it is complete.
# A program P has: P_home (its folder), P_needs (tools), P_takes (how long), P_install (fills the current folder).

programs_of() { # SERVER...: the programs they run on, java first
  [[ " $* " != *" kafka "* && " $* " != *" registry "* ]] || echo java
  printf '%s\n' "$@"
}

python_with_pip() { # the project's own environment if it is there: a system's python3 often has no pip
  local own=$here/../.venv/bin/python
  if [ -x "$own" ]; then echo "$own"; else echo python3; fi
}

lacks() { # TOOL: whether it is missing or too old
  case $1 in
    pip) ! "$(python_with_pip)" -m pip --version >/dev/null 2>&1 ;;
    # from 1.21 on Go fetches the newer version that a module asks for
    go) ! [[ "$(go version 2>/dev/null)" =~ go1\.([0-9]+) ]] || ((BASH_REMATCH[1] < 21)) ;;
    *) ! command -v "$1" >/dev/null ;;
  esac
}

advice() { # TOOL: what to type
  case $1 in
    mvn) echo "Maven is missing (it fetches Kafka, the registry and Spark's jars): sudo apt install maven" ;;
    go) echo "Go 1.21 or newer is missing (it builds the S3 server and toxiproxy): https://go.dev/doc/install, or sudo apt install golang-go" ;;
    pip) echo "Python's pip is missing (it fetches Java 21): make setup, or sudo apt install python3-pip" ;;
    flock | setsid) echo "$1 is missing: sudo apt install util-linux" ;;
    *) echo "$1 is missing: sudo apt install $1" ;;
  esac
}

lacking_servers() { # SERVER...: a sentence for each missing tool, 1 if there is one
  local program home needs tool missing=()
  for tool in curl flock setsid; do ! lacks "$tool" || missing+=("$tool"); done
  for program in $(programs_of "$@"); do
    home=${program}_home needs=${program}_needs
    [ ! -e "${!home}" ] || continue
    tool=${!needs}
    [[ " ${missing[*]} " == *" $tool "* ]] || ! lacks "$tool" || missing+=("$tool")
  done
  for tool in "${missing[@]}"; do advice "$tool"; done
  [ ${#missing[@]} -eq 0 ]
}

install_program() { # PROGRAM: returns at once if it is there
  local home=${1}_home takes=${1}_takes log=$SVC_HOME/log/install-$1.log t0=$SECONDS
  home=${!home}
  [ ! -e "$home" ] || return 0
  say "$1: installing $(basename "$home") (${!takes})"
  rm -rf "$home.part"
  mkdir -p "$home.part" "$SVC_HOME/log"
  if ! (cd "$home.part" && "${1}_install") >"$log" 2>&1 </dev/null; then
    rm -rf "$home.part"
    grep -iE 'error|cannot|refused|denied|timeout' "$log" | tail -n 1 | cut -c 1-300 >&2 || true
    say "$1: the installation failed; the whole story is in $log. What it needs is the network, or a proxy or mirror set up for $(tool_name "$1")."
    return 1
  fi
  mv -T "$home.part" "$home"
  say "$1: installed in $((SECONDS - t0)) s"
}

tool_name() {
  case $1 in java) echo pip ;; kafka | registry | spark) echo Maven ;; *) echo Go ;; esac
}

lane() { # NAME PROGRAM...: one after the other, and only one installation at a time on this lane
  local lock=$SVC_HOME/.$1.lock program
  shift
  exec 9>"$lock"
  flock -n 9 || {
    say "waiting for another installation of $*"
    flock 9
  }
  for program in "$@"; do install_program "$program" || return 1; done
}

install_servers() { # SERVER...: Go builds beside the downloads
  local program home slow=() quick=() lanes=() failed=0
  for program in $(programs_of "$@"); do
    home=${program}_home
    [ ! -e "${!home}" ] || continue
    case $program in s3 | toxiproxy | prometheus | helm) slow+=("$program") ;; *) quick+=("$program") ;; esac
  done
  [ $((${#slow[@]} + ${#quick[@]})) -gt 0 ] || return 0
  lacking_servers "$@" >&2 || return 1
  mkdir -p "$SVC_HOME"
  set -m # each lane a process group of its own, so that an interrupt ends all of it
  [ ${#slow[@]} -eq 0 ] || { lane go "${slow[@]}" & lanes+=($!); }
  [ ${#quick[@]} -eq 0 ] || { lane jvm "${quick[@]}" & lanes+=($!); }
  set +m
  # shellcheck disable=SC2064
  trap "kill -TERM -- ${lanes[*]/#/-} 2>/dev/null || true" EXIT
  for program in "${lanes[@]}"; do wait "$program" || failed=1; done
  trap - EXIT
  return $failed
}

copy_jars() { # GROUP:ARTIFACT:VERSION[:alone]...: them and what they depend on, or they alone, into ./libs; JARS_WITHOUT: groups left out
  local group artifact version alone
  local nothing='<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>'
  {
    echo '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
    echo '<groupId>local</groupId><artifactId>jars</artifactId><version>1</version><packaging>pom</packaging><dependencies>'
    while IFS=: read -r group artifact version alone; do
      echo "<dependency><groupId>$group</groupId><artifactId>$artifact</artifactId><version>$version</version>${alone:+$nothing}</dependency>"
    done < <(printf '%s\n' "$@")
    echo '</dependencies></project>'
  } >pom.xml &&
    maven -f pom.xml "$MAVEN_DEPENDENCY_PLUGIN:copy-dependencies" -DoutputDirectory="$PWD/libs" -DincludeScope=runtime \
      -DexcludeGroupIds="${JARS_WITHOUT:-}"
}

maven() { # Maven runs on whatever Java it finds, or on ours
  command -v java >/dev/null || export JAVA_HOME=${java_bin%/bin/java}
  mvn -q -B "$@"
}

go_build() { # MODULE@VERSION BINARY: a static program in the current folder
  GOBIN=$PWD CGO_ENABLED=0 go install -trimpath -ldflags='-s -w' "$1" &&
    { [ -x "$2" ] || mv "$(basename "${1%@*}")" "$2"; }
}
