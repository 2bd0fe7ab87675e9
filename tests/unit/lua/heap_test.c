#include "lua/heap.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

struct owner {
    struct heap heap;
    unsigned exceeded;
    unsigned exhausted;
};

static void owner_exceeded(struct heap *heap) {
    container_of(heap, struct owner, heap)->exceeded++;
}

static void owner_exhausted(struct heap *heap) {
    container_of(heap, struct owner, heap)->exhausted++;
}

static void owner_init(struct owner *owner) {
    *owner = (struct owner){.exceeded = 0};
    cr_assert(heap_init(&owner->heap));
    owner->heap.exceeded = owner_exceeded;
    owner->heap.exhausted = owner_exhausted;
}

enum { BLOCKS = 500 };

struct block {
    unsigned char *bytes;
    size_t size;
};

static void expect_filled(const struct block *block, unsigned char value, size_t size) {
    size_t right = 0;
    while (right < size && block->bytes[right] == value) {
        right++;
    }
    cr_assert_eq(right, size);
}

static size_t random_size(unsigned *seed) {
    static const size_t largest[] = {16, 100, HEAP_SMALL_MAX, 2 * HEAP_SMALL_MAX, 100000};
    return (size_t)rand_r(seed) % largest[rand_r(seed) % 5] + 1;
}

/* Gives the block a new size, or none; its first bytes must stay. */
static void block_resize(struct heap *heap, struct block *block, unsigned char value, size_t size) {
    size_t kept_size = block->size < size ? block->size : size;
    block->bytes = heap_resize(heap, block->bytes, block->size, size);
    block->size = size;
    cr_assert_eq(block->bytes == NULL, size == 0);
    cr_assert_eq((uintptr_t)block->bytes % HEAP_GRANULE, 0);
    expect_filled(block, value, kept_size);
    if (size > 0) {
        memset(block->bytes, value, size);
    }
}

Test(heap, keeps_the_content_of_blocks_that_grow_and_shrink, .timeout = 10) {
    struct owner owner;
    owner_init(&owner);
    struct block blocks[BLOCKS] = {{.size = 0}};
    unsigned seed = 1;
    for (unsigned round = 0; round < 100000; round++) {
        unsigned char index = (unsigned char)(rand_r(&seed) % BLOCKS % 256);
        block_resize(&owner.heap, &blocks[index], index, rand_r(&seed) % 3 == 0 ? 0 : random_size(&seed));
    }
    heap_finish(&owner.heap);
}

Test(heap, gives_back_everything_that_still_lies_in_it, .timeout = 10) {
    struct owner owner;
    owner_init(&owner);
    for (size_t size = 1; size < 5000; size += 7) {
        cr_assert_not_null(heap_resize(&owner.heap, NULL, 0, size)); /* the leak check of make asan looks for them */
    }
    heap_finish(&owner.heap);
}

Test(heap, uses_the_room_of_small_blocks_for_other_sizes, .timeout = 10) {
    struct owner owner;
    owner_init(&owner);
    static void *blocks[20000];
    size_t most_used = 0;
    for (size_t size = 16; size <= 512; size += 16) {
        for (size_t index = 0; index < 20000; index++) {
            blocks[index] = heap_resize(&owner.heap, NULL, 0, size);
        }
        most_used = owner.heap.used > most_used ? owner.heap.used : most_used;
        for (size_t index = 0; index < 20000; index++) {
            heap_resize(&owner.heap, blocks[index], size, 0);
        }
    }
    cr_assert_lt(most_used, 20000 * 512 * 11 / 10, "%zu bytes", most_used);
    cr_assert_lt(owner.heap.used, 32 * 16384 + 1);
    heap_finish(&owner.heap);
}

Test(heap, says_when_the_limit_is_exceeded_and_goes_on, .timeout = 10) {
    struct owner owner;
    owner_init(&owner);
    owner.heap.limit = 100000;
    owner.heap.ceiling = 200000;
    cr_assert_not_null(heap_resize(&owner.heap, NULL, 0, 90000));
    cr_assert_eq(owner.exceeded, 0);
    cr_assert_not_null(heap_resize(&owner.heap, NULL, 0, 90000));
    cr_assert_eq(owner.exceeded, 1);
    cr_assert_eq(owner.exhausted, 0);
    heap_finish(&owner.heap);
}

Test(heap, refuses_to_grow_beyond_its_ceiling_and_keeps_the_block, .timeout = 10) {
    struct owner owner;
    owner_init(&owner);
    owner.heap.ceiling = 200000;
    struct block block = {.size = 0};
    block_resize(&owner.heap, &block, 7, 150000);
    cr_assert_null(heap_resize(&owner.heap, block.bytes, block.size, 250000));
    cr_assert_null(heap_resize(&owner.heap, NULL, 0, SIZE_MAX - 100));
    cr_assert_eq(owner.exhausted, 2);
    block_resize(&owner.heap, &block, 7, 180000);
    block_resize(&owner.heap, &block, 7, 10);
    cr_assert_not_null(heap_resize(&owner.heap, NULL, 0, 150000));
    heap_finish(&owner.heap);
}

Test(heap, fails_from_the_allocation_on_that_a_test_names, .timeout = 10) {
    struct owner owner;
    owner_init(&owner);
    owner.heap.fail_from = 3;
    void *block = heap_resize(&owner.heap, NULL, 0, 100);
    cr_assert_not_null(block);
    cr_assert_not_null(heap_resize(&owner.heap, NULL, 0, 100));
    cr_assert_null(heap_resize(&owner.heap, NULL, 0, 100));
    cr_assert_null(heap_resize(&owner.heap, block, 100, 200));
    cr_assert_eq(owner.exhausted, 2);
    heap_finish(&owner.heap);
}
