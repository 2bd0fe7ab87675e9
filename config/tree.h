/* YAML text -> nodes, with limits for texts that were made to do harm. */
#ifndef MOONRING_CONFIG_TREE_H
#define MOONRING_CONFIG_TREE_H

#include "config/node.h"

enum {
    TREE_SIZE_MAX = 4 << 20,      /* of all sources of one reader, in bytes */
    TREE_TEXT_SIZE_MAX = 1 << 20, /* of one scalar */
};

struct tree_reader;

/* The arena and the findings must outlive it. NULL: no memory. */
struct tree_reader *tree_reader_create(struct arena *arena, struct findings *findings);
/* To be called also after a jump out of the arena. NULL is fine. */
void tree_reader_destroy(struct tree_reader *reader);

/* Reads one source, which must live as long as the nodes. Returns NULL when it cannot be understood: why is reported.
 * Nothing but comments is a map without keys. Limits count all sources of a reader together; anchors end with theirs.
 */
const struct node *tree_read(struct tree_reader *reader, const struct source *source);

#endif
