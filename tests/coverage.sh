#!/usr/bin/env bash
# Which lines the tests run: tests/coverage.sh BUILD PROGRAM... runs the test programs of a build made for coverage and
# reports, per file, the part of its lines that ran; the worst file stands last. Then it lists the lines of
# core/engine/flow.c and session*.c that did not run, with the reason where there is a good one. `make coverage` calls it.
#
# Lines count as run, whichever program ran them: the tests of units, or moonring under the scenarios. moonring writes
# down what has run when it ends, so the scenarios end it gently (TEST_ENDS_GENTLY, tests/support/process.c).
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1

build=${1:?names no build, as build/coverage}
shift
export MOONRING=$build/moonring TEST_ENDS_GENTLY=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Lines of these files that neither a unit test nor a scenario can run, as `file|function|line|why`.
explained() {
    cat <<'END'
flow.c|flow_send_zero_copy|return false;|memory is short
flow.c|flow_recv_done|flow->source_dry = true;|this kernel waits on non-blocking sockets; older ones need not, as the one in tests/simulate
flow.c|flow_splice_stops|case EINTR:|no signal reaches a worker's thread: they are blocked there
flow.c|flow_splice_stops|break;|the same
session.c|session_open|kernel_close(fd);|memory is short
session.c|session_open|return false;|memory is short
session_connect.c|session_pick|return NULL;|other workers took the last place of every server in the very same moment
session_connect.c|session_relay|session_close(session, CLOSE_RESOURCES);|memory is short
session_connect.c|session_relay|return;|the same
session_connect.c|session_remember_try|return false;|memory is short
session.c|session_set_nonblocking|return false;|fcntl(F_SETFL) fails for no open socket
session_client.c|session_destination|address->length = 0;|getsockname(2) fails for no open socket
session_lines.c|session_state_name|return "unknown";|no state is left: it is there for the compiler
END
}

# The product's files: `count:number:text` of each line, `Source:` before each file.
read_counts() {
    find "$build/core" "$build/config" "$build/lua" -name '*.gcda' -exec gcov --stdout --relative-only {} + 2>/dev/null
}

# Headers are part of many objects: a line has run when it has run in one of them. Writes `percent run lines file` to
# $work/files and `file function number line`, with tabs between, of what did not run to $work/missed.
add_up() {
    awk -v files="$work/files" -v missed="$work/missed" '
        {
            split($0, field, ":")
            number = field[2] + 0
            line = substr($0, length(field[1]) + length(field[2]) + 3)
        }
        number == 0 && line ~ /^Source:/ { file = substr(line, 8) }
        line ~ /^[a-z].*\(/ {
            function_name = line
            sub(/\(.*/, "", function_name)
            sub(/.*[ *]/, "", function_name)
        }
        number == 0 || field[1] ~ /^ *-$/ { next }
        {
            place = file ":" number
            if (!(place in text)) {
                order[++count] = place
                sub(/^ */, "", line)
                text[place] = file "\t" function_name "\t" number "\t" line
                lines[file]++
            }
            if (field[1] !~ /[#=]/ && !(place in ran)) {
                ran[place] = 1
                run[file]++
            }
        }
        END {
            for (file in lines) {
                printf "%5.1f %5d %5d %s\n", 100 * run[file] / lines[file], run[file], lines[file], file > files
            }
            for (i = 1; i <= count; i++) {
                if (!(order[i] in ran)) {
                    print text[order[i]] > missed
                }
            }
        }'
}

# Lines of this file that did not run, and why.
list_missed() {
    echo
    echo "== lines of $1 that did not run"
    explained | tr '|' '\t' | awk -F'\t' -v wanted="$1" '
        FILENAME == "-" { why["core/engine/" $1, $2, $3] = $4 }
        FILENAME != "-" && $1 == wanted {
            reason = ($1, $2, $4) in why ? why[$1, $2, $4] : "NOT EXPLAINED"
            print $1 ":" $3 ": " $2 ": " $4 "   <- " reason
        }' - "$work/missed"
}

# Some scenarios run moonring as nobody, who may add to these files, but not make them.
find "$build" -name '*.gcda' -delete
"$MOONRING" version >/dev/null
find "$build" -name '*.gcda' -exec chmod a+rw {} +
tests/run.sh "$@"
code=$?
for _ in {1..50}; do # the last ones may still be writing
    pgrep -x moonring >/dev/null || break
    sleep 0.1
done
: >"$work/files"
: >"$work/missed"
read_counts | add_up
echo
echo "== lines that ran, in percent: of how many, where"
sort -rn "$work/files"
awk '{ run += $2; lines += $3 } END { printf "%5.1f %5d %5d all together\n", lines ? 100 * run / lines : 0, run, lines }' \
    "$work/files"
list_missed core/engine/flow.c
for file in core/engine/session*.c; do
    list_missed "$file"
done
exit "$code"
