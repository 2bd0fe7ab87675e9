#include "lua/heap.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

/* Small blocks come from chunks, each for one size, which a block finds by its address. A chunk without a block serves
 * any size again, so that what a script once needed in small strings it may have in tables later. */
enum { CHUNK_SIZE = 16 * 1024, REGION_CHUNKS = 16 };

struct chunk {
    struct link link;   /* in heap->rooms or heap->spare; in neither while full */
    void *free;         /* a chain through the blocks given back */
    uint32_t untouched; /* offset of the first block never taken */
    uint32_t block_size;
    uint32_t blocks_used;
};

struct heap_region {
    struct heap_region *next;
    char *chunks; /* ours; REGION_CHUNKS of them */
};

struct large {
    struct link link;
    _Alignas(HEAP_GRANULE) char bytes[];
};

enum { CHUNK_START = (sizeof(struct chunk) + HEAP_GRANULE - 1) / HEAP_GRANULE * HEAP_GRANULE };

static struct chunk *chunk_of(void *block) {
    return (struct chunk *)(void *)((char *)block - (uintptr_t)block % CHUNK_SIZE);
}

static bool chunk_is_full(const struct chunk *chunk) {
    return chunk->free == NULL && chunk->untouched + chunk->block_size > CHUNK_SIZE;
}

/* Takes REGION_CHUNKS spare chunks from the system. */
static bool heap_grow(struct heap *heap) {
    struct heap_region *region = malloc(sizeof(*region));
    char *chunks = aligned_alloc(CHUNK_SIZE, CHUNK_SIZE * REGION_CHUNKS);
    if (region == NULL || chunks == NULL) {
        free(region);
        free(chunks);
        return false;
    }
    *region = (struct heap_region){.next = heap->regions, .chunks = chunks};
    heap->regions = region;
    for (size_t index = 0; index < REGION_CHUNKS; index++) {
        struct chunk *chunk = (struct chunk *)(void *)(chunks + index * CHUNK_SIZE);
        link_init(&chunk->link);
        list_append(&heap->spare, &chunk->link);
    }
    return true;
}

bool heap_init(struct heap *heap) {
    *heap = (struct heap){.limit = SIZE_MAX, .ceiling = SIZE_MAX};
    for (size_t class = 0; class < HEAP_CLASSES; class ++) {
        list_init(&heap->rooms[class]);
    }
    list_init(&heap->spare);
    list_init(&heap->large);
    return heap_grow(heap);
}

void heap_finish(struct heap *heap) {
    list_for_each (link, &heap->large) {
        free(container_of(link, struct large, link));
    }
    while (heap->regions != NULL) {
        struct heap_region *region = heap->regions;
        heap->regions = region->next;
        free(region->chunks);
        free(region);
    }
}

/* Whether `size` more bytes may be taken. */
static bool heap_admits(struct heap *heap, size_t size) {
    if (size > heap->ceiling || heap->used > heap->ceiling - size) {
        return false;
    }
    if (heap->used + size > heap->limit) {
        heap->exceeded(heap);
    }
    return true;
}

static bool heap_is_failing(const struct heap *heap) {
    return heap->fail_from != 0 && heap->growths >= heap->fail_from;
}

/* --- small blocks ------------------------------------------------------------------------------------------------- */

static struct chunk *heap_add_chunk(struct heap *heap, size_t class) {
    if (!heap_admits(heap, CHUNK_SIZE) || (list_is_empty(&heap->spare) && !heap_grow(heap))) {
        return NULL;
    }
    struct chunk *chunk = container_of(list_pop(&heap->spare), struct chunk, link);
    *chunk = (struct chunk){.untouched = CHUNK_START, .block_size = (uint32_t)(class * HEAP_GRANULE)};
    link_init(&chunk->link);
    list_prepend(&heap->rooms[class], &chunk->link);
    heap->used += CHUNK_SIZE;
    return chunk;
}

