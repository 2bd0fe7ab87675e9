#include "config/codes.h"

static const struct {
    const char *number;
    const char *meaning;
} codes[CODES_COUNT] = {
    [CODE_MEMORY] = {"E0100", "there is not enough memory to load it"},
    [CODE_READ] = {"E0101", "a file or a folder cannot be read"},
    [CODE_FILE_SIZE] = {"E0102", "all files together are larger than 4 MiB"},
    [CODE_UTF8] = {"E0103", "a byte is not UTF-8"},
    [CODE_CONTROL] = {"E0104", "a control character is in a file or in a text"},
    [CODE_SYNTAX] = {"E0105", "it is not YAML"},
    [CODE_TAB] = {"E0106", "a tab indents a line: YAML allows only spaces"},
    [CODE_DEPTH] = {"E0107", "it is nested deeper than 32 levels"},
    [CODE_DOCUMENTS] = {"E0108", "a file holds more than one YAML document"},
    [CODE_SCALAR_SIZE] = {"E0109", "a text is longer than 1 MiB"},
    [CODE_ANCHOR] = {"E0110", "an alias `*x` has no anchor `&x` before it"},
    [CODE_CYCLE] = {"E0111", "an alias stands inside its own anchor"},
    [CODE_NODES] = {"E0112", "there are more than 250000 values, those repeated by aliases counted each time"},
    [CODE_MERGE] = {"E0113", "the value of `<<` is not a map or a list of maps"},
    [CODE_KEY_KIND] = {"E0114", "a key is a list or a map"},
    [CODE_TAG] = {"E0115", "a value has a YAML tag such as `!!int`"},
    [CODE_ANCHORS] = {"E0116", "a file has more than 1000 anchors"},
    [CODE_INCLUDE_NESTED] = {"E0117", "an included file includes others"},
    [CODE_INCLUDE_TWICE] = {"E0118", "a file is included twice, or by itself"},
    [CODE_INCLUDES] = {"E0119", "more than 1000 files are included"},
    [CODE_CIDR_FILE_SIZE] = {"E0130", "a file of addresses is larger than 16 MiB"},
    [CODE_KIND] = {"E0201", "a list, a map or a plain value stands where another of them belongs"},
    [CODE_MISSING_KEY] = {"E0202", "a key that must be there is missing"},
    [CODE_UNKNOWN_KEY] = {"E0203", "there is no such key here"},
    [CODE_DUPLICATE_KEY] = {"E0204", "a key is there twice"},
    [CODE_NO_VALUE] = {"E0205", "a key has no value"},
    [CODE_EMPTY_LIST] = {"E0206", "a list needs at least one item"},
    [CODE_NAME] = {"E0207", "a listener, an upstream or a filter has a name that is not allowed"},
    [CODE_BOOL] = {"E0301", "a value is neither `true` nor `false`"},
    [CODE_INTEGER] = {"E0302", "a value is not a whole number, or out of range"},
    [CODE_WORD] = {"E0303", "a value is none of the words that the key knows"},
    [CODE_TEXT] = {"E0304", "a name or a path is empty or too long"},
    [CODE_ADDRESS] = {"E0306", "a value is not an address of the kind that the key takes"},
    [CODE_UNSUPPORTED] = {"E0307", "moonring does not support this kind of address"},
    [CODE_MODE] = {"E0308", "a socket's mode is not four octal digits"},
    [CODE_TARGET] = {"E0309", "a value is not a place that a log can go to"},
    [CODE_DURATION_UNIT] = {"E0311", "a duration has no unit"},
    [CODE_DURATION] = {"E0312", "a value is not a duration"},
    [CODE_DURATION_RANGE] = {"E0313", "a duration is too short, too long, or finer than the key can hold"},
    [CODE_SIZE_UNIT] = {"E0314", "a size has no unit"},
    [CODE_SIZE] = {"E0315", "a value is not a size"},
    [CODE_SIZE_RANGE] = {"E0316", "a size is too small or too large"},
    [CODE_PATTERN] = {"E0317", "a path to look for modules has no `?`, or more than one"},
    [CODE_VARIABLE_UNSET] = {"E0318", "a variable `${NAME}` is not set"},
    [CODE_VARIABLE] = {"E0319", "what begins with `$` is no variable, or has a value that no text may have"},
    [CODE_INCLUDE] = {"E0320", "a path to include has `*`, `?` or `[` in the name of a folder"},
    [CODE_PERCENT] = {"E0323", "a value is not a percentage"},
    [CODE_CIDR] = {"E0330", "a value is neither an IP address nor a block of them like `10.0.0.0/8`"},
    [CODE_RATE] = {"E0331", "a value is not a rate like `50/s`, or out of range"},
    [CODE_BANDWIDTH] = {"E0332", "a value is not a bandwidth like `10MiB/s`, or out of range"},
    [CODE_NO_LISTENERS] = {"E0401", "there is no listener"},
    [CODE_UNDEFINED_UPSTREAM] = {"E0402", "a listener names an upstream that is not defined, and that is no address"},
    [CODE_SAME_ADDRESS] = {"E0403", "two `bind` addresses are the same, or one covers the other"},
    [CODE_SAME_SERVER] = {"E0404", "two servers of an upstream have the same name"},
    [CODE_OWN_ADDRESS] = {"E0405", "a listener's server is the listener itself"},
    [CODE_ALL_BACKUP] = {"E0406", "every server of an upstream is a backup"},
    [CODE_UNIX_ONLY] = {"E0407", "`mode` or `group` stands beside an address that is not a unix path"},
    [CODE_SAME_FILTER] = {"E0408", "two filters of a listener have the same name"},
    [CODE_TRUSTS_NOBODY] = {"E0420", "`proxy_protocol` of a listener does not say who is trusted"},
    [CODE_NO_LIMIT] = {"E0430", "`limits.per_source` limits nothing, or has a `burst` but no `rate`"},
    [CODE_UNUSED_UPSTREAM] = {"W0501", "no listener uses an upstream"},
    [CODE_TIMEOUT_OFF] = {"W0502", "a timeout is off without which sessions may stay for ever"},
    [CODE_WITHOUT_SQPOLL] = {"W0503", "`io.sqpoll_cpu` is set, but `io.sqpoll` is not true"},
    [CODE_NOBODY] = {"W0510", "`allow` and `deny` of a listener let nobody in"},
    [CODE_TRUSTS_ANYBODY] = {"W0520", "`proxy_protocol.trusted` of a listener trusts everybody"},
};

const char *code_number(enum code code) {
    return codes[code].number;
}

bool code_is_warning(enum code code) {
    return codes[code].number[0] == 'W';
}

void codes_describe(struct bytes *out) {
    bytes_append_text(out, "| code | meaning |\n| --- | --- |\n");
    for (size_t code = 0; code < CODES_COUNT; code++) {
        bytes_printf(out, "| %s | %s |\n", codes[code].number, codes[code].meaning);
    }
}
