#!/usr/bin/env bash
# Makes a Debian machine ready for fabric: installs what is missing (saying what and why first) and sees that a Docker daemon runs.
#   scripts/setup.sh [--no-install] [--quick] [--tests]
#     --no-install  only say what is missing and how to get it; exit 1 when something is
#     --quick       leave Docker out: what the process engine needs is enough
#     --tests       also the tools some tests compare with: ruff, mypy, pytest, boto3, aws-cli, moto
# Quick when everything is there; safe to run again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

install=yes docker=yes tests=no
for argument in "$@"; do
  case $argument in
    --no-install) install=no ;;
    --quick) docker=no ;;
    --tests) tests=yes ;;
    *) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 2 ;;
  esac
done

say() { printf 'setup: %s\n' "$*"; }
have() { command -v "$1" > /dev/null 2>&1; }
root() { [ "$(id -u)" = 0 ]; }
missing=0
lack() { missing=1; say "missing: $1"; say "  to get it: $2"; }

# --- Debian packages: name and reason ---------------------------------------------------------------------------------
packages=()
need() { packages+=("$1"); say "needs $1: $2"; }

have redis-server || have valkey-server || need redis-server "holds fabric's live state; fabric starts its own on its own port"
have curl || need curl "the quick start and the docs use it"
[ -e /etc/ssl/certs/ca-certificates.crt ] || need ca-certificates "to trust package registries"
have python3 || need python3 "app files are read by Python; the process engine runs functions with it"
modules=$(python3 -c 'from importlib.util import find_spec as f; print([m for m in ("venv", "ensurepip", "pip") if f(m)])' 2> /dev/null || true)
[[ $modules == *venv*ensurepip* ]] || need python3-venv "environments of the process engine"
[[ $modules == *"'pip'"* ]] || need python3-pip "puts cloudpickle beside the SDK"

docker_answers() { [ -S /var/run/docker.sock ] && curl -fsS -m 3 --unix-socket /var/run/docker.sock http://docker/_ping > /dev/null 2>&1; }
if [ $docker = yes ] && ! { have curl && docker_answers; }; then
  if [ -n "${DOCKER_HOST:-}" ]; then say "DOCKER_HOST is set to $DOCKER_HOST: leaving Docker to whoever runs that"; docker=elsewhere
  else
    have dockerd || need docker.io "isolates functions in containers (the process engine does not)"
  fi
fi
if [ $docker = yes ]; then
  have debootstrap || need debootstrap "makes base images where no image registry answers"
  have iptables || need iptables "keeps functions with network access off this host and its network"
fi

if [ ${#packages[@]} -gt 0 ]; then
  if [ $install = no ]; then
    lack "${packages[*]}" "apt-get install --no-install-recommends ${packages[*]}"
  elif ! root; then
    lack "${packages[*]}" "sudo apt-get install --no-install-recommends ${packages[*]}"
  elif ! have apt-get; then
    lack "${packages[*]}" "this is no Debian; install them with your package manager"
  else
    say "installing with apt-get: ${packages[*]}"
    # Debian starts a service when its package is installed; fabric runs its own redis-server, so services stay as they are.
    policy=/usr/sbin/policy-rc.d made=no
    if [ ! -e $policy ]; then printf '#!/bin/sh\nexit 101\n' > $policy; chmod 755 $policy; made=yes; fi
    trap '[ $made = no ] || rm -f $policy' EXIT
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" > /tmp/fabric-setup-apt.log 2>&1 || {
      tail -20 /tmp/fabric-setup-apt.log
      exit 1
    }
    [ $made = no ] || rm -f $policy
    trap - EXIT
  fi
fi

# --- Node packages ----------------------------------------------------------------------------------------------------
if ! have node || ! node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)'; then
  lack "Node.js 20.19 or newer" "https://nodejs.org/en/download"
elif [ "$(cat node_modules/.fabric-lock 2> /dev/null)" != "$(cksum package-lock.json)" ] && { [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; }; then
  if [ $install = no ]; then lack "Node packages" "npm ci"
  else
    say "installing Node packages (npm ci)"
    npm ci --no-audit --no-fund --loglevel=error
    cksum package-lock.json > node_modules/.fabric-lock
  fi
fi

# --- A Docker daemon --------------------------------------------------------------------------------------------------
start_dockerd() {
  local log=/var/log/fabric-dockerd.log
  say "no Docker daemon answers: starting dockerd in the background (log: $log)"
  setsid nohup dockerd > $log 2>&1 < /dev/null &
  local daemon=$!
  for _ in $(seq 300); do
    docker_answers && return 0
    kill -0 $daemon 2> /dev/null || break
    sleep 0.1
  done
  say "dockerd did not come up:"
  tail -5 $log
  return 1
}

if [ $docker = yes ] && have curl && ! docker_answers; then
  if ! root; then
    if [ -S /var/run/docker.sock ]; then lack "the right to use Docker" "sudo usermod -aG docker $(id -un), then log in again; or go on with --quick (process engine)"
    else lack "a running Docker daemon" "sudo systemctl start docker (or sudo scripts/setup.sh); or go on with --quick (process engine)"; fi
  elif ! have dockerd; then
    [ $missing = 1 ] || lack "a Docker daemon" "start yours, or install docker.io"
  elif [ $install = no ]; then lack "a running Docker daemon" "dockerd > /var/log/dockerd.log 2>&1 &"
  elif have systemctl && [ -d /run/systemd/system ]; then
    say "starting Docker (systemctl start docker)"
    systemctl start docker
  else start_dockerd || missing=1; fi
fi

# --- Tools for tests --------------------------------------------------------------------------------------------------
if [ $tests = yes ]; then
  tools=${FABRIC_TEST_TOOLS:-/opt/fabric-test-tools}
  [ -n "${FABRIC_TEST_TOOLS:-}" ] || [ -w "$tools" ] || [ -w "$(dirname "$tools")" ] || tools=$HOME/.cache/fabric/test-tools
  lacking=()
  tool() { [ -e "$tools/bin/$1" ] || lacking+=("$2"); }
  tool ruff ruff==0.17.6
  tool mypy mypy==2.4.1
  tool pytest pytest==9.2.0
  tool aws awscli==1.46.3
  tool moto_server 'moto[server]==5.2.5'
  module() { [ -n "$(find "$tools"/lib/python3*/site-packages -maxdepth 1 -name "$1" 2> /dev/null)" ] || lacking+=("$2"); }
  module boto3 boto3==1.44.5
  module cloudpickle cloudpickle==3.1.2
  if [ ${#lacking[@]} -gt 0 ]; then
    if [ $install = no ]; then lack "test tools ${lacking[*]}" "python3 -m venv $tools && $tools/bin/pip install ${lacking[*]}"
    else
      say "installing test tools into $tools: ${lacking[*]}"
      [ -x "$tools/bin/python" ] || python3 -m venv "$tools"
      "$tools/bin/python" -m pip install --quiet --disable-pip-version-check "${lacking[@]}"
    fi
  fi
fi

[ $missing = 0 ] || exit 1
say "everything is there"
