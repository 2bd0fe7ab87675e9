/* YAML as a tree: what is written, where it is written, and nothing about what it means. Aliases share nodes; merge
 * keys (`<<`) have been carried out. */
#ifndef MOONRING_CONFIG_NODE_H
#define MOONRING_CONFIG_NODE_H

#include "config/findings.h"

#include <stdbool.h>
#include <stddef.h>

enum node_kind { NODE_SCALAR, NODE_LIST, NODE_MAP };

struct node_entry;

struct node {
    enum node_kind kind;
    bool quoted;      /* a scalar in quotes, or a block scalar */
    bool replaced;    /* a scalar with the value of a variable in it */
    bool wrong;       /* a scalar that is reported already, and empty since */
    bool open;        /* its end is not read yet: an alias to it would be a cycle */
    struct span span; /* of a block map or list: up to the next key */
    const char *text; /* of a scalar */
    struct node_entry *entries;
    size_t entries_count;
    size_t entries_capacity;
    size_t weight; /* this node and all below it, what aliases repeat counted each time */
    size_t height; /* lists and maps inside one another, this one included; 0: a scalar */
};

struct node_entry {
    struct node *key; /* a scalar; NULL in a list */
    struct node *value;
};

void node_append(struct node *node, struct node *key, struct node *value, struct arena *arena);

/* A map without entries, at this place. */
struct node *node_make_map(struct span span, struct arena *arena);

/* To be called when all entries of a map are there: reports keys that are there twice and drops the later one, and
 * replaces `<<` by the keys of the maps it names that the map does not have itself. */
void node_settle_map(struct node *map, struct arena *arena, struct findings *findings);

/* Says that a key is there a second time. */
void node_report_duplicate(const struct node *again, const struct node *first, struct findings *findings);

/* The entry of a key; NULL when there is none, or node is NULL or no map. */
const struct node_entry *node_entry(const struct node *node, const char *key);
/* Its value, or NULL. */
const struct node *node_child(const struct node *node, const char *key);

/* The items of a list; another node is a list of one, NULL one of none. */
size_t node_items_count(const struct node *node);
const struct node *node_item(const struct node *node, size_t index);

/* Nothing stands behind the key. */
bool node_is_empty(const struct node *node);

/* A kind in words: `a list`. */
const char *node_kind_name(enum node_kind kind);

#endif
