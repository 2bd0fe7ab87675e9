#!/usr/bin/env bash
# Proves that the simulator bites: applies each deliberate bug to a scratch copy of the tree, builds the simulator there
# and shows that it finds the bug within 10,000 sessions. Arguments: patches (default: all beside this script).
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
seeds=100 # of 100 sessions
missed=0

cp -r "$root/Makefile" "$root/core" "$root/config" "$root/tests" "$scratch"
build() {
    make -s -j2 -C "$scratch" build/release/tests/simulator >"$scratch/build.log" 2>&1 || {
        cat "$scratch/build.log"
        exit 1
    }
}
simulate() {
    {
        timeout 300 "$scratch/build/release/tests/simulator" --seed 1 --seeds $seeds >"$scratch/run.log" 2>&1
    } 2>/dev/null # the shell would tell of each crash
}

build
simulate || {
    echo "without any bug the simulator finds something:"
    tail -n 5 "$scratch/run.log"
    exit 1
}
[ $# -gt 0 ] || set -- "$here"/*.patch
for bug in "$@"; do
    patch -s -p1 -d "$scratch" <"$bug"
    build
    if simulate; then
        echo "MISSED $(basename "$bug" .patch)"
        missed=$((missed + 1))
    else
        seed=$(sed -n 's/.*run it again: .*--seed \([0-9]*\).*/\1/p' "$scratch/run.log" | head -n 1)
        echo "found  $(basename "$bug" .patch), in seed ${seed:-?}: $(grep -m 1 -E 'violation|bug:' "$scratch/run.log" || echo "it did not end")"
    fi
    patch -s -R -p1 -d "$scratch" <"$bug"
done
[ $missed -eq 0 ]
