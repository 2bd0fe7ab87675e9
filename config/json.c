#include "config/json.h"

enum { INDENTATION = 2 };

static void begin_line(struct json *json) {
    bytes_printf(json->out, "\n%*s", (int)json->depth * INDENTATION, "");
}

static void begin_value(struct json *json, const char *name) {
    bytes_append_text(json->out, json->comma ? "," : "");
    if (json->depth > 0) {
        begin_line(json);
    }
    if (name != NULL) {
        bytes_printf(json->out, "\"%s\": ", name);
    }
    json->comma = true;
}

void json_begin(struct json *json, const char *name, char bracket) {
    begin_value(json, name);
    bytes_append_char(json->out, bracket);
    json->depth++;
    json->comma = false;
}

void json_end(struct json *json, char bracket) {
    bool empty = !json->comma;
    json->depth--;
    json->comma = true;
    if (!empty) {
        begin_line(json);
    }
    bytes_append_char(json->out, bracket);
}

void json_text(struct json *json, const char *name, const char *text) {
    begin_value(json, name);
    bytes_append_json(json->out, text);
}

void json_number(struct json *json, const char *name, uint64_t number) {
    begin_value(json, name);
    bytes_printf(json->out, "%llu", (unsigned long long)number);
}

void json_bool(struct json *json, const char *name, bool value) {
    begin_value(json, name);
    bytes_append_text(json->out, value ? "true" : "false");
}
