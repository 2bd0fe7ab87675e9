#include "config/value.h"

#include "base/check.h"
#include "base/cidr.h"
#include "base/units.h"
#include "config/include.h"
#include "config/nearest.h"
#include "config/source.h"
#include "config/variables.h"

#include <stdio.h>
#include <string.h>

enum {
    QUOTED_SIZE = 256,
    HOST_SIZE = 256,
    NAME_SIZE_MAX = 64,
};

static const char name_letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";

bool value_is_name(const char *text) {
    size_t length = strlen(text);
    return length >= 1 && length <= NAME_SIZE_MAX && text[strspn(text, name_letters)] == 0 &&
           strchr("-.", text[0]) == NULL;
}

static bool text_begins(const char *text, const char *beginning) {
    return strncmp(text, beginning, strlen(beginning)) == 0;
}

static bool text_is_one_of(const char *text, const char *const *words) {
    for (; *words != NULL; words++) {
        if (strcmp(text, *words) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- problems ---- */

static const char *quote(const char *text, char quoted[static QUOTED_SIZE]) {
    struct bytes bytes;
    bytes_init(&bytes);
    source_quote(text, strlen(text), &bytes);
    snprintf(quoted, QUOTED_SIZE, "%s", bytes.data);
    bytes_finish(&bytes);
    return quoted;
}

/* Takes the message over from a parser of base; what stands behind ": write " is the hint. */
static bool problem_from(struct value_problem *problem, enum code code, const struct error *error) {
    const char *advice = strstr(error->text, ": write ");
    int length = advice != NULL ? (int)(advice - error->text) : (int)strlen(error->text);
    problem->code = code;
    error_set(&problem->message, "%.*s", length, error->text);
    return error_set(&problem->hint, "%s", advice != NULL ? advice + strlen(": ") : "");
}

/* `"TEXT" is what it is`. */
static bool problem_quote(struct value_problem *problem, enum code code, const char *text, const char *what_it_is) {
    char quoted[QUOTED_SIZE];
    problem->code = code;
    problem->hint.text[0] = 0;
    return error_set(&problem->message, "%s %s", quote(text, quoted), what_it_is);
}

static bool problem_hint_type(struct value_problem *problem, const struct key *key) {
    struct bytes type;
    bytes_init(&type);
    value_describe(key, &type);
    error_set(&problem->hint, "write %s", type.data);
    bytes_finish(&type);
    return false;
}

/* ---- numbers and words ---- */

static bool read_bool(const struct key *key, const char *text, void *record, struct value_problem *problem) {
    static const char *const like_true[] = {"yes", "Yes", "YES", "on", "On", "ON", "y", "Y", "1", "True", "TRUE", NULL};
    static const char *const like_false[] = {"no", "No", "NO", "off",   "Off",   "OFF",
                                             "n",  "N",  "0",  "False", "FALSE", NULL};
    bool is_true = strcmp(text, "true") == 0;
    if (is_true || strcmp(text, "false") == 0) {
        schema_store(key, record, is_true);
        return true;
    }
    problem_quote(problem, CODE_BOOL, text, "is not true or false");
    if (text_is_one_of(text, like_true)) {
        return error_set(&problem->hint, "write true");
    }
    return error_set(&problem->hint, text_is_one_of(text, like_false) ? "write false" : "write true or false");
}

static bool read_integer(const struct key *key, const char *text, void *record, struct value_problem *problem) {
    uint64_t value;
    struct error error;
    if (units_parse_integer(text, key->min, key->max, &value, &error)) {
        schema_store(key, record, value);
        return true;
    }
    problem_from(problem, CODE_INTEGER, &error);
    return key->word != NULL && problem_hint_type(problem, key);
}

static bool read_duration(const struct key *key, const char *text, void *record, struct value_problem *problem) {
    static const char *const like_off[] = {"none", "never", "no", "false", "null", "~", "disabled", "Off", "OFF", NULL};
    uint64_t value_us;
    struct error error;
    bool off_is_meant = key->word != NULL && text_is_one_of(text, like_off);
    bool parsed = units_parse_duration(strcmp(text, "0") == 0 ? "0s" : text, &value_us, &error);
    if (!parsed) {
        bool number = text[0] != 0 && text[strspn(text, "0123456789")] == 0;
        problem_from(problem, number ? CODE_DURATION_UNIT : CODE_DURATION, &error);
        return off_is_meant && error_set(&problem->hint, "write %s", key->word);
    }
    if (value_us < key->min || value_us > key->max) {
        problem->code = CODE_DURATION_RANGE;
        error_set(&problem->message, "%.64s is out of range", text);
        return problem_hint_type(problem, key);
    }
    if (value_us % key->unit_us != 0) {
        char smallest[32];
        units_format_duration(key->unit_us, smallest, sizeof(smallest));
        problem->code = CODE_DURATION_RANGE;
        error_set(&problem->message, "%.64s is too fine", text);
        return error_set(&problem->hint, "write a multiple of %s", smallest);
    }
    schema_store(key, record, value_us / key->unit_us);
    return true;
}

static bool read_size(const struct key *key, const char *text, void *record, struct value_problem *problem) {
    uint64_t value;
    struct error error;
    if (!units_parse_size(text, &value, &error)) {
        bool number = text[0] != 0 && text[strspn(text, "0123456789")] == 0;
        return problem_from(problem, number ? CODE_SIZE_UNIT : CODE_SIZE, &error);
    }
    if (value < key->min || value > key->max) {
        problem->code = CODE_SIZE_RANGE;
        error_set(&problem->message, "%.64s is out of range", text);
        return problem_hint_type(problem, key);
    }
    schema_store(key, record, value);
    return true;
}

static bool read_percent(const struct key *key, const char *text, void *record, struct value_problem *problem) {
    uint64_t value;
    struct error error;
    if (!units_parse_percent(text, &value, &error)) {
        return problem_from(problem, CODE_PERCENT, &error);
    }
    schema_store(key, record, value);
    return true;
}

/* Something for each second: of events, or of bytes. */
static bool read_pace(const struct key *key, const char *text, void *record, struct value_problem *problem) {
    uint64_t value;
    struct error error;
    enum code code = key->type == KEY_RATE ? CODE_RATE : CODE_BANDWIDTH;
    bool parsed =
        key->type == KEY_RATE ? units_parse_rate(text, &value, &error) : units_parse_bandwidth(text, &value, &error);
    if (!parsed) {
        return problem_from(problem, code, &error);
    }
    if (value < key->min || value > key->max) {
        problem->code = code;
        error_set(&problem->message, "%.64s is out of range", text);
        return problem_hint_type(problem, key);
    }
    schema_store(key, record, value);
    return true;
}

static bool read_word(const struct key *key, const char *text, void *record, struct value_problem *problem) {
    struct nearest nearest;
    nearest_init(&nearest, text);
    for (size_t index = 0; key->words[index] != NULL; index++) {
        if (strcmp(text, key->words[index]) == 0) {
            schema_store(key, record, index);
            return true;
        }
        nearest_offer(&nearest, key->words[index]);
    }
    problem_quote(problem, CODE_WORD, text, "is not one of its values");
    if (nearest.best != NULL) {
        return error_set(&problem->hint, "did you mean \"%s\"?", nearest.best);
    }
    return problem_hint_type(problem, key);
}

/* ---- texts ---- */

static void store_text(const struct key *key, void *record, const char *text) {
    memcpy((char *)record + key->offset, &text, sizeof(text));
}

static const char *load_text(const struct key *key, const void *record) {
    const char *text;
    memcpy(&text, (const char *)record + key->offset, sizeof(text));
    return text;
}

static const char *keep_text(const struct value_reader *reader, const char *text) {
    return arena_copy(reader->arena, text, strlen(text));
}

static bool text_has_size(const char *text, size_t size_max, struct value_problem *problem) {
    if (text[0] == 0) {
        return problem_quote(problem, CODE_TEXT, text, "is empty");
    }
    return strlen(text) <= size_max || problem_quote(problem, CODE_TEXT, text, "is too long");
}

static bool read_text(const struct value_reader *reader, const struct key *key, const char *text, void *record,
                      struct value_problem *problem) {
    if (!text_has_size(text, VALUE_TEXT_SIZE_MAX, problem)) {
        return false;
    }
    store_text(key, record, keep_text(reader, text));
    return true;
}

static bool read_name(const struct value_reader *reader, const struct key *key, const char *text, void *record,
                      struct value_problem *problem) {
    if (!value_is_name(text)) {
        problem_quote(problem, CODE_NAME, text, "is not allowed");
        return error_set(&problem->hint, "%s", VALUE_NAME_HELP);
    }
    store_text(key, record, keep_text(reader, text));
    return true;
}

/* Paths are relative to the file that names them. */
static const char *keep_path(const struct value_reader *reader, const char *prefix, const char *path) {
    while (text_begins(path, "./") && path[2] != 0) {
        path += 2;
    }
    bool absolute = path[0] == '/';
    return arena_printf(reader->arena, "%s%s%s%s", prefix, absolute ? "" : reader->folder, absolute ? "" : "/", path);
}

static bool read_pattern(const struct value_reader *reader, const struct key *key, const char *text, void *record,
                         struct value_problem *problem) {
    if (!text_has_size(text, VALUE_PATH_SIZE_MAX, problem)) {
        return false;
    }
    const char *path = keep_path(reader, "", text);
    const char *mark = strchr(path, '?');
    if (mark == NULL || strchr(mark + 1, '?') != NULL) {
        problem_quote(problem, CODE_PATTERN, text, mark == NULL ? "has no \"?\"" : "has more than one \"?\"");
        return problem_hint_type(problem, key);
    }
    store_text(key, record, path);
    return true;
}

static bool read_include(const struct value_reader *reader, const struct key *key, const char *text, void *record,
                         struct value_problem *problem) {
    if (!text_has_size(text, VALUE_PATH_SIZE_MAX, problem)) {
        return false;
    }
    if (!include_is_allowed(text)) {
        problem_quote(problem, CODE_INCLUDE, text, "has a wildcard in the name of a folder");
        return error_set(&problem->hint, "only the name of the file may have some");
    }
    store_text(key, record, keep_text(reader, text));
    return true;
}

static bool read_cidrs(const struct value_reader *reader, const struct key *key, const char *text, void *record,
                       struct value_problem *problem) {
    struct cidr cidr;
    struct error error;
    if (!text_has_size(text, VALUE_PATH_SIZE_MAX, problem)) {
        return false;
    }
    const char *path = text + strlen("file:");
    if (text_begins(text, "file:") && path[0] != 0) {
        store_text(key, record, keep_path(reader, "file:", path));
        return true;
    }
    if (text[strspn(text, "0123456789abcdefABCDEF:./")] != 0) {
        problem_quote(problem, CODE_CIDR, text, "is not a block of IP addresses");
        return text[0] == '/' ? error_set(&problem->hint, "write \"file:%.100s\"", text)
                              : problem_hint_type(problem, key);
    }
    if (!cidr_parse(&cidr, text, &error)) {
        return problem_from(problem, CODE_CIDR, &error);
    }
    store_text(key, record, keep_text(reader, text));
    return true;
}

/* `/etc/moonring/redis firewall.lua` -> `redis_firewall`. */
static const char *name_of_script(const struct value_reader *reader, const char *path) {
    const char *base = strrchr(path, '/') + 1;
    size_t size = strlen(base);
    if (size > strlen(".lua") && strcmp(base + size - strlen(".lua"), ".lua") == 0) {
        size -= strlen(".lua");
    }
    char *name = size > 0 ? arena_copy(reader->arena, base, size < NAME_SIZE_MAX ? size : NAME_SIZE_MAX)
                          : arena_copy(reader->arena, "_", 1);
    for (char *at = name; *at != 0; at++) {
        if (strchr(name_letters, *at) == NULL || (at == name && strchr("-.", *at) != NULL)) {
            *at = '_';
        }
    }
    return name;
}

static bool read_script(const struct value_reader *reader, const char *text, struct config_filter *filter,
                        struct value_problem *problem) {
    if (!text_has_size(text, VALUE_PATH_SIZE_MAX, problem)) {
        return false;
    }
    filter->path = keep_path(reader, "", text);
    filter->name = name_of_script(reader, filter->path);
    return true;
}

static bool read_syslog(const struct value_reader *reader, const struct key *key, const char *text, void *record,
                        struct value_problem *problem) {
    struct sockaddr_un address;
    if (strlen(text) - strlen("syslog:") >= sizeof(address.sun_path)) {
        return problem_quote(problem, CODE_TARGET, text, "is too long for a socket");
    }
    store_text(key, record, keep_text(reader, text));
    return true;
}

static bool read_target(const struct value_reader *reader, const struct key *key, const char *text, void *record,
                        struct value_problem *problem) {
    if (strcmp(text, "stderr") == 0 || strcmp(text, "stdout") == 0) {
        store_text(key, record, keep_text(reader, text));
        return true;
    }
    if (text_begins(text, "file:") && text[strlen("file:")] != 0) {
        store_text(key, record, keep_path(reader, "", text + strlen("file:")));
        return true;
    }
    if (key->type == KEY_ACCESS_TARGET && text_begins(text, "syslog:/")) {
        return read_syslog(reader, key, text, record, problem);
    }
    problem_quote(problem, CODE_TARGET, text, "is no place for a log");
    if (text[0] == '/') {
        return error_set(&problem->hint, "write \"file:%.100s\"", text);
    }
    return problem_hint_type(problem, key);
}

static bool read_mode(const struct key *key, const char *text, void *record, struct value_problem *problem) {
    bool octal = strlen(text) == 4 && text[0] == '0' && text[strspn(text, "01234567")] == 0;
    if (!octal) {
        problem_quote(problem, CODE_MODE, text, "is not a mode");
        return problem_hint_type(problem, key);
    }
    uint64_t mode = 0;
    for (; *text != 0; text++) {
        mode = mode * 8 + (uint64_t)(*text - '0');
    }
    schema_store(key, record, mode);
    return true;
}

/* ---- addresses ---- */

/* The address as it is kept: a relative unix path has become an absolute one. */
static const char *keep_address(const struct value_reader *reader, const char *text) {
    const char *path = text + strlen("unix:");
    if (!text_begins(text, "unix:") || path[0] == '@' || path[0] == 0) {
        return keep_text(reader, text);
    }
    return keep_path(reader, "unix:", path);
}

static bool problem_no_systemd(struct value_problem *problem, const char *text) {
    problem_quote(problem, CODE_UNSUPPORTED, text, "is a socket of systemd, and those are for listeners");
    return error_set(&problem->hint, "write an address");
}

static bool problem_port(struct value_problem *problem, const char *port, unsigned port_min) {
    problem->code = CODE_ADDRESS;
    problem->hint.text[0] = 0;
    return error_set(&problem->message, "%.64s is not a port (%u-65535)", port, port_min);
}

/* `8080`, `10.0.0.1`, `app`. */
static bool problem_no_port(struct value_problem *problem, const char *text, const char *host) {
    if (text[strspn(text, "0123456789")] == 0) {
        problem_quote(problem, CODE_ADDRESS, text, "is not an address");
        return error_set(&problem->hint, "write \"%s:%.100s\"", host, text);
    }
    problem_quote(problem, CODE_ADDRESS, text, "has no port");
    return error_set(&problem->hint, "write \"%.100s:80\", say", text);
}

/* `*:80`, or `:80` of a server. */
static bool problem_any_host(struct value_problem *problem, const struct key *key, const char *text, const char *port) {
    if (key->type == KEY_SERVER) {
        problem_quote(problem, CODE_ADDRESS, text, "does not say which host");
        return error_set(&problem->hint, "write \"127.0.0.1:%.100s\" for this machine", port);
    }
    problem_quote(problem, CODE_ADDRESS, text, "is not an address");
    return error_set(&problem->hint, "write \":%.100s\" for every address of this machine", port);
}

/* `http://10.0.0.1/path`: the address in it, with the port that the scheme stands for. */
static bool problem_url(struct value_problem *problem, const struct key *key, const char *text) {
    const char *host = strstr(text, "://") + strlen("://");
    int host_size = (int)strcspn(host, "/?#");
    const char *bracket = memchr(host, ']', (size_t)host_size);
    const char *name_end = bracket != NULL ? bracket : host;
    bool has_port = memchr(name_end, ':', (size_t)(host + host_size - name_end)) != NULL;
    const char *port = has_port                        ? ""
                       : text_begins(text, "http://")  ? ":80"
                       : text_begins(text, "https://") ? ":443"
                                                       : NULL;
    problem_quote(problem, CODE_ADDRESS, text, "is a URL, and an address is a host and a port");
    if (host_size == 0 || port == NULL) {
        return problem_hint_type(problem, key);
    }
    return error_set(&problem->hint, "write \"%.*s%s\"", host_size < 200 ? host_size : 200, host, port);
}

/* What is wrong with a text that no parser took. */
static bool problem_address(struct value_problem *problem, const struct key *key, const char *text,
                            const struct error *error) {
    bool server = key->type == KEY_SERVER;
    const char *colon = strrchr(text, ':');
    if (text_begins(text, "unix:")) {
        return problem_from(problem, CODE_ADDRESS, error);
    }
    if (text_begins(text, "*:")) {
        return problem_any_host(problem, key, text, text + strlen("*:"));
    }
    if (strstr(text, "://") != NULL) {
        return problem_url(problem, key, text);
    }
    if (colon == NULL && text[0] != 0) {
        return problem_no_port(problem, text, server ? "127.0.0.1" : "");
    }
    bool has_port = colon != NULL && colon > text && (strchr(text, ':') == colon || colon[-1] == ']');
    unsigned port_min = server ? 1 : 0;
    uint64_t port;
    struct error ignored;
    if (has_port && colon[1] != 0 && !units_parse_integer(colon + 1, port_min, UINT16_MAX, &port, &ignored)) {
        return problem_port(problem, colon + 1, port_min);
    }
    problem_quote(problem, CODE_ADDRESS, text, "is not an address");
    return problem_hint_type(problem, key);
}

/* `:8080`: every address of the machine. */
static bool read_bind_any(const char *text, struct config_bind *bind, struct value_problem *problem) {
    uint64_t port;
    struct error error;
    if (!units_parse_integer(text + 1, 0, UINT16_MAX, &port, &error)) {
        return problem_port(problem, text + 1, 0);
    }
    address_any_v6(&bind->address, (uint16_t)port);
    bind->dual_stack = true;
    return true;
}

/* `systemd:web`. What it is known by is no address that anybody else would write. */
static bool read_bind_passed(const struct value_reader *reader, const char *text, struct config_bind *bind,
                             struct value_problem *problem) {
    const char *name = text + strlen("systemd:");
    char known_by[HOST_SIZE];
    struct error error;
    if (!value_is_name(name)) {
        problem_quote(problem, CODE_ADDRESS, text, "has no name of a socket that systemd passes");
        return error_set(&problem->hint, "write \"systemd:\" and " VALUE_NAME_HELP);
    }
    snprintf(known_by, sizeof(known_by), "unix:@%s", text);
    check(address_parse(&bind->address, known_by, false, &error));
    bind->text = keep_text(reader, text);
    bind->socket = bind->text + strlen("systemd:");
    return true;
}

static bool read_bind(const struct value_reader *reader, const struct key *key, const char *text,
                      struct config_bind *bind, struct value_problem *problem) {
    char host[HOST_SIZE];
    uint16_t port;
    struct error error;
    if (text_begins(text, "systemd:")) {
        return read_bind_passed(reader, text, bind, problem);
    }
    const char *kept = keep_address(reader, text);
    if (text[0] == ':' && text[1] != 0 && strchr(text + 1, ':') == NULL) {
        if (!read_bind_any(text, bind, problem)) {
            return false;
        }
    } else if (!address_parse(&bind->address, kept, true, &error)) {
        if (address_split_host(text, host, sizeof(host), &port)) {
            problem_quote(problem, CODE_ADDRESS, text, "is a host name, and a listener needs an IP address");
            return error_set(&problem->hint, "write \":%u\" for every address of this machine", port);
        }
        return problem_address(problem, key, text, &error);
    }
    bind->text = kept;
    return true;
}

static bool read_server(const struct value_reader *reader, const struct key *key, const char *text,
                        struct config_server *server, struct value_problem *problem) {
    char host[HOST_SIZE];
    struct error error;
    if (text_begins(text, "systemd:")) {
        return problem_no_systemd(problem, text);
    }
    if (text[0] == ':' && text[1] != 0) {
        return problem_any_host(problem, key, text, text + 1);
    }
    const char *kept = keep_address(reader, text);
    if (!address_parse(&server->address, kept, false, &error)) {
        if (!address_split_host(text, host, sizeof(host), &server->port)) {
            return problem_address(problem, key, text, &error);
        }
        server->host = keep_text(reader, host);
    }
    server->address_text = kept;
    server->name = server->name != NULL ? server->name : kept;
    return true;
}

/* ---- all types ---- */

bool value_read(const struct value_reader *reader, const struct key *key, const char *text, void *record,
                struct value_problem *problem) {
    check(key->section == NULL);
    if (key->word != NULL && strcmp(text, key->word) == 0) {
        schema_store(key, record, key->word_value);
        return true;
    }
    switch (key->type) {
    case KEY_BOOL:
        return read_bool(key, text, record, problem);
    case KEY_INTEGER:
        return read_integer(key, text, record, problem);
    case KEY_DURATION:
        return read_duration(key, text, record, problem);
    case KEY_SIZE:
        return read_size(key, text, record, problem);
    case KEY_PERCENT:
        return read_percent(key, text, record, problem);
    case KEY_RATE:
    case KEY_BANDWIDTH:
        return read_pace(key, text, record, problem);
    case KEY_WORD:
        return read_word(key, text, record, problem);
    case KEY_TEXT:
        return read_text(reader, key, text, record, problem);
    case KEY_NAME:
        return read_name(reader, key, text, record, problem);
    case KEY_TARGET:
    case KEY_ACCESS_TARGET:
        return read_target(reader, key, text, record, problem);
    case KEY_MODE:
        return read_mode(key, text, record, problem);
    case KEY_BIND:
    case KEY_BIND_PATH:
    case KEY_BIND_IP:
        return read_bind(reader, key, text, record, problem);
    case KEY_SERVER:
        return read_server(reader, key, text, record, problem);
    case KEY_UPSTREAM:
        return true; /* it may be defined further down: resolve.c */
    case KEY_SCRIPT:
        return read_script(reader, text, record, problem);
    case KEY_PATTERN:
        return read_pattern(reader, key, text, record, problem);
    case KEY_CIDRS:
        return read_cidrs(reader, key, text, record, problem);
    case KEY_INCLUDE:
        return read_include(reader, key, text, record, problem);
    case KEY_PARAMS:
    case KEY_SECTION:
    case KEY_LIST:
    case KEY_MAP:
    case KEY_VALUES:
        break;
    }
    return false;
}

void value_read_fallback(struct arena *kept, const struct key *key, void *record) {
    const struct value_reader reader = {.arena = kept, .folder = ""}; /* no fallback is a relative path */
    if (key->fallback != NULL) {
        struct value_problem problem;
        check(value_read(&reader, key, key->fallback, record, &problem));
    } else if (key->size > 0) {
        schema_store(key, record, key->absent);
    }
}

/* In quotes, and so that no variable is seen in it. */
static void write_text(const char *text, struct bytes *out) {
    struct bytes escaped;
    bytes_init(&escaped);
    variables_escape(text, &escaped);
    bytes_append_json(out, escaped.data);
    bytes_finish(&escaped);
}

static void write_target(const char *target, struct bytes *out) {
    if (target[0] != '/') {
        bool is_syslog = strchr(target, ':') != NULL;
        if (is_syslog) {
            write_text(target, out);
        } else {
            bytes_append_text(out, target);
        }
        return;
    }
    struct bytes text;
    bytes_init(&text);
    bytes_printf(&text, "file:%s", target);
    write_text(text.data, out);
    bytes_finish(&text);
}

static void write_duration(const struct key *key, uint64_t value, struct bytes *out) {
    char text[32];
    units_format_duration(value * key->unit_us, text, sizeof(text));
    bytes_append_text(out, text);
}

/* Sizes, rates and bandwidths. */
static void write_number(size_t (*format)(uint64_t, char *, size_t), uint64_t value, struct bytes *out) {
    char text[32];
    format(value, text, sizeof(text));
    bytes_append_text(out, text);
}

static void write_value(const struct key *key, const void *record, const struct config *config, struct bytes *out) {
    check(key->section == NULL);
    switch (key->type) {
    case KEY_BOOL:
        bytes_append_text(out, schema_load(key, record) ? "true" : "false");
        return;
    case KEY_INTEGER:
        bytes_printf(out, "%llu", (unsigned long long)schema_load(key, record));
        return;
    case KEY_DURATION:
        write_duration(key, schema_load(key, record), out);
        return;
    case KEY_SIZE:
        write_number(units_format_size, schema_load(key, record), out);
        return;
    case KEY_RATE:
        write_number(units_format_rate, schema_load(key, record), out);
        return;
    case KEY_BANDWIDTH:
        write_number(units_format_bandwidth, schema_load(key, record), out);
        return;
    case KEY_PERCENT:
        bytes_printf(out, "%llu%%", (unsigned long long)schema_load(key, record));
        return;
    case KEY_WORD:
        bytes_append_text(out, key->words[schema_load(key, record)]);
        return;
    case KEY_TEXT:
    case KEY_NAME:
    case KEY_PATTERN:
    case KEY_CIDRS:
    case KEY_INCLUDE:
        write_text(load_text(key, record), out);
        return;
    case KEY_TARGET:
    case KEY_ACCESS_TARGET:
        write_target(load_text(key, record), out);
        return;
    case KEY_MODE:
        bytes_printf(out, "\"%04llo\"", (unsigned long long)schema_load(key, record));
        return;
    case KEY_BIND:
    case KEY_BIND_PATH:
    case KEY_BIND_IP:
        write_text(((const struct config_bind *)record)->text, out);
        return;
    case KEY_SERVER:
        write_text(((const struct config_server *)record)->address_text, out);
        return;
    case KEY_UPSTREAM:
        write_text(config->upstreams[schema_load(key, record)].name, out);
        return;
    case KEY_SCRIPT:
        write_text(((const struct config_filter *)record)->path, out);
        return;
    case KEY_PARAMS:
    case KEY_SECTION:
    case KEY_LIST:
    case KEY_MAP:
    case KEY_VALUES:
        return;
    }
}

bool value_write(const struct key *key, const void *record, const struct config *config, struct bytes *out) {
    uint64_t stored = key->size > 0 ? schema_load(key, record) : 0;
    bool may_be_absent = key->size > 0 && key->fallback == NULL && (!key->required || key->unless != NULL);
    if (may_be_absent && stored == key->absent) {
        return false;
    }
    if (key->word != NULL && stored == key->word_value) {
        bytes_append_text(out, key->word);
    } else {
        write_value(key, record, config, out);
    }
    return true;
}

/* ---- types in words ---- */

static void describe_range(const struct key *key, struct bytes *out) {
    if (key->type == KEY_PERCENT) {
        bytes_append_text(out, "0% to 100%");
        return;
    }
    if (key->type == KEY_INTEGER) {
        bytes_printf(out, "%llu to %llu", (unsigned long long)key->min, (unsigned long long)key->max);
        return;
    }
    char min[32];
    char max[32];
    size_t (*format)(uint64_t, char *, size_t) = key->type == KEY_SIZE        ? units_format_size
                                                 : key->type == KEY_RATE      ? units_format_rate
                                                 : key->type == KEY_BANDWIDTH ? units_format_bandwidth
                                                                              : units_format_duration;
    format(key->min, min, sizeof(min));
    format(key->max, max, sizeof(max));
    bytes_printf(out, "%s to %s", min, max);
}

static void describe_words(const char *const *words, struct bytes *out) {
    for (size_t index = 0; words[index] != NULL; index++) {
        const char *separator = index == 0 ? "" : words[index + 1] == NULL ? " or " : ", ";
        bytes_printf(out, "%s%s", separator, words[index]);
    }
}

/* Of types that need no more words. */
static const char *const type_texts[] = {
    [KEY_BOOL] = "true or false",
    [KEY_TEXT] = "a name",
    [KEY_NAME] = "a name",
    [KEY_TARGET] = "stderr, stdout or \"file:PATH\"",
    [KEY_ACCESS_TARGET] = "stderr, stdout, \"file:PATH\" or \"syslog:/dev/log\"",
    [KEY_MODE] = "four octal digits like \"0660\"",
    [KEY_BIND] = "\":PORT\", \"IP:PORT\", \"[IPv6]:PORT\", \"unix:PATH\", \"unix:@NAME\" or \"systemd:NAME\"",
    [KEY_BIND_PATH] = "\"unix:PATH\"",
    [KEY_BIND_IP] = "\":PORT\", \"IP:PORT\" or \"[IPv6]:PORT\"",
    [KEY_SERVER] = "\"IP:PORT\", \"[IPv6]:PORT\", \"HOST:PORT\", \"unix:PATH\" or \"unix:@NAME\"",
    [KEY_UPSTREAM] = "an upstream's name or a server's address",
    [KEY_SCRIPT] = "the path of a Lua file",
    [KEY_PATTERN] = "a path with one \"?\" in it, like \"lib/?.lua\"",
    [KEY_CIDRS] = "an IP address, a block like \"10.0.0.0/8\" or \"file:PATH\"",
    [KEY_INCLUDE] = "a path like \"conf.d/*.yaml\"",
    [KEY_PARAMS] = "a section, with keys as the script has them",
    [KEY_SECTION] = "a section",
};

static void describe_type(const struct key *key, struct bytes *out) {
    switch (key->type) {
    case KEY_INTEGER:
    case KEY_DURATION:
    case KEY_SIZE:
    case KEY_RATE:
    case KEY_PERCENT:
    case KEY_BANDWIDTH:
        describe_range(key, out);
        return;
    case KEY_WORD:
        describe_words(key->words, out);
        return;
    case KEY_LIST:
        bytes_printf(out, key->single ? "%s, a section, or a list of them" : "a list, each item %s or a section",
                     key->section->plain);
        return;
    case KEY_VALUES:
        describe_type(key->item, out);
        bytes_append_text(out, "; or a list of such");
        return;
    case KEY_MAP:
        bytes_printf(out, "a map of %s names to sections", key->section->noun);
        return;
    case KEY_BOOL:
    case KEY_TEXT:
    case KEY_NAME:
    case KEY_TARGET:
    case KEY_ACCESS_TARGET:
    case KEY_MODE:
    case KEY_BIND:
    case KEY_BIND_PATH:
    case KEY_BIND_IP:
    case KEY_SERVER:
    case KEY_UPSTREAM:
    case KEY_SCRIPT:
    case KEY_PATTERN:
    case KEY_CIDRS:
    case KEY_INCLUDE:
    case KEY_PARAMS:
    case KEY_SECTION:
        bytes_append_text(out, type_texts[key->type]);
        return;
    }
}

void value_describe(const struct key *key, struct bytes *out) {
    describe_type(key, out);
    if (key->word != NULL) {
        bytes_printf(out, ", or %s", key->word);
    }
}
