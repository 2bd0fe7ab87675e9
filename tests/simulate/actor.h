/* Who lives at the other ends: clients and servers that play a part drawn from the seed. Each sends a stream of bytes
 * of its own, which begins with its number, so that whoever hears it knows whose it is and whether each byte is the
 * right one. */
#ifndef MOONRING_SIMULATE_ACTOR_H
#define MOONRING_SIMULATE_ACTOR_H

#include "header.h"
#include "place.h"
#include "stream.h"

#include <stdbool.h>
#include <stdint.h>

struct world;

enum { ACTOR_NUMBER_SIZE = 8 }; /* the bytes that tell the number */
enum { ACTOR_RUN = 64 * 1024 };

enum actor_ending {
    ENDS_WITH_FIN,    /* after its bytes; then it hears the other out */
    ENDS_AFTER_OTHER, /* once the other has ended */
    ENDS_AT_ONCE,     /* closes after its bytes, whatever still comes */
    ENDS_WITH_RESET,  /* resets after its bytes */
    ENDS_BY_FAILURE,  /* the network fails after its bytes */
    ENDS_NEVER        /* does nothing more until its patience is over */
};

/* What it will do. */
struct actor_plan {
    uint64_t bytes;       /* that it sends: none, or at least its number */
    uint64_t begin_after; /* bytes that it wants to hear before it sends */
    uint64_t hear_max;    /* it reads no more after so many */
    uint32_t write_piece; /* at most, in one go */
    uint32_t write_pause_us;
    uint32_t read_piece;
    uint32_t read_pause_us;
    enum actor_ending ending;
    uint64_t patience_us; /* then it closes, or resets, whatever happened */
    bool leaves_with_reset;
};

/* What the engine says of a session, and what had passed between it and the actor when it said so. */
struct verdict {
    bool told;
    uint8_t reason; /* enum close_reason */
    uint64_t taken; /* bytes that it had read from the actor */
    uint64_t given; /* and written to it */
};

struct cast;

struct actor {
    struct cast *cast;
    struct actor_plan plan;
    uint64_t number; /* its place in the cast, from 1 */
    bool is_server;
    struct connect connect; /* of a client */
    struct stream *stream;  /* NULL: not connected yet, or closed by itself */
    struct stream *engine;  /* the other end; kept until the cast is finished */
    struct address address; /* of a client, once connected */
    struct header *header;  /* ours; NULL: it sends none, or will hear none */
    struct event write;
    struct event read;
    struct event leave;
    uint64_t sent;
    uint64_t heard;
    char heard_number[ACTOR_NUMBER_SIZE];
    struct actor *partner; /* whose bytes it hears, or who hears its own; NULL: not known */
    int connect_result;
    int heard_error; /* 0, or what broke the connection */
    bool broken;     /* it says no more */
    bool heard_fin;
    bool fin_sent; /* it ended its stream in order, behind all that it sent */
    bool over;
    struct verdict verdict;
};

typedef void actor_event_fn(void *holder, struct actor *actor);

struct cast {
    struct world *world;
    char *text;            /* ours; what everybody says, each from another place on */
    struct actor **actors; /* ours */
    uint64_t count;
    uint64_t capacity;
    uint64_t over_count;
    actor_event_fn *moved; /* somebody sent or heard bytes; NULL, as the next two: nobody needs to know */
    actor_event_fn *bored; /* somebody's patience is over */
    actor_event_fn *ended; /* somebody is over */
    void *holder;
};

void cast_init(struct cast *cast, struct world *world);
/* Everybody must be over. */
void cast_finish(struct cast *cast);
/* The text that everybody's words are taken from: ACTOR_RUN bytes from there on. */
const char *cast_text(const struct cast *cast, uint64_t offset);
/* What the actor says from `offset` on. */
void actor_says(const struct actor *actor, uint64_t offset, char *bytes, size_t size);
/* The client that connects, or connected, from the address, or whose header names it; or NULL. */
struct actor *cast_find_client(const struct cast *cast, const struct address *address);

/* The engine was told by the client's whole header who it is: all of it was taken. */
bool actor_is_introduced(const struct actor *client);
/* Who the client is, as far as anybody was told: its own address, or the one in its header; length 0: a unix socket's,
 * without a name. */
struct address actor_public_address(const struct actor *client);

/* Connects after a while, to somebody who wants a header of one of these versions first; 0: who wants none. */
void actor_enter_client(struct cast *cast, const struct actor_plan *plan, const struct address *to, unsigned versions,
                        uint64_t delay_ns);
/* version: of the header that it will hear; 0: none. */
void actor_enter_server(struct cast *cast, const struct actor_plan *plan, struct stream *stream, unsigned version);

#endif
