/* One direction of a session: receive from its source, queue, send to its sink, end. flow and session are one state
 * machine in two files: a flow moves bytes, the session decides what becomes of both. */
#ifndef MOONRING_ENGINE_FLOW_H
#define MOONRING_ENGINE_FLOW_H

#include "engine/buffer.h"
#include "engine/engine.h"
#include "engine/op.h"
#include "engine/splice.h"

/* A flow asks for no more bytes than this less what it holds: the bound on what a slow receiver makes us keep. */
enum { FLOW_QUEUE_MAX = 128 * 1024 };
/* A stalled sink's kernel is asked so often within send_stall whether it takes bytes. */
enum { FLOW_LOOKS = 4 };

/* What of a flow is on its way to the sink; its queue keeps what a send reads. */
enum flow_outgoing { OUTGOING_NONE, OUTGOING_MESSAGE, OUTGOING_ZERO_COPY, OUTGOING_PIPE };

/* In the order of use: what each chunk touches comes first. */
struct flow {
    struct op recv_op;                /* receives, or waits until the source is readable */
    struct op send_op;                /* sends, or waits until the sink is writable (blocked) */
    struct queue queue;               /* received and not sent yet */
    union {                           /* by `outgoing` */
        struct ring_message *message; /* ours while send_op sends */
        struct zero_copy *zero_copy;  /* a send whose result has not come */
        struct splice *splice;        /* ours while bytes lie in its pipe */
    };
    uint64_t bytes;        /* received so far */
    uint64_t stalled_us;   /* since when the sink has taken no byte although some wait; 0: it does */
    uint32_t sending;      /* bytes that send_op offers */
    uint32_t window_bytes; /* for the choice between receive and splice: since the window began */
    uint16_t window_receives;
    uint8_t bulk_windows : 2; /* in a row */
    uint8_t outgoing : 2;     /* enum flow_outgoing */
    uint8_t looks : 2;        /* how often the sink's kernel was asked since stalled_us */
    bool from_server : 1;     /* else from the client */
    bool blocked : 1;         /* waits for the sink */
    bool starved : 1;         /* waits for a buffer */
    bool spliced : 1;         /* the bulk path is on */
    bool copies : 1;          /* the sink refused a zero-copy send */
    bool source_dry : 1;      /* the source is non-blocking and had nothing: poll before receiving */
    bool source_ended : 1;    /* its end, or an error, was received: nothing more comes */
    bool complete : 1;        /* nothing more will be queued: what is queued is the rest, then comes the end */
    bool ended : 1;           /* everything was passed on, with the FIN; or the sink is broken */
    uint32_t unsent;          /* what the sink had not acknowledged when its kernel was asked last */
    struct link link;         /* in buffers.blocked or buffers.starved */
};

/* Bytes of it lie in a pipe. */
static inline bool flow_has_pipe(const struct flow *flow) {
    return flow->outgoing == OUTGOING_PIPE;
}

void flow_init(struct flow *flow, bool from_server);
/* Both ends are connected: begins to receive. */
void flow_start(struct flow *flow);
/* Buffers are free again: tries once more. Takes it out of buffers.starved. */
void flow_resume(struct flow *flow);
/* Moves what a blocked flow holds in the ring's buffers to the heap. Takes it out of buffers.blocked. */
void flow_evacuate(struct flow *flow);
/* A stalled flow's sink may take bytes although there is no room for a send yet: asks its kernel. */
void flow_look(struct flow *flow);
/* Something was queued, or there is room again: sends and receives what it can. */
void flow_pump(struct flow *flow);
/* The session's last words were said: receives and drops what its source still sends. */
void flow_discard(struct flow *flow);
/* The session is closed: drops what is queued, at once or when a send that reads it is over. */
void flow_abandon(struct flow *flow);
/* Bytes that were received and not handed to the sink's kernel. */
size_t flow_undelivered(const struct flow *flow);
/* Gives everything back. Nothing may be in flight. */
void flow_finish(struct flow *flow);

#endif
