#!/usr/bin/env bash
# Runs Criterion programs one after another and adds up their results: tests/run.sh PROGRAM...
#
# The last line is `N passed, N failed`, and what failed is told again in front of it; exits 1 when a test failed, a
# program ended without its closing line, a sanitizer reported something, or no test ran at all. Environment:
# TEST_FILTER='suite/name*' runs some of the tests, TEST_JOBS=N so many at once (default: three for each CPU, since most
# of them wait most of the time).
set -u -o pipefail

options=(--color=never "-j${TEST_JOBS:-$((3 * $(nproc)))}")
[ -z "${TEST_FILTER:-}" ] || options+=(--filter "$TEST_FILTER")

output=$(mktemp)
again=$(mktemp) # what failed, of all programs
trap 'rm -f "$output" "$again"' EXIT
passed=0
failed=0

complain() {
    complaint="tests/run.sh: $program: $1"
    echo "$complaint"
    failed=$((failed + 1))
}

# Which tests failed and what their assertions said, or else the program's last words; how each report of a sanitizer
# begins, and what it comes to.
note_failures() {
    {
        echo "== again, of $program"
        grep -a '^\[FAIL\]' "$output" | head -n 20 || tail -n 10 "$output"
        grep -a '^\[----\] *[^ ]' "$output" | head -n 40
        grep -a -E -A 8 '(ERROR|WARNING): [A-Za-z]+Sanitizer|: runtime error: ' "$output" | head -n 30
        grep -a -E '^SUMMARY: [A-Za-z]+Sanitizer' "$output" | head -n 5
        [ -z "$complaint" ] || echo "$complaint"
    } | cut -c -300 >>"$again"
}

# Adds the program's closing line, `[====] Synthesis: Tested: 9 | Passing: 8 | Failing: 1 | Crashing: 0`, to the sums.
# A crash is among the failing ones.
count_tests() {
    local number='([0-9]+)'
    [[ $(tail -n 50 "$output") =~ Synthesis:\ Tested:\ $number\ \|\ Passing:\ $number\ \| ]] || return 1
    program_failed=$((BASH_REMATCH[1] - BASH_REMATCH[2]))
    passed=$((passed + BASH_REMATCH[2]))
    failed=$((failed + program_failed))
}

for program in "$@"; do
    echo "== $program"
    "$program" "${options[@]}" 2>&1 | tee "$output"
    code=$?
    program_failed=0
    failed_before=$failed
    complaint=""
    if ! count_tests; then
        complain "ended with exit code $code and without a count of its tests"
    elif [ "$program_failed" -gt 0 ]; then
        : # they are counted, and noted below
    elif grep -q -E '^SUMMARY: [A-Za-z]+Sanitizer' "$output"; then
        complain "a sanitizer reported something, see above" # Criterion lets a test that leaks pass
    elif [ "$code" -ne 0 ]; then
        complain "ended with exit code $code although its tests passed"
    fi
    [ "$failed" -eq "$failed_before" ] || note_failures
done

head -n 60 "$again"
[ $((passed + failed)) -gt 0 ] || echo "tests/run.sh: no test ran"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
