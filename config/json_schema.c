/* The table once more, as a JSON Schema for editors and pipelines. It says what one file may hold by itself: shapes,
 * words, forms of values. What needs more than one value (a range of durations, a name that must be defined) only a
 * load finds out. A value with a variable in it is always allowed, since its text is known only then. */
#include "config/json.h"
#include "config/load.h"
#include "config/params.h"
#include "config/value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PORT "(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})" /* 1 to 65535 */
#define OCTET "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
#define IPV4 "(" OCTET "\\.){3}" OCTET
#define IPV6 "[0-9A-Fa-f:.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*"                 /* roughly */
#define HOST "(?!-)([A-Za-z0-9_-]+\\.)*[0-9]*[A-Za-z_-][A-Za-z0-9_-]*\\.?" /* the last label is no number */
#define UNIX_PATH "unix:[^@].{0,106}"
#define UNIX "(" UNIX_PATH "|unix:@.{1,107})"
#define PREFIX_V4 "(3[0-2]|[12]?[0-9])"
#define PREFIX_V6 "(12[0-8]|1[01][0-9]|[1-9]?[0-9])"
#define NAME "[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}"

/* ---- forms of texts, which stand once at the end ---- */

static const struct {
    const char *name;
    const char *pattern;
    const char *description;
} forms[] = {
    {"variable", "\\$\\{[A-Za-z_][A-Za-z0-9_]*(:[-?][^}]*)?\\}",
     "holds what the environment says: ${NAME}, ${NAME:-DEFAULT} or ${NAME:?MESSAGE}"},
    {"duration", "^[1-9][0-9]*(us|ms|s|m|h|d)$", "a whole number and a unit: us ms s m h d"},
    {"percent", "^([0-9]|[1-9][0-9]|100)%$", "a whole number from 0% to 100%"},
    {"size", "^[1-9][0-9]*(B|KiB|MiB|GiB|KB|MB|GB)$", "a whole number and a unit: B KiB MiB GiB, or KB MB GB"},
    {"rate", "^[1-9][0-9]*/[smh]$", "a whole number for each second, minute or hour: /s /m /h"},
    {"bandwidth", "^[1-9][0-9]*(B|KiB|MiB|GiB|KB|MB|GB)/s$", "a size for each second: 10MiB/s"},
    {"digits", "^(0|[1-9][0-9]*)$", "a whole number in quotes"},
    {"name", "^" NAME "$", "1 to 64 letters, digits, _ - and ., neither - nor . in front"},
    {"listen_address", "^((" IPV4 "|\\[" IPV6 "\\]|):(0|" PORT ")|" UNIX "|systemd:" NAME ")$",
     ":PORT, IP:PORT, [IPv6]:PORT, unix:PATH, unix:@NAME or systemd:NAME"},
    {"listen_path", "^" UNIX_PATH "$", "unix:PATH"},
    {"listen_ip", "^(" IPV4 "|\\[" IPV6 "\\]|):(0|" PORT ")$", ":PORT, IP:PORT or [IPv6]:PORT"},
    {"server_address", "^((" IPV4 "|\\[" IPV6 "\\]|" HOST "):" PORT "|" UNIX ")$",
     "IP:PORT, [IPv6]:PORT, HOST:PORT, unix:PATH or unix:@NAME"},
    {"upstream_name", "^(?=.*[A-Za-z_-])" NAME "$", "the name of an upstream"},
    {"access_target", "^(stderr|stdout|file:.+|syslog:/.+)$", "stderr, stdout, file:PATH or syslog:PATH"},
    {"target", "^(stderr|stdout|file:.+)$", "stderr, stdout or file:PATH"},
    {"mode", "^0[0-7]{3}$", "four octal digits, in quotes"},
    {"module_path", "^[^?]*\\?[^?]*$", "a path with one ? in it"},
    {"cidrs", "^(file:.+|" IPV4 "(/" PREFIX_V4 ")?|" IPV6 "(/" PREFIX_V6 ")?)$",
     "an IP address, a block of them, or file:PATH of a list"},
    {"include_path", "^([^*?\\[]*/)?[^/]+$", "a path; only its last part may have wildcards"},
};

static void write_form(struct json *json, const char *name) {
    char path[64];
    snprintf(path, sizeof(path), "#/$defs/%s", name);
    json_begin(json, NULL, '{');
    json_text(json, "$ref", path);
    json_end(json, '}');
}

static void write_type(struct json *json, const char *type) {
    json_begin(json, NULL, '{');
    json_text(json, "type", type);
    json_end(json, '}');
}

/* ---- single values: what may stand in an `anyOf` ---- */

static void write_words(struct json *json, const char *const *words) {
    json_begin(json, NULL, '{');
    json_begin(json, "enum", '[');
    for (; *words != NULL; words++) {
        json_text(json, NULL, *words);
    }
    json_end(json, ']');
    json_end(json, '}');
}

