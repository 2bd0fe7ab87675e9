#!/usr/bin/env bash
# Runs each fuzzer given as an argument for FUZZ_SECONDS, one for each CPU at once, beginning with its corpus and the
# inputs that once broke it. What breaks one is kept in tests/fuzz/regressions/NAME/. Last line: how many held.
set -u

# Says one line: that it held, or, behind the report, that it failed.
run_fuzzer() { # FUZZER
    local name regressions work
    name=$(basename "$1" -fuzzer)
    regressions=tests/fuzz/regressions/$name
    work=$(mktemp -d)
    mkdir -p "$regressions" "tests/fuzz/corpus/$name" "$work/corpus"
    if "$1" -max_total_time="$seconds" -timeout=60 -rss_limit_mb=2048 -artifact_prefix="$regressions/" -verbosity=0 \
        -print_final_stats=1 "$work/corpus" "tests/fuzz/corpus/$name" "$regressions" >"$work/log" 2>&1; then
        echo "held   $name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$work/log") inputs in $seconds s"
    else
        cat "$work/log"
        echo "FAILED $name: see $regressions"
    fi
    rm -rf "$work"
    rmdir "$regressions" 2>/dev/null
}

export seconds=${FUZZ_SECONDS:-60}
export -f run_fuzzer
results=$(mktemp)
trap 'rm -f "$results"' EXIT
# shellcheck disable=SC2016 # the inner bash expands it
printf '%s\0' "$@" | xargs -0 -n 1 -P "$(nproc)" bash -uc 'run_fuzzer "$1"' run_fuzzer | tee "$results"
rmdir tests/fuzz/regressions 2>/dev/null
passed=$(grep -c '^held ' "$results")
failed=$(($# - passed))
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
