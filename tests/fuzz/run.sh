#!/usr/bin/env bash
# Runs each fuzzer given as an argument for FUZZ_SECONDS, beginning with its corpus and the inputs that once broke it. What
# breaks one is kept in tests/fuzz/regressions/NAME/. Last line: how many held.
set -u
seconds=${FUZZ_SECONDS:-60}
passed=0
failed=0
for fuzzer in "$@"; do
    name=$(basename "$fuzzer" -fuzzer)
    regressions=tests/fuzz/regressions/$name
    work=$(mktemp -d)
    mkdir -p "$regressions" "tests/fuzz/corpus/$name"
    echo "== $name, $seconds s"
    if "$fuzzer" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -artifact_prefix="$regressions/" -verbosity=0 \
        -print_final_stats=1 "$work" "tests/fuzz/corpus/$name" "$regressions"; then
        passed=$((passed + 1))
    else
        echo "== $name found something: see $regressions"
        failed=$((failed + 1))
    fi
    rm -rf "$work"
    rmdir "$regressions" 2>/dev/null
done
rmdir tests/fuzz/regressions 2>/dev/null
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