static void *small_take(struct heap *heap, size_t size) {
    size_t class = (size + HEAP_GRANULE - 1) / HEAP_GRANULE;
    struct link *link = list_first(&heap->rooms[class]);
    struct chunk *chunk = link != NULL ? container_of(link, struct chunk, link) : heap_add_chunk(heap, class);
    if (chunk == NULL) {
        return NULL;
    }
    void *block = chunk->free;
    if (block != NULL) {
        memcpy(&chunk->free, block, sizeof(chunk->free));
    } else {
        block = (char *)chunk + chunk->untouched;
        chunk->untouched += chunk->block_size;
    }
    chunk->blocks_used++;
    if (chunk_is_full(chunk)) {
        link_remove(&chunk->link);
    }
    return block;
}

static void small_give(struct heap *heap, void *block) {
    struct chunk *chunk = chunk_of(block);
    struct list *rooms = &heap->rooms[chunk->block_size / HEAP_GRANULE];
    if (!link_is_in_list(&chunk->link)) {
        list_prepend(rooms, &chunk->link);
    }
    memcpy(block, &chunk->free, sizeof(chunk->free));
    chunk->free = block;
    chunk->blocks_used--;
    bool is_alone = rooms->head.next == rooms->head.previous; /* kept: its size is likely to be wanted again */
    if (chunk->blocks_used == 0 && !is_alone) {
        link_remove(&chunk->link);
        list_prepend(&heap->spare, &chunk->link);
        heap->used -= CHUNK_SIZE;
    }
}

/* --- large blocks ------------------------------------------------------------------------------------------------- */

static void *large_resize(struct heap *heap, struct large *large, size_t old_size, size_t new_size) {
    if (new_size > SIZE_MAX / 2 || (new_size > old_size && !heap_admits(heap, new_size - old_size))) {
        return NULL;
    }
    if (large != NULL) {
        link_remove(&large->link); /* it may move */
    }
    struct large *resized = realloc(large, sizeof(*large) + new_size);
    struct large *listed = resized != NULL ? resized : large;
    if (listed != NULL) {
        link_init(&listed->link);
        list_prepend(&heap->large, &listed->link);
    }
    if (resized == NULL) {
        return NULL;
    }
    heap->used += new_size - old_size;
    return resized->bytes;
}

static void large_give(struct heap *heap, struct large *large, size_t size) {
    link_remove(&large->link);
    free(large);
    heap->used -= size;
}

/* --- any block ---------------------------------------------------------------------------------------------------- */

static void heap_give(struct heap *heap, void *block, size_t size) {
    if (size > HEAP_SMALL_MAX) {
        large_give(heap, container_of(block, struct large, bytes), size);
    } else if (block != NULL) {
        small_give(heap, block);
    }
}

static void *heap_take(struct heap *heap, void *block, size_t old_size, size_t new_size) {
    if (heap_is_failing(heap)) {
        return NULL;
    }
    if (old_size > HEAP_SMALL_MAX && new_size > HEAP_SMALL_MAX) {
        return large_resize(heap, container_of(block, struct large, bytes), old_size, new_size);
    }
    void *moved = new_size > HEAP_SMALL_MAX ? large_resize(heap, NULL, 0, new_size) : small_take(heap, new_size);
    if (moved != NULL && block != NULL) {
        memcpy(moved, block, old_size < new_size ? old_size : new_size);
        heap_give(heap, block, old_size);
    }
    return moved;
}

void *heap_resize(void *argument, void *block, size_t old_size, size_t new_size) {
    struct heap *heap = argument;
    check((block == NULL) == (old_size == 0));
    if (new_size == 0) {
        heap_give(heap, block, old_size);
        return NULL;
    }
    bool in_place = old_size != 0 && old_size <= HEAP_SMALL_MAX && new_size <= HEAP_SMALL_MAX &&
                    (old_size + HEAP_GRANULE - 1) / HEAP_GRANULE == (new_size + HEAP_GRANULE - 1) / HEAP_GRANULE;
    if (in_place) {
        return block;
    }
    heap->growths += new_size > old_size;
    void *resized = heap_take(heap, block, old_size, new_size);
    if (resized == NULL) {
        heap->exhausted(heap);
    }
    return resized;
}
