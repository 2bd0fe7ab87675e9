#!/usr/bin/env bash
# Proves that the simulator bites: applies each deliberate bug to a scratch copy of the tree, builds the simulator there
# and shows that it finds the bug within 10,000 sessions. Arguments: patches (default: all beside this script). A patch may
# begin with a line `simulator: OPTION...`: how its bug is looked for; or with `chain-rounds: OPTION...`: chains of filters
# in Lua (tests/chains) look for it.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
seeds=100 # of 100 sessions

build() { # TREE
    make -s -j2 -C "$1" build/release/tests/simulator build/release/tests/chain-rounds >"$1/build.log" 2>&1 || {
        cat "$1/build.log"
        return 1
    }
}
simulate() { # TREE OPTION...
    local tree=$1
    shift
    {
        timeout 300 "$tree/build/release/tests/simulator" --seed 1 --seeds $seeds "$@" >"$tree/run.log" 2>&1
    } 2>/dev/null # the shell would tell of each crash
}

chain_rounds() { # TREE OPTION...
    local tree=$1
    shift
    (cd "$tree" && timeout 300 build/release/tests/chain-rounds --seed 1 "$@" >run.log 2>&1) 2>/dev/null
}

# Fails when nothing is found.
find_bug() { # PATCH
    local name tree seed options program
    name=$(basename "$1" .patch)
    tree=$scratch/$name
    cp -a "$scratch/clean" "$tree"
    patch -s -p1 -d "$tree" <"$1"
    build "$tree"
    program=simulate
    [[ $(head -n 1 "$1") != chain-rounds:* ]] || program=chain_rounds
    read -r -a options < <(sed -n -E '1s/^(simulator|chain-rounds): //p' "$1") || true
    if $program "$tree" "${options[@]}"; then
        echo "MISSED $name"
        return 1
    fi
    seed=$(sed -n 's/.*run it again: .*--seed \([0-9]*\).*/\1/p' "$tree/run.log" | head -n 1)
    echo "found  $name, in seed ${seed:-?}: $(grep -m 1 -E 'violation|bug:|hears is wrong|it ends with|does not end' "$tree/run.log" || echo "it did not end")"
    rm -rf "$tree"
}

# What the release build has made already need not be made again: the copies keep the times of the files.
mkdir -p "$scratch/clean/build"
cp -a "$root/Makefile" "$root/core" "$root/config" "$root/lua" "$root/tests" "$scratch/clean"
[ ! -d "$root/build/release" ] || cp -a "$root/build/release" "$scratch/clean/build"
build "$scratch/clean"
simulate "$scratch/clean" || {
    echo "without any bug the simulator finds something:"
    tail -n 5 "$scratch/clean/run.log"
    exit 1
}
[ $# -gt 0 ] || set -- "$here"/*.patch
export -f build simulate chain_rounds find_bug
export scratch seeds
# shellcheck disable=SC2016 # the inner bash expands it
printf '%s\0' "$@" | xargs -0 -n 1 -P "$(nproc)" bash -euo pipefail -c 'find_bug "$1"' find_bug
