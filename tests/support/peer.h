/* Scripted peers: the clients and servers on both sides of moonring. A call that cannot do what it says within
 * DEADLINE_MS fails the test and tells which peer wanted what. */
#ifndef MOONRING_TESTS_PEER_H
#define MOONRING_TESTS_PEER_H

#include "base/address.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* --- listening --------------------------------------------------------------------------------------------------- */

struct peer_listener {
    int fd;
    char address[ADDRESS_TEXT_MAX]; /* with the port that it got */
};

/* Addresses are written as in the configuration; port 0 takes a free one. */
void peer_listen(struct peer_listener *listener, const char *address);
/* Takes the port but does not listen: connecting is refused until peer_listener_open. */
void peer_refuse(struct peer_listener *listener, const char *address);
void peer_listener_open(struct peer_listener *listener);
/* Listens with an accept queue that is full: connecting hangs until peer_listener_unblock. */
void peer_blackhole(struct peer_listener *listener);
/* Empties the queue: a client that knocks again (after a second) gets in. */
void peer_listener_unblock(struct peer_listener *listener);
/* Resets who was not accepted; connecting is refused from now on. */
void peer_listener_close(struct peer_listener *listener);
/* For servers that cannot be told to take any port: one that is free now, outside the range that clients get, and that
 * no other test gets before this one is over. */
uint16_t peer_free_port(void);
/* Waits until a server that was started accepts connections. */
void peer_wait_for_server(const char *address);
/* True when a connection waits to be accepted or comes within the time. */
bool peer_listener_has_client(const struct peer_listener *listener, int milliseconds);

/* --- one peer ---------------------------------------------------------------------------------------------------- */

struct peer {
    int fd;
    const char *name;        /* "client" or "server", for failures */
    uint64_t send_stream;    /* the pattern that it sends, */
    uint64_t sent;           /* from this offset on */
    uint64_t receive_stream; /* the pattern that it expects, */
    uint64_t received;       /* from this offset on */
};

void peer_connect(struct peer *client, const char *address);
/* Connects a socket that was given options or a name before. */
void peer_connect_socket(struct peer *client, int fd, const char *address);
/* 0 or the errno of connect(2). Where it is 0 the client is connected. */
int peer_try_connect(struct peer *client, const char *address);
void peer_accept(struct peer *server, const struct peer_listener *listener);

void peer_send(struct peer *peer, const char *text);
void peer_expect(struct peer *peer, const char *text);

/* Sends the next bytes of the peer's pattern, waiting while the socket takes none. */
void peer_send_pattern(struct peer *peer, size_t size);
/* Sends at most `size` bytes of the pattern, until the socket has taken none for 200 ms. Returns what it took. */
size_t peer_send_until_stuck(struct peer *peer, size_t size);
void peer_expect_pattern(struct peer *peer, size_t size);
/* Reads the pattern to the end of the stream, which must be a reset. Returns how much came before. */
size_t peer_expect_pattern_until_reset(struct peer *peer);
/* Bytes that were sent and that the kernel on the other side has not taken yet. */
size_t peer_unsent(const struct peer *peer);

/* No byte is left: a FIN. */
void peer_expect_end(struct peer *peer);
/* Bytes that were not read are dropped: a RST comes behind them. Unix sockets, which know no RST: any end. */
void peer_expect_reset(struct peer *peer);
/* A FIN or a RST, whatever came before. */
void peer_expect_closed(struct peer *peer);
/* Nothing comes and the connection stays for so long. */
void peer_expect_silence(struct peer *peer, int milliseconds);

/* Sends a FIN behind what was sent; receiving goes on. */
void peer_end(struct peer *peer);
/* Closes with a RST that drops what is still unsent. */
void peer_reset(struct peer *peer);
void peer_close(struct peer *peer);

/* --- a session: the client and the server that talk through moonring --------------------------------------------- */

struct pair {
    struct peer client;
    struct peer server;
};

/* Connects a client to `address` and accepts the server's side of it at `listener`; gives both patterns of their own.
 */
void pair_open(struct pair *pair, const char *address, const struct peer_listener *listener);
/* The same for a client that has connected. */
void pair_accept(struct pair *pair, const struct peer_listener *listener);
/* The client sends `size` bytes of pattern, the server answers with as many, and each arrives whole. */
void pair_exchange(struct pair *pair, size_t size);
void pair_close(struct pair *pair);

/* What one peer is to do while others do theirs. */
struct transfer {
    struct peer *peer;
    uint64_t send;    /* bytes of pattern still to send */
    uint64_t expect;  /* bytes of pattern still to receive */
    size_t send_size; /* so many with each write, 1 MiB at the most; 0: 64 KiB */
    size_t read_size; /* so many with each read, 64 KiB at the most; 0: 64 KiB */
};

/* Drives all transfers at once until each is complete. Fails the test when nothing moves for DEADLINE_MS. */
void transfers_run(struct transfer *transfers, size_t count);
/* Drives them until nothing has moved for 200 ms; what is left to do stays in them. */
void transfers_run_until_stuck(struct transfer *transfers, size_t count);
/* Moves `size` bytes of pattern one way, whatever lies between the two. */
void peer_relay(struct peer *from, struct peer *to, size_t size);

#endif
