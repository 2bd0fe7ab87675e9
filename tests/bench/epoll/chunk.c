#include "tests/bench/epoll/chunk.h"

#include <stdlib.h>

struct chunk *chunk_take(struct chunk_pool *pool) {
    struct chunk *chunk = pool->first;
    if (chunk == NULL) {
        chunk = malloc(sizeof *chunk);
    } else {
        pool->first = chunk->next;
    }
    if (chunk != NULL) {
        chunk->next = NULL;
        chunk->begin = 0;
        chunk->end = 0;
    }
    return chunk;
}

void chunk_give(struct chunk_pool *pool, struct chunk *chunk) {
    chunk->next = pool->first;
    pool->first = chunk;
}
