/* Every kind of error and warning about a configuration. Their numbers are printed, searched for and documented: they
 * never change their meaning, and a number that is out of use is not used again. */
#ifndef MOONRING_CONFIG_CODES_H
#define MOONRING_CONFIG_CODES_H

#include "base/bytes.h"

#include <stdbool.h>

enum code {
    /* Reading the file and its YAML. */
    CODE_MEMORY,
    CODE_READ,
    CODE_FILE_SIZE,
    CODE_UTF8,
    CODE_CONTROL,
    CODE_SYNTAX,
    CODE_TAB,
    CODE_DEPTH,
    CODE_DOCUMENTS,
    CODE_SCALAR_SIZE,
    CODE_ANCHOR,
    CODE_CYCLE,
    CODE_NODES,
    CODE_MERGE,
    CODE_KEY_KIND,
    CODE_TAG,
    CODE_ANCHORS,
    CODE_INCLUDE_NESTED,
    CODE_INCLUDE_TWICE,
    CODE_INCLUDES,
    CODE_CIDR_FILE_SIZE,
    /* Keys. */
    CODE_KIND,
    CODE_MISSING_KEY,
    CODE_UNKNOWN_KEY,
    CODE_DUPLICATE_KEY,
    CODE_NO_VALUE,
    CODE_EMPTY_LIST,
    CODE_NAME,
    /* Values. */
    CODE_BOOL,
    CODE_INTEGER,
    CODE_WORD,
    CODE_TEXT,
    CODE_ADDRESS,
    CODE_UNSUPPORTED,
    CODE_MODE,
    CODE_TARGET,
    CODE_DURATION_UNIT,
    CODE_DURATION,
    CODE_DURATION_RANGE,
    CODE_SIZE_UNIT,
    CODE_SIZE,
    CODE_SIZE_RANGE,
    CODE_PATTERN,
    CODE_VARIABLE_UNSET,
    CODE_VARIABLE,
    CODE_INCLUDE,
    CODE_PERCENT,
    CODE_CIDR,
    CODE_RATE,
    CODE_BANDWIDTH,
    /* Rules between keys. */
    CODE_NO_LISTENERS,
    CODE_UNDEFINED_UPSTREAM,
    CODE_SAME_ADDRESS,
    CODE_SAME_SERVER,
    CODE_SAME_FILTER,
    CODE_NO_LIMIT,
    CODE_OWN_ADDRESS,
    CODE_ALL_BACKUP,
    CODE_UNIX_ONLY,
    CODE_TRUSTS_NOBODY,
    /* Warnings. */
    CODE_UNUSED_UPSTREAM,
    CODE_TIMEOUT_OFF,
    CODE_WITHOUT_SQPOLL,
    CODE_NOBODY,
    CODE_TRUSTS_ANYBODY,
    CODES_COUNT,
};

/* `E0203`, `W0501`. */
const char *code_number(enum code code);
bool code_is_warning(enum code code);

/* Appends one line of a Markdown table for each code: number and meaning. */
void codes_describe(struct bytes *out);

#endif
