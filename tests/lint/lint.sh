#!/usr/bin/env bash
# Checks what the compiler does not: form, who includes whom, words that have no place in the tree, names of tests; and
# that clang, too, compiles every file without a warning (gcc does in every build). Prints file:line for each finding
# and exits 1 when there is one. `make lint` runs it and hands over the compiler's flags in LINT_FLAGS.
set -u
cd "$(dirname "$0")/../.." || exit 1
: "${LINT_FLAGS:?is not set: run make lint}"

files() {
    git ls-files --cached --others --exclude-standard -- "$@" | while IFS= read -r path; do
        [ ! -f "$path" ] || echo "$path" # one that was removed and not yet committed is still listed
    done
}

mapfile -t all_files < <(files .)
mapfile -t code_files < <(files '*.c' '*.h')
mapfile -t source_files < <(files '*.c')
mapfile -t product_files < <(files 'core/*.[ch]' 'config/*.[ch]' 'lua/*.[ch]')
mapfile -t scripts < <(grep -l -m1 -E '^#!.*\b(ba)?sh$' "${all_files[@]}")

# clang-format 14 is Debian 12's; others disagree with it about details.
check_format() {
    local formatter=clang-format-14
    command -v "$formatter" >/dev/null || formatter=clang-format
    "$formatter" --version | grep -q 'version 14\.' || {
        echo "tests/lint/lint.sh: clang-format 14 is not installed" && return
    }
    "$formatter" --dry-run -Werror "${code_files[@]}" 2>&1 | awk -F: '/^[^ ]+:[0-9]+:[0-9]+: / && !seen[$1]++ {
        print $1 ":" $2 ": is the first place that is not formatted: run make fmt" }'
}

check_includes() {
    awk -v yaml_file=config/tree.c -f tests/lint/includes.awk "${product_files[@]}"
}

check_shape() {
    awk -f tests/lint/shape.awk "${code_files[@]}"
}

# Each pattern is written so that it does not match itself.
check_words() {
    local note='\b(TOD[O]|FIXM[E]|XX[X])\b'
    local registry='\b(deb|security|registry|repo|proxy|files|static)[.][a-z0-9.]*[.](org|com|io)\b|\b(pypi[.]org|crates[.]io)\b'
    local machine='(^|[^[:alnum:]_.-])/wor[k]/|shared/desig[n]'
    grep -n -I -H -w -E "$note" "${all_files[@]}" | sed 's/$/   <- finish it or file an issue/'
    grep -n -I -H -E "$registry" "${all_files[@]}" | sed 's/$/   <- names a package registry/'
    grep -n -I -H -E "$machine" "${all_files[@]}" | sed 's/$/   <- exists on one machine only/'
}

# clang leaves what it says of several files on one stream; a file at a time keeps it readable.
check_clang() {
    local flags
    read -r -a flags <<<"$LINT_FLAGS"
    printf '%s\0' "${source_files[@]}" | xargs -0 -n 8 -P "$(nproc)" \
        clang -fsyntax-only "${flags[@]}" -DMOONRING_VERSION='"lint"' 2>&1
}

check_scripts() {
    shellcheck -f gcc "${scripts[@]}"
}

# README.md quotes the figures of the last report, and no others.
figures_of() {
    awk '/^<!-- figures of /, /^<!-- end of figures -->/' "$1"
}

check_figures() {
    local report=tests/bench/REPORT.md
    [ ! -f "$report" ] || [ "$(figures_of README.md)" = "$(figures_of "$report")" ] ||
        echo "README.md:$(grep -n -m1 '^<!-- figures of ' README.md | cut -d: -f1): not the figures of $report: run make bench-report"
}

findings=$(for check in format includes shape words figures scripts clang; do "check_$check"; done 2>&1)
[ -z "$findings" ] || { echo "$findings" && exit 1; }
