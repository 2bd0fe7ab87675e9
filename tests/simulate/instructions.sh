#!/usr/bin/env bash
# Counts the instructions that our own code (core/) spends on pieces of work (work.h), and fails when a piece takes more
# than its bound: tests/simulate/instructions.sh SIMULATOR. The counts do not depend on the machine or on its load, but on
# the compiler: the bounds are a fifth above what gcc 12 makes of the release build.
set -eu -o pipefail

simulator=${1:?names no simulator, as build/release/tests/simulator}
times=100
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The order is that of enum work.
bounds() {
    cat <<'END'
request 2530
batch 92000
chunk 1280
splice 1120
filtered 2550
session 6600
END
}

# Each call of work_do is one piece of work, and leaves one file. Lines of costs are those of the file named last, also
# where they were inlined; what follows `calls=` is the callee's, and counted there.
valgrind --tool=callgrind --callgrind-out-file="$work/out" --toggle-collect=work_do --dump-after=work_do \
    "$simulator" --work $times >"$work/log" 2>&1 || {
    cat "$work/log"
    exit 1
}
bounds | awk -v times=$times '
    FILENAME == "-" { name[++count] = $1; bound[count] = $2; next }
    FNR == 1 { piece++ }
    /^c?f[lie]=/ {
        number = $0
        gsub(/^[a-z]*=\(|\).*/, "", number)
        if (/\) /) {
            file[number] = substr($0, index($0, ") ") + 2)
        }
        if (!/^c/) {
            own = file[number] ~ /core\/(base|engine)\//
        }
        next
    }
    /^calls=/ { getline; next }
    /^[0-9+*-]/ && own { instructions[piece] += $2 }
    END {
        for (i = 1; i <= count; i++) {
            spent = instructions[i] / times
            fails = spent == 0 || spent > bound[i]
            printf "%-9s %8.0f instructions, at most %d%s\n", name[i], spent, bound[i], fails ? "   <- " (spent == 0 ? "nothing was counted" : "too many") : ""
            failed += fails
        }
        exit failed > 0 || piece != count
    }' - "$work"/out.[0-9]*
