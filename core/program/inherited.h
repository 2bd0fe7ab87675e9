/* Listening sockets that systemd has opened for us (socket activation): `bind: systemd:NAME`. They are known by the
 * names that FileDescriptorName= gives them; several may have the same one. */
#ifndef MOONRING_PROGRAM_INHERITED_H
#define MOONRING_PROGRAM_INHERITED_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

enum { INHERITED_MAX = 256 };

struct inherited {
    size_t count;
    char *names; /* ours; one behind the other, each with its 0 */
};

/* Reads the environment, once, while there is no other thread. They stay open as long as the process lives: a socket
 * that a reload drops may be wanted again by the next one. */
void inherited_init(struct inherited *inherited);
void inherited_finish(struct inherited *inherited);

/* A descriptor of the next socket with that name, for the caller to close; *at is 0 at first. -1: there are no more. */
int inherited_next(const struct inherited *inherited, const char *name, size_t *at);
/* Says that there is none of that name, and which there are. Returns false. */
bool inherited_explain(const struct inherited *inherited, const char *name, struct error *error);

#endif
