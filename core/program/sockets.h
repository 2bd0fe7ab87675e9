/* The listening sockets of the process: one for each worker and address (SO_REUSEPORT), one for all workers where the
 * address is a unix socket. */
#ifndef MOONRING_PROGRAM_SOCKETS_H
#define MOONRING_PROGRAM_SOCKETS_H

#include "base/error.h"
#include "config/config.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct listening_socket {
    _Atomic int fd;  /* ours; -1 once closed */
    size_t listener; /* index in the configuration */
    uint32_t worker; /* who accepts on it; SOCKET_OF_ALL: every worker */
    uint32_t backlog;
    _Atomic uint32_t users; /* workers that accept on it */
    bool first;             /* of its address: the one that messages name */
    bool owns_path;         /* a unix socket: remove it at the end, if it is still the one that we made */
    dev_t device;
    ino_t inode;
    struct address address; /* as bound: with the port that was chosen for 0 */
};

#define SOCKET_OF_ALL UINT32_MAX

struct sockets {
    struct listening_socket *items; /* ours */
    size_t count;
};

/* Binds every address of the configuration. Nothing listens yet. The error names listener, address, why, and what to
 * do. */
bool sockets_bind(struct sockets *sockets, const struct config *config, uint32_t workers, struct error *error);
/* From here on clients may connect. */
bool sockets_listen(struct sockets *sockets, const struct config *config, struct error *error);
/* A worker accepts on it no more; the last one closes it. Any thread. */
void sockets_leave(struct sockets *sockets, int fd);
/* Closes what is open, removes unix sockets. */
void sockets_finish(struct sockets *sockets);

#endif
