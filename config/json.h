/* JSON, written piece by piece and indented. */
#ifndef MOONRING_CONFIG_JSON_H
#define MOONRING_CONFIG_JSON_H

#include "base/bytes.h"

#include <stdbool.h>
#include <stdint.h>

struct json {
    struct bytes *out;
    unsigned depth;
    bool comma; /* something stands before what comes next in the same object or array */
};

/* Every function takes the name under which its value stands; NULL in arrays, and for the whole. Names need no escape.
 */

/* What is written until json_end belongs into it: an object for `{`, an array for `[`. */
void json_begin(struct json *json, const char *name, char bracket);
/* With the bracket that closes it. */
void json_end(struct json *json, char bracket);

void json_text(struct json *json, const char *name, const char *text);
void json_number(struct json *json, const char *name, uint64_t number);
void json_bool(struct json *json, const char *name, bool value);

#endif
