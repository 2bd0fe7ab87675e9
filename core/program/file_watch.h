/* Notices when files get another content, however that is done: written in place, replaced by a rename, or by a
 * symbolic link on the way to them that leads elsewhere (as Kubernetes does it). What matters is the content: a file
 * that is touched, or written as it was, is no news. All of it on the control thread. */
#ifndef MOONRING_PROGRAM_FILE_WATCH_H
#define MOONRING_PROGRAM_FILE_WATCH_H

#include "base/error.h"
#include "config/config.h"
#include "program/fingerprint.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A name in a folder that is watched. */
struct watched_name {
    int folder; /* inotify's number of it */
    char *name; /* ours */
    bool is_pattern;
};

struct file_watch {
    int fd;                     /* ours, inotify's; -1: nothing is watched */
    struct watched_name *names; /* ours */
    size_t names_count;
    struct config_file *files; /* ours, with their texts: what is to be noticed */
    size_t files_count;
    struct fingerprints known; /* what was in them when they were read last */
    uint64_t first_event_ms;   /* of those that have not been looked into; 0: there is none */
    char *news;                /* ours; the last path that was told */
    uint64_t due_ms;           /* when to look into them; UINT64_MAX: no need */
};

void file_watch_init(struct file_watch *watch);
void file_watch_finish(struct file_watch *watch);

/* Goes on with these files, and those that it watches already if `more`. What is in them counts as known, where it is
 * not known already. False: the error says why, and nothing is watched. */
bool file_watch_set(struct file_watch *watch, const struct config_file *files, size_t files_count, bool more,
                    uint64_t now_ms, struct error *error);
/* What is in the files now is known: to be called before they are read. */
void file_watch_know(struct file_watch *watch);
/* The same of files that are to be watched next, where it is not known already. */
void file_watch_learn(struct file_watch *watch, const struct fingerprints *files);

/* There is something to read. */
void file_watch_read(struct file_watch *watch, uint64_t now_ms);
/* It is time to look, since nothing has moved for a moment, and there is news. The path: of a file that has changed; it
 * is valid until the next call. NULL: there is none. */
const char *file_watch_news(struct file_watch *watch, uint64_t now_ms);

#endif
