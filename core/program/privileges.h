/* Who the process is. A moonring that is started as root becomes process.user before it binds, opens logs or makes
 * rings: a ring keeps the credentials of its maker for ever, and a reload must be able to bind and reopen with the
 * rights that it will have then. One right stays, on the control thread only: to bind ports below 1024. */
#ifndef MOONRING_PROGRAM_PRIVILEGES_H
#define MOONRING_PROGRAM_PRIVILEGES_H

#include "base/error.h"

#include <stdbool.h>

/* Becomes `user`, "name" or "name:group" (alone: the user's own groups), for good: no later exec gets rights back.
 * The calling thread keeps CAP_NET_BIND_SERVICE where it had it; the process may lock any amount of memory, which is
 * what rings of an ordinary user count as. To be called before there is another thread. Does
 * nothing when the process is that user already; otherwise only root can. After a failure the process must end. */
bool privileges_drop(const char *user, struct error *error);

/* Takes every capability from the calling thread: for each thread but the control thread. */
bool privileges_drop_thread(struct error *error);

/* What to tell somebody who runs as root without process.user; NULL when the process is not root. */
const char *privileges_warning(void);

#endif
