# Who may include whom: base < protocol < config < engine < lua < program, each sees what stands to its left; what the engine's
# files see of each other follows the order below. Reads the C files of these folders.

BEGIN {
    folders = split("base protocol config engine lua program", folder_names)
    for (rank = 1; rank <= folders; rank++) {
        folder_rank[folder_names[rank]] = rank
    }
    # In reading order. Files joined by / see each other.
    order = "reason tally op uring spin ring/kernel wheel turns buffer health server balance upstream outlier settings access_log epoch sources splice zero_copy limit stage engine"
    order = order " flow/session/session_parts/session_client/session_connect/session_time/session_lines/chain/chain_parts/chain_rounds/chain_pump/chain_outcome/chain_hold/filter/introduction listener worker"
    levels = split(order, level_names)
    for (level = 1; level <= levels; level++) {
        nouns = split(level_names[level], noun_names, "/")
        for (noun = 1; noun <= nouns; noun++) {
            engine_level[noun_names[noun]] = level
        }
    }
}

function finding(text) {
    print FILENAME ":" FNR ": " text
}

# core/engine/flow.c -> engine, config/load.h -> config
function folder_of(path) {
    sub(/^core\//, "", path)
    sub(/\/.*/, "", path)
    return path
}

# engine/flow.c -> flow
function noun_of(path) {
    sub(/.*\//, "", path)
    sub(/\.[ch]$/, "", path)
    return path
}

function check_system(header) {
    if (header ~ /^liburing/ && FILENAME !~ /^core\/engine\/(ring\.c|uring\.h)$/) {
        finding("only core/engine/ring.c speaks to liburing, by way of engine/uring.h")
    }
    if (header == "yaml.h" && FILENAME != yaml_file) {
        finding("only " yaml_file " includes <yaml.h>")
    }
    if (header == "microhttpd.h" && FILENAME != "core/program/exporter.c") {
        finding("only core/program/exporter.c includes <microhttpd.h>")
    }
    if (header ~ /^(lua|lualib|lauxlib|luajit)\.h$/ && folder != "lua") {
        finding("only the files in lua/ include <" header ">")
    }
}

function check_engine(header,    own, other) {
    own = noun_of(FILENAME)
    other = noun_of(header)
    if (!(own in engine_level)) {
        finding("engine/" own " has no place in the order of the engine's files (tests/lint/includes.awk)")
    } else if (other in engine_level && engine_level[other] > engine_level[own]) {
        finding("engine/" own " stands before engine/" other " and must not include it")
    }
    if (header == "engine/uring.h" && FILENAME != "core/engine/ring.c") {
        finding("only core/engine/ring.c includes engine/uring.h")
    }
}

function check_project(header,    other_folder) {
    other_folder = folder_of(header)
    if (!(other_folder in folder_rank)) {
        finding("\"" header "\" does not begin with a folder of the product: base protocol config engine lua program")
    } else if (folder_rank[other_folder] > folder_rank[folder]) {
        finding(folder " must not know " other_folder " (base < protocol < config < engine < lua < program)")
    } else if (folder == "engine" && other_folder == "config" && header != "config/config.h") {
        finding("engine sees of config only config/config.h")
    } else if (folder == "engine" && other_folder == "engine") {
        check_engine(header)
    }
}

function file_exists(path,    line, exists) {
    exists = (getline line < path) >= 0
    close(path)
    return exists
}

FNR == 1 {
    folder = folder_of(FILENAME)
    own_header = FILENAME
    sub(/\.c$/, ".h", own_header)
    # A header that exists stands first: so it is proved to need nothing before it.
    wants_own_header = own_header != FILENAME && file_exists(own_header)
    sub(/^core\//, "", own_header)
}

/^#include [<"]/ {
    header = $2
    gsub(/[<>"]/, "", header)
    if (wants_own_header && header != own_header) {
        finding("the file's own header, \"" own_header "\", comes first")
    }
    wants_own_header = 0
    if ($2 ~ /^</) {
        check_system(header)
    } else {
        check_project(header)
    }
}
