#include "tests/bench/epoll/flow.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum {
    CHUNKS_MAX = 16,
    ROUNDS_MAX = 8,          /* of receive and send in one turn */
    SPLICE_FROM = 256 << 10, /* bytes in large pieces that promote a flow */
    SMALL_SPLICES_MAX = 8,   /* in a row; then copying costs less */
};

void flow_init(struct flow *flow, int from, int to) {
    *flow = (struct flow){.from = from, .to = to, .chunks_wanted = 1, .pipe = {.read_fd = -1, .write_fd = -1}};
}

static void flow_drop_first(struct flow *flow, struct flow_pools *pools) {
    struct chunk *chunk = flow->first;
    flow->first = chunk->next;
    chunk_give(&pools->chunks, chunk);
}

void flow_finish(struct flow *flow, struct flow_pools *pools) {
    while (flow->first != NULL) {
        flow_drop_first(flow, pools);
    }
    pipe_give(&pools->pipes, &flow->pipe, flow->piped == 0);
}

static bool flow_is_spliced(const struct flow *flow) {
    return flow->pipe.read_fd >= 0;
}

static bool flow_holds(const struct flow *flow) {
    return flow->first != NULL || flow->piped > 0;
}

/* ---- sending */

static size_t flow_gather(const struct flow *flow, struct iovec *pieces) {
    size_t count = 0;
    for (struct chunk *chunk = flow->first; chunk != NULL; chunk = chunk->next) {
        pieces[count++] = (struct iovec){chunk->bytes + chunk->begin, chunk->end - chunk->begin};
    }
    return count;
}

static void flow_sent(struct flow *flow, struct flow_pools *pools, size_t size) {
    while (size > 0) {
        struct chunk *chunk = flow->first;
        size_t piece = chunk->end - chunk->begin;
        if (piece > size) {
            chunk->begin += size;
            return;
        }
        size -= piece;
        flow_drop_first(flow, pools);
    }
}

/* For one piece the plain calls cost a little less than the vectored ones. */
static ssize_t send_pieces(int fd, struct iovec *pieces, size_t count) {
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = count};
    return count == 1 ? send(fd, pieces[0].iov_base, pieces[0].iov_len, MSG_NOSIGNAL)
                      : sendmsg(fd, &message, MSG_NOSIGNAL);
}

static ssize_t receive_pieces(int fd, const struct iovec *pieces, size_t count) {
    return count == 1 ? recv(fd, pieces[0].iov_base, pieces[0].iov_len, 0) : readv(fd, pieces, (int)count);
}

static ssize_t flow_send_chunks(struct flow *flow, struct flow_pools *pools) {
    struct iovec pieces[CHUNKS_MAX];
    size_t count = flow_gather(flow, pieces);
    ssize_t size = send_pieces(flow->to, pieces, count);
    if (size > 0) {
        flow_sent(flow, pools, (size_t)size);
    }
    return size;
}

