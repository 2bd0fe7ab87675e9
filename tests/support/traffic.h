/* Many sessions at once, driven by one thread: both ends of each play a script, and when it is over it is judged from
 * what they saw. What does not hold fails the test.
 *
 *   - What a side received is the beginning of what the other one sent: checked byte by byte as it comes.
 *   - An orderly end came behind all bytes, and only from a side that ended in order. (Unix sockets know no reset:
 *     there a cut looks like an end, and is not held against anybody.)
 *   - A reset came only from a side that cut, and behind everything that had left that side's kernel before.
 *   - Nothing stands still for DEADLINE_MS. */
#ifndef MOONRING_TESTS_TRAFFIC_H
#define MOONRING_TESTS_TRAFFIC_H

#include "tests/support/peer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pollfd;

enum script_end {
    ENDS_WITH_FIN,   /* behind its bytes; then it reads until the other side has ended */
    ENDS_WITH_CLOSE, /* a cut where something is unread or still comes, else an end */
    ENDS_WITH_RESET, /* a cut; on a unix socket the same as a close */
};

#define ENDLESS UINT64_MAX

/* What one side does. */
struct script {
    uint64_t send_size;   /* bytes of its pattern that it sends before it ends; ENDLESS: until traffic_come_to_an_end */
    uint64_t receive_max; /* where it cuts: it also ends when it has received so many; ENDLESS: never for that */
    uint32_t delay_ms;    /* before it sends or receives */
    uint32_t write_size;  /* with each write; 64 KiB at the most */
    uint32_t write_pause_ms;
    uint32_t read_size; /* with each read; 64 KiB at the most */
    uint32_t read_pause_ms;
    enum script_end end;
};

enum seen { SEEN_NOTHING, SEEN_FIN, SEEN_RESET };

struct side {
    struct peer peer; /* fd -1: not there yet, or gone */
    struct script script;
    bool is_unix;
    bool ended;    /* it sends no more */
    bool broken;   /* a send failed: what is still to be read is followed by a reset, whatever the kernel calls it */
    bool gone;     /* closed */
    uint64_t kept; /* what its kernel still had to send when it left */
    enum seen seen;
    uint64_t begin_ms;
    uint64_t write_at_ms;
    uint64_t read_at_ms;
};

struct session {
    uint64_t number; /* from 1; 0: this place is free */
    struct side client;
    struct side server;
    bool has_server;
    bool wants_server;
    uint64_t client_gone_ms;
};

struct traffic {
    struct session *sessions; /* ours */
    size_t sessions_max;
    size_t active;
    struct peer_listener *listeners; /* where servers accept; not ours */
    size_t listeners_count;
    int *strangers;       /* ours: accepted, and their session is not known yet; -1: free */
    struct pollfd *polls; /* ours */
    uint64_t opened;
    uint64_t bytes; /* received by both sides of all sessions */
    uint64_t moved_ms;
};

void traffic_init(struct traffic *traffic, size_t sessions_max, struct peer_listener *listeners,
                  size_t listeners_count);
/* No session may be active. */
void traffic_finish(struct traffic *traffic);
bool traffic_has_room(const struct traffic *traffic);

/* Connects a client to `address`; there must be room. The client first tells its number, by which the server that comes
 * out on the other side is known. `server` NULL: no server is to be reached, whatever end that is for the client. */
void traffic_open(struct traffic *traffic, const char *address, const struct script *client,
                  const struct script *server);
/* Lets everything move that can within the time, and forgets the sessions that are over. */
void traffic_turn(struct traffic *traffic, int milliseconds);
/* Turns until every session is over. None may be endless. */
void traffic_run(struct traffic *traffic);
/* Sides that would send for ever end now. */
void traffic_come_to_an_end(struct traffic *traffic);

#endif
