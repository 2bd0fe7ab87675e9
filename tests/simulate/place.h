/* Who can be connected to, and connecting. A place is an address that a listening socket of the engine or a scripted
 * server is bound to. */
#ifndef MOONRING_SIMULATE_PLACE_H
#define MOONRING_SIMULATE_PLACE_H

#include "base/address.h"
#include "base/list.h"
#include "event.h"
#include "stream.h"

#include <stdbool.h>
#include <stdint.h>

struct world;

/* Whoever connects does it from one of so many addresses, 127.0.0.1 being the first. */
enum { PLACE_NEIGHBOURS = 8 };

/* What becomes of one who asks to connect. */
enum place_answer { PLACE_ACCEPTS, PLACE_REFUSES, PLACE_IGNORES, PLACE_UNREACHABLE };
typedef enum place_answer place_answer_fn(void *holder);

struct place {
    struct link link; /* in world.places */
    struct address address;
    bool shared; /* other places may have the same address (SO_REUSEPORT) */
    bool listening;
    uint32_t backlog;
    struct list waiting; /* ends that nobody has accepted yet */
    uint32_t waiting_count;
    place_answer_fn *answer; /* NULL: accepts while there is room in the backlog */
    stream_news_fn *news;    /* someone waits */
    void *holder;
};

/* Binds; a port 0 becomes a free one. 0 or -EADDRINUSE. */
int place_open(struct world *world, struct place *place, const struct address *address, bool shared);
void place_listen(struct place *place, uint32_t backlog);
/* The end of who waits longest, or NULL. */
struct stream *place_accept(struct place *place);
/* Resets who still waits. */
void place_close(struct world *world, struct place *place);

/* Someone who connects. */
struct connect {
    struct event event;
    struct world *world;
    struct address from;
    struct address to;
    uint64_t started_ns;
    bool impatient; /* a full backlog is -EAGAIN */
    bool started;
    bool ended;
    int result;            /* once it ended: 0 or -errno */
    struct stream *stream; /* once it ended with 0; the holder takes it */
    stream_news_fn *news;  /* it ended */
    void *holder;
};

void connect_init(struct connect *connect, struct world *world, stream_news_fn *news, void *holder);
/* As often as the last one has ended with an error. */
void connect_start(struct connect *connect, const struct address *to);
void connect_start_after(struct connect *connect, const struct address *to, uint64_t delay_ns);
void connect_stop(struct connect *connect);

/* A name for an end that did not choose one. */
struct address address_unnamed(struct world *world, bool local);

#endif
