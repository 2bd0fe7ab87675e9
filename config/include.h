/* Other files that belong to a configuration: what the key `include` of its main file names. */
#ifndef MOONRING_CONFIG_INCLUDE_H
#define MOONRING_CONFIG_INCLUDE_H

#include "config/config.h"
#include "config/node.h"

#include <dirent.h>
#include <sys/types.h>

enum { INCLUDES_MAX = 1000 };

/* A file that is to be read. */
struct include {
    const struct node *pattern; /* what named it */
    const char *path;           /* absolute */
    const char *name;           /* for messages and places: as the main file's is */
    dev_t device;
    ino_t number;
};

struct includes {
    const struct source *main;
    struct findings *findings; /* its arena has what is needed only while loading */
    struct arena *kept;        /* has what the configuration keeps */
    struct include *list;      /* in the order in which they are read */
    size_t count;
    size_t capacity;
    struct config_file *files; /* what is to be watched; the kept arena's */
    size_t files_count;
    size_t files_capacity;
    DIR *folder; /* open only while it is read */
};

/* Takes no memory yet. */
void includes_init(struct includes *includes, const struct source *main, struct findings *findings, struct arena *kept);
/* To be called also after a jump out of an arena. */
void includes_finish(struct includes *includes);

/* Finds the files that the main file's tree names, those of one pattern in the order of their names. False: what
 * they are cannot be understood (which is reported where all keys are), or some cannot be found, are there twice, or
 * are too many; that is reported. */
bool includes_find(struct includes *includes, const struct node *tree);

/* Adds a file to those that are to be watched. */
void includes_watch(struct includes *includes, const char *path, const char *pattern);

/* Only the name of the file, not those of the folders, may have wildcards. */
bool include_is_allowed(const char *pattern);

/* A copy of the tree to which others can be joined. */
struct node *include_copy(const struct node *tree, struct arena *arena);
/* Adds the keys of an included file. Maps that both have, like `listeners`, become one. */
void include_join(struct node *whole, const struct node *added, struct findings *findings);
/* To be called once all are joined: reports what is there twice, as node_settle_map does. */
void include_settle(struct node *whole, struct findings *findings);

#endif
