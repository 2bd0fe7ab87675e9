/* Connections of the world: two ends, and a way for bytes in each direction that holds only so much. What happens when
 * an end is shut, closed or reset follows Linux, which conformance_test.c proves. */
#ifndef MOONRING_SIMULATE_STREAM_H
#define MOONRING_SIMULATE_STREAM_H

#include "base/address.h"
#include "base/list.h"
#include "event.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct world;
struct stream;
struct passage;

/* What is on its way to one end: first the bytes that arrived there (its receive queue), then those that did not yet
 * (the other end's send queue). */
struct way {
    char *bytes; /* ours; a circle */
    uint32_t capacity;
    uint32_t head;
    uint32_t arrived; /* the first of `size` */
    uint32_t size;
    uint32_t send_window;
    uint32_t receive_window;
    bool fin; /* stands behind the bytes */
    bool fin_arrived;
    struct event delivery;
};

typedef void stream_news_fn(void *holder);

struct stream {
    struct world *world;
    struct stream *other;
    struct way in;
    int error;              /* told once, as a positive errno */
    bool local;             /* of a unix socket: nothing is ever on its way */
    bool shut;              /* this end sends no more */
    bool dead;              /* reset or failed: only what arrived can still be read */
    bool closed;            /* nobody holds this end any more */
    struct event reset;     /* the RST that breaks this end is on its way */
    struct link waiting;    /* in place.waiting until it is accepted */
    struct address address; /* this end's name */
    stream_news_fn *news;   /* something that its holder may wait for; NULL: nobody cares */
    void *holder;
    struct passage *passage; /* of the engine's end, in a session with filters */
    uint32_t preamble;       /* bytes to be read yet that do not count: a header */
    uint64_t written;        /* bytes that this end's holder wrote, and read */
    uint64_t read;
    uint64_t wrote_ns; /* when it last did */
    uint64_t read_ns;
    uint64_t shut_ns;    /* when it was shut; 0: it was not */
    uint64_t changed_ns; /* when it last did, or had news */
};

/* Connects two names, and returns the end of who connected; the other is `->other`. Both ends must be closed. */
struct stream *stream_connect(struct world *world, const struct address *from, const struct address *to);

/* Keeps both ends in memory after they were closed: what passed can still be asked for. */
void stream_hold(struct stream *stream);
void stream_drop(struct stream *stream);

/* Bytes; 0 at the end of the stream; -EAGAIN, or what broke the connection. */
int64_t stream_read(struct stream *stream, char *bytes, size_t size);
/* The same bytes, which stay where they are. */
int64_t stream_peek(struct stream *stream, char *bytes, size_t size);
/* Bytes, maybe fewer than size; -EAGAIN when nothing fits, -EPIPE, or what broke the connection. */
int64_t stream_write(struct stream *stream, const char *bytes, size_t size);
/* What stream_read and stream_write could move now. */
uint32_t stream_readable(const struct stream *stream);
uint32_t stream_writable(const struct stream *stream);
/* What poll says: reading or writing would not answer -EAGAIN. Writing only when there is a good deal of room. */
bool stream_poll_read(const struct stream *stream);
bool stream_poll_write(const struct stream *stream);
int stream_shutdown(struct stream *stream);
/* Bytes that did not arrive yet. */
uint32_t stream_unsent(const struct stream *stream);
/* Closes as close(2): with a FIN behind what was written, or a RST when something was not read. */
void stream_close(struct stream *stream);
/* Closes with a RST. */
void stream_reset(struct stream *stream);
/* The network breaks it for both ends, who learn of it on their own. */
void stream_fail(struct stream *stream, int error);

#endif
