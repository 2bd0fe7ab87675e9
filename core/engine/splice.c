#include "engine/splice.h"

#include <stdlib.h>

/* 64 pages: enough slots for what a socket's receive queue holds in its fragments; small enough for a pool of them. */
enum { PIPE_SIZE = 256 * 1024 };

void splices_init(struct splices *splices, uint32_t open_max) {
    *splices = (struct splices){.open_max = open_max};
    list_init(&splices->free);
}

static void splice_close(struct splices *splices, struct splice *splice) {
    kernel_pipe_close(&splice->pipe);
    free(splice);
    splices->open_count--;
}

void splices_finish(struct splices *splices) {
    for (struct link *link = list_pop(&splices->free); link != NULL; link = list_pop(&splices->free)) {
        splice_close(splices, container_of(link, struct splice, link));
    }
    check(splices->open_count == 0);
}

static struct splice *splice_open(struct splices *splices) {
    struct splice *splice = calloc(1, sizeof *splice);
    if (splice == NULL) {
        return NULL;
    }
    link_init(&splice->link);
    if (kernel_pipe_open(&splice->pipe, PIPE_SIZE) < 0) {
        free(splice);
        return NULL;
    }
    splices->open_count++;
    return splice;
}

struct splice *splice_take(struct splices *splices) {
    struct link *link = list_pop(&splices->free);
    if (link != NULL) {
        return container_of(link, struct splice, link);
    }
    return splices->open_count < splices->open_max ? splice_open(splices) : NULL;
}

void splice_give(struct splices *splices, struct splice *splice) {
    if (splice->bytes > 0) {
        splice_close(splices, splice);
        return;
    }
    /* The one used last comes first: its ring of pages is still in the cache. */
    list_prepend(&splices->free, &splice->link);
}

int64_t splice_fill(struct splice *splice, int from_fd) {
    int64_t moved = kernel_splice(from_fd, splice->pipe.write_fd, splice->pipe.size);
    splice->bytes += moved > 0 ? (uint32_t)moved : 0;
    return moved;
}

int64_t splice_drain(struct splice *splice, int to_fd) {
    check(splice->bytes > 0);
    int64_t moved = kernel_splice(splice->pipe.read_fd, to_fd, splice->bytes);
    check(moved <= (int64_t)splice->bytes);
    splice->bytes -= moved > 0 ? (uint32_t)moved : 0;
    return moved;
}