static void write_integer(struct json *json, const struct key *key) {
    json_begin(json, NULL, '{');
    json_text(json, "type", "integer");
    json_number(json, "minimum", key->min);
    json_number(json, "maximum", key->max);
    json_end(json, '}');
    write_form(json, "digits");
}

static void write_bool(struct json *json) {
    static const char *const words[] = {"true", "false", NULL};
    write_type(json, "boolean");
    write_words(json, words);
}

static void write_text(struct json *json, size_t length_max) {
    json_begin(json, NULL, '{');
    json_text(json, "type", "string");
    json_number(json, "minLength", 1);
    json_number(json, "maxLength", length_max);
    json_end(json, '}');
}

/* Names may look like numbers, though ours not like negative ones. */
static void write_name(struct json *json, const struct key *key) {
    if (key->type == KEY_NAME) {
        write_form(json, "name");
    } else {
        write_text(json, VALUE_TEXT_SIZE_MAX);
    }
    json_begin(json, NULL, '{');
    json_text(json, "type", "integer");
    if (key->type == KEY_NAME) {
        json_number(json, "minimum", 0);
    }
    json_end(json, '}');
}

static const char *const form_of_type[] = {
    [KEY_DURATION] = "duration",    [KEY_SIZE] = "size",
    [KEY_PERCENT] = "percent",      [KEY_RATE] = "rate",
    [KEY_BANDWIDTH] = "bandwidth",  [KEY_ACCESS_TARGET] = "access_target",
    [KEY_TARGET] = "target",        [KEY_MODE] = "mode",
    [KEY_BIND] = "listen_address",  [KEY_BIND_PATH] = "listen_path",
    [KEY_BIND_IP] = "listen_ip",    [KEY_SERVER] = "server_address",
    [KEY_PATTERN] = "module_path",  [KEY_CIDRS] = "cidrs",
    [KEY_INCLUDE] = "include_path",
};

static void write_value(struct json *json, const struct key *key) {
    switch (key->type) {
    case KEY_BOOL:
        write_bool(json);
        return;
    case KEY_INTEGER:
        write_integer(json, key);
        return;
    case KEY_WORD:
        write_words(json, key->words);
        return;
    case KEY_TEXT:
    case KEY_NAME:
        write_name(json, key);
        return;
    case KEY_UPSTREAM:
        write_form(json, "upstream_name");
        write_form(json, "server_address");
        return;
    case KEY_SCRIPT:
        write_text(json, VALUE_PATH_SIZE_MAX);
        return;
    case KEY_DURATION:
    case KEY_SIZE:
    case KEY_PERCENT:
    case KEY_RATE:
    case KEY_BANDWIDTH:
    case KEY_ACCESS_TARGET:
    case KEY_TARGET:
    case KEY_MODE:
    case KEY_BIND:
    case KEY_BIND_PATH:
    case KEY_BIND_IP:
    case KEY_SERVER:
    case KEY_PATTERN:
    case KEY_CIDRS:
    case KEY_INCLUDE:
        write_form(json, form_of_type[key->type]);
        return;
    case KEY_PARAMS:
    case KEY_SECTION:
    case KEY_LIST:
    case KEY_MAP:
    case KEY_VALUES:
        return;
    }
}

static void write_word(struct json *json, const struct key *key) {
    if (key->word != NULL) {
        const char *const words[] = {key->word, NULL};
        write_words(json, words);
    }
}

/* The value, its word, a variable. */
static void write_plain(struct json *json, const struct key *key) {
    write_value(json, key);
    write_word(json, key);
    write_form(json, "variable");
}

/* ---- sections, lists and maps ---- */

static void write_key(struct json *json, const struct key *key);

static void write_required_one(struct json *json, const char *name) {
    json_begin(json, NULL, '{');
    json_begin(json, "required", '[');
    json_text(json, NULL, name);
    json_end(json, ']');
    json_end(json, '}');
}

static void write_required(struct json *json, const struct section *section) {
    json_begin(json, "required", '[');
    for (const struct key *key = section->keys; key->name != NULL; key++) {
        if (key->required && key->unless == NULL) {
            json_text(json, NULL, key->name);
        }
    }
    json_end(json, ']');
    for (const struct key *key = section->keys; key->name != NULL; key++) {
        if (key->unless != NULL) {
            json_begin(json, "anyOf", '[');
            write_required_one(json, key->name);
            write_required_one(json, key->unless);
            json_end(json, ']');
        }
    }
}

/* What an object needs to be the section, without its brackets. */
static void write_section(struct json *json, const struct section *section) {
    json_text(json, "type", "object");
    json_bool(json, "additionalProperties", false);
    json_begin(json, "properties", '{');
    for (const struct key *key = section->keys; key->name != NULL; key++) {
        write_key(json, key);
    }
    json_end(json, '}');
    write_required(json, section);
}