static ssize_t flow_send_piped(struct flow *flow) {
    ssize_t size = splice(flow->pipe.read_fd, NULL, flow->to, NULL, flow->piped, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    flow->piped -= size > 0 ? (size_t)size : 0;
    return size;
}

/* Until nothing is held or the receiver is full. */
static bool flow_send(struct flow *flow, struct flow_pools *pools) {
    while (flow_holds(flow) && !flow->is_blocked) {
        ssize_t size = flow->first != NULL ? flow_send_chunks(flow, pools) : flow_send_piped(flow);
        if (size < 0 && errno != EAGAIN && errno != EINTR) {
            return false;
        }
        flow->is_blocked = size < 0 && errno == EAGAIN;
    }
    return true;
}

/* ---- receiving */

/* True when `size`, the result of a call, is bytes. Else notes what it tells, or failed when it is an error. */
static bool flow_take_result(struct flow *flow, ssize_t size, bool *failed) {
    if (size > 0) {
        return true;
    }
    if (size == 0) {
        flow->is_ended = true;
    } else if (errno == EAGAIN) {
        flow->is_readable = false;
    } else if (errno != EINTR) {
        *failed = true;
    }
    return false;
}

static size_t flow_make_room(struct flow *flow, struct flow_pools *pools, struct iovec *pieces) {
    size_t count = 0;
    while (count < flow->chunks_wanted) {
        struct chunk *chunk = chunk_take(&pools->chunks);
        if (chunk == NULL) {
            break;
        }
        if (flow->first == NULL) {
            flow->first = chunk;
        } else {
            flow->last->next = chunk;
        }
        flow->last = chunk;
        pieces[count++] = (struct iovec){chunk->bytes, CHUNK_SIZE};
    }
    return count;
}

/* The chunks were laid out for more than came: fills those that bytes are in and gives back the others. */
static void flow_keep(struct flow *flow, struct flow_pools *pools, size_t size) {
    struct chunk **place = &flow->first;
    while (size > 0) {
        struct chunk *chunk = *place;
        chunk->end = size < CHUNK_SIZE ? size : CHUNK_SIZE;
        size -= chunk->end;
        flow->last = chunk;
        place = &chunk->next;
    }
    while (*place != NULL) {
        struct chunk *chunk = *place;
        *place = chunk->next;
        chunk_give(&pools->chunks, chunk);
    }
}

/* What one receive says about the next. */
static void flow_learn(struct flow *flow, size_t size, size_t offered) {
    if (size == offered && flow->chunks_wanted < CHUNKS_MAX) {
        flow->chunks_wanted *= 2;
    } else if (size <= offered / 4 && flow->chunks_wanted > 1) {
        flow->chunks_wanted /= 2;
    }
    flow->bulk_size = size >= CHUNK_SIZE ? flow->bulk_size + size : 0;
}

/* Only when nothing is held. */
static bool flow_receive_chunks(struct flow *flow, struct flow_pools *pools) {
    struct iovec pieces[CHUNKS_MAX];
    size_t count = flow_make_room(flow, pools, pieces);
    if (count == 0) {
        return false;
    }
    ssize_t size = receive_pieces(flow->from, pieces, count);
    bool failed = false;
    bool received = flow_take_result(flow, size, &failed);
    flow_keep(flow, pools, received ? (size_t)size : 0);
    if (!received) {
        return !failed;
    }
    size_t offered = count * CHUNK_SIZE;
    flow_learn(flow, (size_t)size, offered);
    if ((size_t)size < offered && !flow->is_hung_up) {
        flow->is_readable = false; /* it is drained, and epoll will tell what comes */
    }
    if (flow->bulk_size >= SPLICE_FROM && pipe_take(&pools->pipes, &flow->pipe)) {
        flow->small_splices = 0;
    }
    return true;
}

/* Only when nothing is held: so that EAGAIN is the socket's, never the pipe's. */
static bool flow_receive_piped(struct flow *flow) {
    bool failed = false;
    ssize_t size = splice(flow->from, NULL, flow->pipe.write_fd, NULL, PIPE_SIZE, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    if (!flow_take_result(flow, size, &failed)) {
        return !failed;
    }
    flow->piped = (size_t)size;
    flow->small_splices = size < CHUNK_SIZE ? flow->small_splices + 1 : 0;
    return true;
}

static bool flow_receive(struct flow *flow, struct flow_pools *pools) {
    if (flow_is_spliced(flow) && flow->small_splices >= SMALL_SPLICES_MAX) {
        flow->bulk_size = 0;
        pipe_give(&pools->pipes, &flow->pipe, true);
    }
    return flow_is_spliced(flow) ? flow_receive_piped(flow) : flow_receive_chunks(flow, pools);
}

/* ---- both */

static void flow_pass_end(struct flow *flow) {
    if (!flow->is_end_sent) {
        shutdown(flow->to, SHUT_WR);
        flow->is_end_sent = true;
    }
}

enum flow_verdict flow_pump(struct flow *flow, struct flow_pools *pools) {
    for (size_t round = 0; round < ROUNDS_MAX; round++) {
        if (!flow_send(flow, pools)) {
            return FLOW_FAILED;
        }
        if (flow_holds(flow)) {
            return FLOW_WAITS;
        }
        if (flow->is_ended) {
            flow_pass_end(flow);
            return FLOW_ENDED;
        }
        if (!flow->is_readable) {
            return FLOW_WAITS;
        }
        if (!flow_receive(flow, pools)) {
            return FLOW_FAILED;
        }
    }
    return FLOW_MORE;
}
