/* The one table of the configuration's keys. It parses, checks, fills in what is left out, writes out and documents:
 * a new key is a new row. */
#ifndef MOONRING_CONFIG_SCHEMA_H
#define MOONRING_CONFIG_SCHEMA_H

#include "config/config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the table fills: the configuration, and what only loading needs. */
struct config_root {
    struct config config;
    struct {
        struct config_timeouts timeouts;
        struct config_tcp tcp;
    } defaults;
    const char *const *includes;
    size_t includes_count;
};

enum key_type {
    KEY_BOOL,
    KEY_INTEGER,
    KEY_DURATION,
    KEY_SIZE,          /* in bytes */
    KEY_PERCENT,       /* 0 to 100 */
    KEY_RATE,          /* of events, per hour */
    KEY_BANDWIDTH,     /* in bytes a second */
    KEY_WORD,          /* one of `words`, stored as its index */
    KEY_TEXT,          /* a name that the system has, or an address */
    KEY_NAME,          /* a name that we give: value_is_name */
    KEY_TARGET,        /* of a log; stored as stderr, stdout or an absolute path */
    KEY_ACCESS_TARGET, /* the same, or syslog:PATH */
    KEY_MODE,          /* of a file: "0660" */
    KEY_BIND,          /* fills a struct config_bind */
    KEY_BIND_PATH,     /* the same; only a unix path */
    KEY_BIND_IP,       /* the same; only an IP address */
    KEY_SERVER,        /* fills a struct config_server */
    KEY_UPSTREAM,      /* a name or an address; resolve.h makes it an index */
    KEY_SCRIPT,        /* a path; fills a struct config_filter */
    KEY_PATTERN,       /* a path with one `?`; stored absolute */
    KEY_CIDRS,         /* a block of IP addresses, or `file:PATH` of a list; stored as text: admission.h reads it */
    KEY_INCLUDE,       /* a path, wildcards in its last part: include.h reads it */
    KEY_PARAMS,        /* a map of anything; fills a struct config_value */
    KEY_SECTION,
    KEY_LIST,   /* of sections; its items stand in an array */
    KEY_MAP,    /* of names to sections; the same */
    KEY_VALUES, /* of plain values, each as the row `item` has it; the same */
};

/* A row. Offsets count from the struct of the section in which the key stands. */
struct key {
    const char *name; /* NULL: the end of the table */
    enum key_type type;
    bool required;
    const char *unless; /* a required key may be left out where this other one is */
    size_t offset;      /* of the value, or of a list's or map's array */
    size_t size;        /* of the value: 1, 4 or 8 bytes */

    uint64_t min; /* of integers, of sizes, of rates, and of durations in microseconds */
    uint64_t max;
    uint64_t unit_us;         /* what a stored duration counts */
    const char *const *words; /* of KEY_WORD, NULL ends them */

    const char *word; /* a word that may stand instead: `off`, `auto` */
    uint64_t word_value;
    const char *word_warning; /* what it means when somebody writes it; NULL: nothing to warn about */

    const char *fallback; /* the value when the key is left out, as it would be written; NULL: `absent` is stored */
    uint64_t absent;

    const struct section *section; /* of KEY_SECTION, KEY_LIST, KEY_MAP */
    const struct key *item;        /* of KEY_VALUES: its value fills an item of the array */
    size_t base;                   /* where that section's struct begins (KEY_SECTION) */
    size_t count_offset;           /* of the number of items, a size_t */
    bool single;                   /* a list of one may be written without brackets */
    size_t inherits;               /* offset in struct config_root of the values that hold when left out; 0: none */
    bool fixed;                    /* a running process cannot change it: a reload that would is refused */
    bool only_read;                /* what it says stands elsewhere after loading */
    const char *like;              /* documented there: the same keys */

    const char *help;
};

struct section {
    const char *noun;      /* of an item: "listener" */
    size_t size;           /* of its struct; of an item, which begins with a struct config_place */
    size_t name_offset;    /* of the text that an item is known by, also across reloads */
    bool is_ordered;       /* a list whose order matters */
    const char *shorthand; /* in lists: a plain value stands for a section with this key alone */
    const char *plain;     /* what that plain value is: "an address" */
    const struct key *keys;
    bool (*is_written)(const void *record); /* false: the item follows from other keys; NULL: always true */
};

extern const struct section config_section; /* the whole file; fills a struct config_root */
extern const struct section upstream_section;
extern const struct section server_section;

const struct key *schema_find(const struct section *section, const char *name);

/* Reads and writes the value of a key in a struct, as its size says. */
uint64_t schema_load(const struct key *key, const void *record);
void schema_store(const struct key *key, void *record, uint64_t value);

#endif
