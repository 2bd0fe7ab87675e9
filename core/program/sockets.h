/* The listening sockets of the process: one for each worker and address (SO_REUSEPORT), one for all workers where the
 * address is a unix socket. A socket's identity is its address: it outlives the configuration that first named it, and
 * belongs to whichever listener names it now. When there are fewer workers than sockets of an address, some workers
 * accept on several: to close one of them would reset the clients in its queue.
 *
 * A change goes like this, all of it on the control thread:
 *
 *     sockets_prepare   binds what is missing: addresses, and sockets for more workers; nothing listens yet
 *     sockets_listen    who connects to them waits in their queues from here on
 *     sockets_commit    they belong to the new configuration; those that it does not name are left by the workers
 *     sockets_abandon   instead of a commit, at any point before it: closes what was bound
 */
#ifndef MOONRING_PROGRAM_SOCKETS_H
#define MOONRING_PROGRAM_SOCKETS_H

#include "base/error.h"
#include "config/config.h"
#include "program/inherited.h"
#include "program/socket_file.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SOCKET_OF_ALL UINT32_MAX
#define SOCKET_UNNAMED SIZE_MAX

struct listening_socket {
    int fd;          /* ours; -1 once closed */
    uint32_t users;  /* acceptors of workers */
    uint32_t slot;   /* its number among those of its address; SOCKET_OF_ALL: there is one, for every worker */
    size_t listener; /* index in the configuration that is being prepared, or at work; SOCKET_UNNAMED: it does
                      * not name the address */
    uint32_t backlog;
    bool dual_stack;         /* part of its identity */
    bool is_new;             /* of the configuration that is being prepared */
    bool leaving;            /* no configuration names it any more */
    bool is_passed;          /* by systemd: its address, file and rights are not ours */
    struct socket_file file; /* of a unix path */
    struct address named;    /* as the configuration has it */
    struct address address;  /* as bound: with the port that was chosen for 0 */
};

struct sockets {
    struct inherited inherited; /* what systemd has passed */
    pthread_mutex_t lock;       /* guards the array itself, and fd and users, which a worker changes when it leaves */
    struct listening_socket *items; /* ours */
    size_t count;
    struct address metrics[2]; /* where the page of metrics is at work, and where the configuration that is prepared
                                * wants it; all zero: nowhere. To tell who is in the way */
    uint32_t workers;          /* that accept; 0: nothing was committed yet */
    uint32_t workers_next;     /* the same in the configuration that is being prepared */
};

void sockets_init(struct sockets *sockets);
/* Closes what is open, removes unix sockets. */
void sockets_finish(struct sockets *sockets);

/* The error names listener, address, why, and what to do. */
bool sockets_prepare(struct sockets *sockets, const struct config *config, uint32_t workers, struct error *error);
bool sockets_listen(struct sockets *sockets, const struct config *config, struct error *error);
/* Kept sockets get the rights and options of the new configuration. */
void sockets_commit(struct sockets *sockets, const struct config *config);
void sockets_abandon(struct sockets *sockets);

/* What a worker has to do with a socket when the change that was prepared is committed. */
enum socket_duty { DUTY_NONE, DUTY_BEGIN, DUTY_GO_ON, DUTY_HAND_OVER };
enum socket_duty sockets_duty(const struct sockets *sockets, const struct listening_socket *socket, uint32_t worker);

/* To bind the one while somebody listens on the other may fail. False if one is a unix socket's, or none. */
bool addresses_overlap(const struct address *a, const struct address *b);
/* A listener has, or had until just now, a socket that may be in the way of that address. */
bool sockets_overlap(const struct sockets *sockets, const struct address *address);

/* An acceptor on it has ended; the last one of an address that is left closes it. True: others accept on it still. Any
 * thread. */
bool sockets_leave(struct sockets *sockets, int fd);

#endif
