/* The memory that bytes wait in on their way: chunks of one size, the last one given back is the next one taken, so
 * that few of them stay in the cache. */
#ifndef MOONRING_BENCH_EPOLL_CHUNK_H
#define MOONRING_BENCH_EPOLL_CHUNK_H

#include <stddef.h>
#include <stdint.h>

enum { CHUNK_SIZE = 16384 };

struct chunk {
    struct chunk *next; /* in a queue or in the pool */
    size_t begin;       /* of what is not sent yet */
    size_t end;
    uint8_t bytes[CHUNK_SIZE];
};

struct chunk_pool {
    struct chunk *first; /* ours */
};

/* An empty one; NULL when memory is short. */
struct chunk *chunk_take(struct chunk_pool *pool);
void chunk_give(struct chunk_pool *pool, struct chunk *chunk);

#endif
