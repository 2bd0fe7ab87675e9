/* One direction of a session. Bytes are received into chunks, as many at a time as the flow has shown to fill, and sent
 * by one call; a flow that moves bulk is spliced through a pipe instead. */
#ifndef MOONRING_BENCH_EPOLL_FLOW_H
#define MOONRING_BENCH_EPOLL_FLOW_H

#include "tests/bench/epoll/chunk.h"
#include "tests/bench/epoll/pipe.h"

#include <stdbool.h>
#include <stddef.h>

struct flow_pools {
    struct chunk_pool chunks;
    struct pipe_pool pipes;
};

enum flow_verdict {
    FLOW_WAITS, /* for bytes, or for room to send them */
    FLOW_MORE,  /* its turn is over, it could go on */
    FLOW_ENDED, /* all was sent, and the end of the stream too */
    FLOW_FAILED,
};

struct flow {
    int from;
    int to;
    /* epoll tells a change only once: these keep what it told. */
    bool is_readable;
    bool is_hung_up; /* the sender's end is there or near: only a read of 0 bytes proves that all is read */
    bool is_blocked; /* the receiver has no room */
    bool is_ended;   /* all is read */
    bool is_end_sent;
    struct chunk *first; /* ours: what was received and not sent */
    struct chunk *last;
    size_t chunks_wanted; /* for the next receive */
    size_t bulk_size;     /* received in large pieces since the last small one */
    struct pipe pipe;     /* ours while it is spliced */
    size_t piped;         /* bytes in it */
    size_t small_splices; /* since the last large one */
};

void flow_init(struct flow *flow, int from, int to);
void flow_finish(struct flow *flow, struct flow_pools *pools);
/* Moves bytes until one side has none or takes none, for one turn at most. */
enum flow_verdict flow_pump(struct flow *flow, struct flow_pools *pools);

#endif
