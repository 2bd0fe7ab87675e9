/* The admin socket: whoever may open it (its file's mode says who) tells the running process what to do. A client sends
 * one line, an order: words separated by tabs, as behind `moonring ctl`. It gets a line that begins with `moonring `,
 * what there is to say, and, as the last line, `exit ` and the exit status that `moonring ctl` is to have; an answer
 * without that is not whole. Everything is bounded: clients, their lines, their time, and what waits to be sent. All of
 * it on the control thread, which never waits for a client. */
#ifndef MOONRING_PROGRAM_ADMIN_H
#define MOONRING_PROGRAM_ADMIN_H

#include "base/bytes.h"
#include "base/error.h"
#include "config/config.h"
#include "program/socket_file.h"

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ADMIN_ADDRESS_DEFAULT "unix:/run/moonring/admin.sock" /* where `moonring ctl` looks */

/* The first and the last line of an answer begin with these. */
#define ADMIN_BEGIN "moonring "
#define ADMIN_END "exit "

enum { ADMIN_CLIENTS_MAX = 16, ADMIN_LINE_MAX = 1024, ADMIN_POLLS_MAX = ADMIN_CLIENTS_MAX + 1 };

/* Who asks, for the log. */
struct admin_peer {
    uint32_t user;
    uint32_t process;
};

/* Exit statuses; and, instead of one: this was not all; this cannot be done now (and nothing was). */
enum { ADMIN_DONE = 0, ADMIN_REFUSED = 2, ADMIN_GOES_ON = -1, ADMIN_LATER = -2 };

/* Who knows the orders. `client` is the number of the client's place, the same up to the end of its answer. */
struct admin_service {
    /* Does what the line says (it may be cut up), appends the answer, and returns the exit status, ADMIN_GOES_ON or
     * ADMIN_LATER: then it is asked again soon. It may give the other clients turns meanwhile (admin_turn). */
    int (*obey)(void *argument, size_t client, char *line, const struct admin_peer *peer, struct bytes *answer);
    /* All that was appended has been sent: appends more. */
    int (*go_on)(void *argument, size_t client, struct bytes *answer);
    /* The client has gone before the end. */
    void (*forget)(void *argument, size_t client);
    void *argument;
};

struct admin_client {
    int fd; /* ours; -1: this place is free */
    struct admin_peer peer;
    char line[ADMIN_LINE_MAX];
    size_t line_size;
    struct bytes answer;
    size_t sent;
    bool answers;      /* the line is there */
    bool waits;        /* the line is there, and could not be obeyed yet */
    bool goes_on;      /* what is in `answer` is not the end of it */
    uint64_t until_ms; /* it has moved by then, or is given up */
};

struct admin_socket {
    int fd; /* ours; -1: none */
    struct address address;
    struct socket_file file;
};

struct admin {
    struct admin_socket socket;
    struct admin_socket next; /* from admin_prepare on */
    bool prepared;
    uint64_t accept_at_ms; /* not before; 0: at any time */
    struct admin_client clients[ADMIN_CLIENTS_MAX];
    const struct admin_client *obeyed; /* at the moment; NULL: none */
    uint64_t turns;
    struct admin_service service;
};

void admin_init(struct admin *admin, const struct admin_service *service);
void admin_finish(struct admin *admin);

/* The socket that the configuration names, in two steps, of which the first may fail and the second, one of the other
 * two, cannot. The one that is there stays if it is the same. */
bool admin_prepare(struct admin *admin, const struct config_admin *config, struct error *error);
void admin_commit(struct admin *admin, const struct config_admin *config);
void admin_abandon(struct admin *admin);

/* Some client has not got all of its answer. */
bool admin_is_answering(const struct admin *admin);
/* Fills in what to wait for; returns how many. *until_ms becomes the time at which admin_turn is due anyway, if that is
 * earlier. */
size_t admin_poll(const struct admin *admin, struct pollfd polls[static ADMIN_POLLS_MAX], uint64_t *until_ms);
/* Serves those that were waited for, in the same order. */
void admin_turn(struct admin *admin, const struct pollfd *polls, size_t count, uint64_t now_ms);

#endif
