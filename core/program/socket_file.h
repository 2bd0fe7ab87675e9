/* The file of a unix socket: who finds one that nobody listens on any more takes its place, and removes what he has
 * made. */
#ifndef MOONRING_PROGRAM_SOCKET_FILE_H
#define MOONRING_PROGRAM_SOCKET_FILE_H

#include "base/error.h"
#include "config/config.h"
#include "engine/ring.h"

#include <stdbool.h>
#include <sys/types.h>

struct socket_file {
    bool is_ours;
    dev_t device;
    ino_t inode;
};

/* True for a unix address with a path. */
bool address_has_path(const struct address *address);

/* kernel_bind; where a file is in the way that belongs to nobody, it is removed. */
int socket_file_bind(int fd, const struct address *address, const struct kernel_listen_options *options);
/* It is ours; gives it the mode (CONFIG_MODE_DEFAULT: as umask has it) and the group (NULL: the process') that it is to
 * have. Nobody can connect before listen(2), so the rights are in place in time. */
bool socket_file_set_rights(struct socket_file *file, const struct address *address, uint32_t mode, const char *group,
                            struct error *error);
/* Could that group be set for a file that is ours? For a change that is prepared. */
bool socket_file_can_have(const struct address *address, const char *group, struct error *error);
/* Is it the one that the path leads to? Two paths may lead to one file. */
bool socket_file_is_at(const struct socket_file *file, const struct address *address);
/* If it is still the one that we have made: another program may have replaced it since. */
void socket_file_remove(struct socket_file *file, const struct address *address);

#endif
