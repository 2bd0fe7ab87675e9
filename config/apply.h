/* A tree of nodes -> the struct, as the schema has it. Reports every key and value that is wrong, and goes on. */
#ifndef MOONRING_CONFIG_APPLY_H
#define MOONRING_CONFIG_APPLY_H

#include "config/node.h"
#include "config/schema.h"
#include "config/value.h"

struct apply {
    struct arena *kept; /* has what the configuration keeps */
    struct findings *findings;
    struct config_root *root;
};

/* Fills apply->root from the whole tree. Items of lists and maps are as many and in the same order as their nodes,
 * also where errors were found in them. */
void apply_tree(struct apply *apply, const struct node *tree);

/* Sets every value of a section to what holds when nothing is written. */
void apply_fallbacks(struct apply *apply, const struct section *section, void *record);

/* value_read of what stands in a node. */
bool apply_value(struct apply *apply, const struct key *key, const struct node *node, void *record,
                 struct value_problem *problem);

struct config_place apply_place(const struct apply *apply, const struct node *node);

#endif
