/* Single values between their text and their place in a struct, as the schema's row has them. */
#ifndef MOONRING_CONFIG_VALUE_H
#define MOONRING_CONFIG_VALUE_H

#include "base/bytes.h"
#include "base/error.h"
#include "config/arena.h"
#include "config/codes.h"
#include "config/schema.h"

/* What values need to know beside their text. */
struct value_reader {
    struct arena *arena; /* of the texts that are kept */
    const char *folder;  /* absolute; where relative paths start: that of the file in which the value stands */
};

enum {
    VALUE_TEXT_SIZE_MAX = 263,  /* an address may be a name: that of a host has up to 255 bytes */
    VALUE_PATH_SIZE_MAX = 4095, /* Linux takes no longer ones */
};

/* Names that we give stand in logs and metrics, where other characters would need quotes. */
#define VALUE_NAME_HELP "1 to 64 of: letters, digits, _ - . (neither - nor . in front)"
bool value_is_name(const char *text);

/* What is wrong with a value. */
struct value_problem {
    enum code code;
    struct error message;
    struct error hint; /* what to write; "": nothing to propose */
};

/* Reads a plain value, of a type other than section, list, map, values and params, into the struct `record`. */
bool value_read(const struct value_reader *reader, const struct key *key, const char *text, void *record,
                struct value_problem *problem);

/* Stores what holds when the key is left out. */
void value_read_fallback(struct arena *kept, const struct key *key, void *record);

/* Appends the value as YAML that value_read reads. `config` is the whole that `record` is a part of. Returns false, and
 * appends nothing, when the key is one that was left out and has no value. */
bool value_write(const struct key *key, const void *record, const struct config *config, struct bytes *out);

/* Appends what values of the key look like: `1 to 1000, or off`. */
void value_describe(const struct key *key, struct bytes *out);

#endif
