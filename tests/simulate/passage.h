/* What must be heard at both ends of a session with filters: a plain model of its filters, one node for each filter and
 * direction, fed with what the actors say. Scripts tell it what does not follow from their seeds: what they write
 * beside their segments and where, what they consume, where they stop.
 *
 * It is asked for the next bytes only when somebody heard them, and takes from the node before no more than the bytes
 * asked for need: so whatever was told before an entry of a script was over is known in time. */
#ifndef MOONRING_SIMULATE_PASSAGE_H
#define MOONRING_SIMULATE_PASSAGE_H

#include "actor.h"
#include "engine/filter.h"
#include "segment.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PASSAGE_FILTERS_MAX = 3 };

/* Something that a filter writes beside its segments. */
struct insert {
    uint64_t at;   /* behind so many bytes of what else comes out of the filter */
    uint64_t from; /* the cast's text from there on */
    uint32_t size;
    uint32_t written; /* so much of it was taken */
};

/* A filter in one direction. Places in its stream are counted without inserts: `in` those of its input, `out` those of
 * its output. */
struct node {
    bool transforms; /* else everything passes */
    struct segments segments;
    bool strict;
    struct segment segment; /* in progress */
    bool in_segment;
    uint32_t segment_in;  /* bytes of it that were taken */
    uint32_t segment_put; /* and put */
    uint64_t in;
    uint64_t out;
    uint64_t until_in; /* from there on everything passes; UINT64_MAX: it never left */
    uint64_t until_out;
    uint64_t end_in; /* it takes and gives no more; UINT64_MAX: it has not ended its stream */
    uint64_t end_out;
    struct insert *inserts; /* ours */
    uint32_t inserts_count;
    uint32_t inserts_capacity;
    uint32_t inserts_written;
    char *seen; /* ours; input that was looked at and not taken */
    uint32_t seen_size;
    uint32_t seen_capacity;
};

/* One direction. Nodes stand in the order in which bytes meet them. */
struct course {
    struct node nodes[PASSAGE_FILTERS_MAX];
    uint64_t skipped; /* bytes of the source that a `connected` consumed */
    uint64_t taken;   /* bytes of the source behind these */
};

struct passage {
    struct link link; /* in troupe.passages */
    struct cast *cast;
    struct session *session; /* NULL: it was closed */
    uint64_t id;
    uint32_t count; /* filters */
    struct actor *client;
    struct actor *server;     /* NULL: none is known */
    struct course courses[2]; /* by direction */
    uint64_t read_last[2];    /* `session` is NULL: so much had been read from that side, */
    bool ended_last[2];       /* and its end had come */

    /* What its filters did, for the judge. */
    struct config_timeouts timeouts;
    uint64_t timeouts_set_ns;
    uint64_t active_ns;     /* when a script last ran */
    uint64_t routed_ns;     /* when the last `route` was over */
    uint64_t greeted_ns;    /* when the last `connected` was over */
    uint64_t asked_ns;      /* when connect_failed was asked after the last answer; */
    uint32_t asked_round;   /* the how manieth time */
    uint64_t ended_ns;      /* when a filter ended the session */
    uint64_t wrote_most[2]; /* in one entry */
    struct pace {           /* set by a filter: */
        uint64_t rate;      /* 0: none */
        uint64_t since_ns;
        uint64_t bytes; /* received then, or on the way */
    } paces[2];
    bool has_ended;  /* a filter ended the session, */
    bool has_reset;  /* with a reset */
    bool has_served; /* `serve` is over */
    bool has_closed_write;
    bool has_failed;
    bool has_run_over;
    bool has_overflowed;
    bool has_kept_open;
    bool was_asked_again; /* connect_failed gave an answer */
    bool was_shut[2];     /* when it was closed: by the direction that comes from there */
    bool may_be_reset;    /* it could not wait any longer for the peers to end */
    bool refiltered[2];   /* bytes that went past the stages do so no more: */
    uint64_t unseen[2];   /* so many did */
};

struct passage *passage_create(struct cast *cast, struct session *session, uint32_t count);
void passage_destroy(struct passage *passage);

static inline struct node *passage_node(struct passage *passage, enum direction direction, uint32_t filter) {
    uint32_t position = direction == FROM_CLIENT ? filter : passage->count - 1 - filter;
    return &passage->courses[direction].nodes[position];
}

/* Before anything is asked: the filter has a byte hook. */
void node_transforms(struct node *node, const struct segment_manners *manners, uint64_t seed, bool strict);
void node_insert(struct node *node, uint64_t at, uint64_t from, uint32_t size);
/* The script gives up what it inserted last. */
void node_forget_insert(struct node *node);
/* The last `size` bytes that it wrote come only there. */
void node_put_off(struct node *node, uint64_t at, uint64_t size);
/* From there on everything passes; its input may have been decided further than it came. */
void node_leave(struct node *node, uint64_t in, uint64_t out);
/* Nothing is taken from `in` on, and nothing comes out behind `out`. */
void node_end(struct node *node, uint64_t in, uint64_t out);

/* The engine's end of a connection belongs to the session. */
void passage_meet(struct passage *passage, struct stream *engine);
/* Whoever is at the other end plays there. */
void passage_enter(struct passage *passage, struct actor *actor);
/* connect_failed is asked. */
void passage_note_question(struct passage *passage);
/* A filter has set a limit. */
void passage_note_limit(struct passage *passage, enum direction direction, uint64_t rate);
/* The session is closed: nothing more will be taken from its sides. */
void passage_close(struct passage *passage);

/* The next bytes that the direction's receiver must hear. Returns how many there are, at most `size`. */
size_t passage_hear(struct passage *passage, enum direction direction, char *bytes, size_t size);
/* The next bytes that come to a filter. */
size_t passage_come(struct passage *passage, enum direction direction, uint32_t filter, char *bytes, size_t size);
/* What was heard is all that will ever be heard. */
bool passage_is_complete(struct passage *passage, enum direction direction);

/* Prints how far the model has come, before a violation. */
void passage_explain(const struct passage *passage, enum direction direction);
/* An actor heard bytes: are they the right ones? */
void passage_heard(struct passage *passage, const struct actor *actor, const char *bytes, size_t size);

#endif