static void write_section_object(struct json *json, const char *name, const struct section *section) {
    json_begin(json, name, '{');
    write_section(json, section);
    json_end(json, '}');
}

/* An item of a list: the whole section, or the plain value that stands for it. */
static void write_item(struct json *json, const struct key *list) {
    if (list->type == KEY_VALUES) {
        write_plain(json, list->item);
        return;
    }
    write_section_object(json, NULL, list->section);
    write_plain(json, schema_find(list->section, list->section->shorthand));
}

static void write_array(struct json *json, const struct key *list) {
    json_begin(json, NULL, '{');
    json_text(json, "type", "array");
    json_number(json, "minItems", 1);
    json_begin(json, "items", '{');
    json_begin(json, "anyOf", '[');
    write_item(json, list);
    json_end(json, ']');
    json_end(json, '}');
    json_end(json, '}');
}

static void write_map(struct json *json, const struct section *section) {
    json_text(json, "type", "object");
    json_begin(json, "propertyNames", '{');
    json_text(json, "$ref", "#/$defs/name");
    json_end(json, '}');
    write_section_object(json, "additionalProperties", section);
}

static void write_alternatives(struct json *json, const struct key *key) {
    json_begin(json, "anyOf", '[');
    if (key->type == KEY_SECTION) {
        write_section_object(json, NULL, key->section);
        write_word(json, key);
        write_form(json, "variable");
    } else if (key->type == KEY_LIST || key->type == KEY_VALUES) {
        write_array(json, key);
        if (key->single) {
            write_item(json, key);
        }
    } else {
        write_plain(json, key);
    }
    json_end(json, ']');
}

static void write_default(struct json *json, const struct key *key) {
    if (key->fallback == NULL) {
        return;
    }
    bool is_word = key->word != NULL && strcmp(key->fallback, key->word) == 0;
    if (key->type == KEY_BOOL) {
        json_bool(json, "default", strcmp(key->fallback, "true") == 0);
    } else if (key->type == KEY_INTEGER && !is_word) {
        json_number(json, "default", strtoull(key->fallback, NULL, 10));
    } else {
        json_text(json, "default", key->fallback);
    }
}

static void write_key(struct json *json, const struct key *key) {
    json_begin(json, key->name, '{');
    if (key->help != NULL) {
        json_text(json, "description", key->help);
    }
    write_default(json, key);
    if (key->type == KEY_MAP) {
        write_map(json, key->section);
    } else if (key->type == KEY_PARAMS) {
        json_text(json, "$ref", "#/$defs/parameters");
    } else if (key->type == KEY_SECTION && key->word == NULL) {
        write_section(json, key->section);
    } else {
        write_alternatives(json, key);
    }
    json_end(json, '}');
}

/* ---- the whole ---- */

static void write_parameters(struct json *json) {
    json_begin(json, "parameters", '{');
    json_text(json, "type", "object");
    json_begin(json, "propertyNames", '{');
    json_number(json, "maxLength", PARAMS_KEY_SIZE_MAX);
    json_end(json, '}');
    json_begin(json, "additionalProperties", '{');
    json_begin(json, "anyOf", '[');
    write_type(json, "string");
    write_type(json, "number");
    write_type(json, "boolean");
    write_form(json, "parameter_list");
    write_form(json, "parameters");
    json_end(json, ']');
    json_end(json, '}');
    json_end(json, '}');
}

/* Its items are like the values of a map. */
static void write_parameter_list(struct json *json) {
    json_begin(json, "parameter_list", '{');
    json_text(json, "type", "array");
    json_begin(json, "items", '{');
    json_text(json, "$ref", "#/$defs/parameters/additionalProperties");
    json_end(json, '}');
    json_end(json, '}');
}

static void write_definitions(struct json *json) {
    json_begin(json, "$defs", '{');
    for (size_t index = 0; index < sizeof(forms) / sizeof(forms[0]); index++) {
        json_begin(json, forms[index].name, '{');
        json_text(json, "description", forms[index].description);
        json_text(json, "type", "string");
        json_text(json, "pattern", forms[index].pattern);
        json_end(json, '}');
    }
    write_parameters(json);
    write_parameter_list(json);
    json_end(json, '}');
}

void config_schema(struct bytes *out) {
    struct json json = {.out = out};
    json_begin(&json, NULL, '{');
    json_text(&json, "$schema", "https://json-schema.org/draft/2020-12/schema");
    json_text(&json, "title", "the configuration of moonring");
    write_section(&json, &config_section);
    write_definitions(&json);
    json_end(&json, '}');
    bytes_append_char(out, '\n');
}
