#!/usr/bin/env bash
# From a fresh clone to a trained model in the bucket: every step for real, each with its seconds; leaves fabric running.
#   npm run quickstart [-- --no-install]
set -euo pipefail
cd "$(dirname "$0")/.."

INSTALL=yes
for arg in "$@"; do
  case "$arg" in
    --no-install) INSTALL=no ;;
    *) echo "usage: scripts/quickstart.sh [--no-install]" >&2; exit 2 ;;
  esac
done

step_name=""
step_start=0
now_ms() { date +%s%3N; }
finish_step() {
  [ -n "$step_name" ] || return 0
  printf '    done in %s s\n\n' "$(awk "BEGIN { printf \"%.1f\", ($(now_ms) - $step_start) / 1000 }")"
  step_name=""
}
step() {
  finish_step
  step_name="$1"
  step_start=$(now_ms)
  printf '==> %s\n' "$1"
}
trap 'status=$?; if [ $status -ne 0 ]; then printf "\nquickstart failed at: %s\n" "${step_name:-the start}" >&2; fi' EXIT

# node answers questions about JSON, so that no jq is needed
field() { node -e 'let t="";process.stdin.on("data",d=>t+=d).on("end",()=>{const v=process.argv[1].split(".").reduce((o,k)=>o?.[k],JSON.parse(t));if(v===undefined){console.error("no "+process.argv[1]+" in: "+t);process.exit(1)}console.log(typeof v==="string"?v:JSON.stringify(v))})' "$1"; }
fabric() { node bin/fabric.js "$@"; }

step "What fabric needs on this machine (scripts/setup.sh)"
if [ "$INSTALL" = no ]; then bash scripts/setup.sh --no-install; else bash scripts/setup.sh; fi

step "Node packages"
if [ -e node_modules/.package-lock.json ] && [ ! package-lock.json -nt node_modules/.package-lock.json ]; then
  echo "    there already"
else
  npm ci --ignore-scripts
fi

if docker version --format '{{.Server.Version}}' >/dev/null 2>&1; then
  step "Base image of function containers (Python 3.11)"
  node bin/bundle.js
  node dist/base-image.js 3.11
fi

step "fabric up"
npx fabric up
eval "$(fabric env)"

step "fabric deploy sdk/examples/digits.py"
npx fabric deploy sdk/examples/digits.py

call() { # APP/FUNCTION BODY
  curl --silent --show-error --fail-with-body --max-time 300 \
    -H "Authorization: Bearer $FABRIC_TOKEN" -H "Content-Type: application/json" -d "$2" "$FABRIC_URL/f/$1"
}

step "train, over HTTP: POST /f/digits/train"
TRAINED=$(call digits/train '{}')
echo "    $TRAINED"
SERIES=$(printf '%s' "$TRAINED" | field series)

step "predict, over HTTP: POST /f/digits/predict"
echo "    $(call digits/predict '{"index": 3}')"

step "fetch a checkpoint from the bucket: series $SERIES"
npx fabric checkpoint list "$SERIES"
TARGET="$(mktemp -d)/checkpoint"
npx fabric checkpoint pull "$SERIES" "$TARGET"
ls -l "$TARGET"
AWS=$(command -v aws || ls "${FABRIC_TEST_TOOLS:-/opt/fabric-test-tools}/bin/aws" 2>/dev/null || true)
if [ -n "$AWS" ] && node scripts/aws-knows-endpoints.js "$AWS"; then
  "$AWS" s3 ls "s3://$FABRIC_BUCKET/checkpoints/$SERIES/" --recursive
else
  echo "    (no aws-cli of 1.29/2.13 or newer here: skipped the look with aws s3 ls)"
fi
finish_step

cat <<END
fabric runs at $FABRIC_URL

  go on    eval "\$(npx fabric env)"
           npx fabric invoke digits/predict --json '{"index": 3}'
           npx fabric logs digits -f
           npx fabric checkpoint list
  read     docs/01-quickstart.md, sdk/examples/
  stop     npx fabric down
END
