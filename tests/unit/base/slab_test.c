#include "base/slab.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef __has_feature
#define __has_feature(feature) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define TEST_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#elif defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#define TEST_THREAD_SANITIZER
#endif

enum { OBJECT_SIZE = 40, CHUNK_SIZE = 256 };

Test(slab, takes_no_memory_before_the_first_object, .timeout = 10) {
    struct slab slab;
    slab_init(&slab, OBJECT_SIZE, CHUNK_SIZE);
    cr_assert_eq(slab.chunks_count, 0);
    slab_finish(&slab);
}

Test(slab, gives_aligned_objects_that_do_not_overlap, .timeout = 10) {
    struct slab slab;
    slab_init(&slab, OBJECT_SIZE, CHUNK_SIZE);
    unsigned char *objects[100];
    for (int index = 0; index < 100; index++) {
        objects[index] = slab_take(&slab);
        cr_assert_not_null(objects[index]);
        cr_assert_eq((uintptr_t)objects[index] % _Alignof(max_align_t), 0);
        memset(objects[index], index, OBJECT_SIZE);
    }
    cr_assert_eq(slab.in_use, 100);
    for (int index = 0; index < 100; index++) {
        for (int byte = 0; byte < OBJECT_SIZE; byte++) {
            cr_assert_eq(objects[index][byte], index);
        }
        slab_give(&slab, objects[index]);
    }
    cr_assert_eq(slab.in_use, 0);
    slab_finish(&slab);
}

Test(slab, grows_by_whole_chunks_and_keeps_them, .timeout = 10) {
    struct slab slab;
    slab_init(&slab, OBJECT_SIZE, CHUNK_SIZE);
    void *objects[100];
    for (int round = 0; round < 3; round++) {
        for (int index = 0; index < 100; index++) {
            objects[index] = slab_take(&slab);
        }
        for (int index = 0; index < 100; index++) {
            slab_give(&slab, objects[index]);
        }
        /* 40 bytes are rounded to 48: 5 objects to a chunk of 256 bytes. */
        cr_assert_eq(slab.chunks_count, 20);
    }
    slab_finish(&slab);
}

/* A worker's memory grows with its sessions, not by a chunk at a time. */
Test(slab, leaves_alone_what_was_never_in_use, .timeout = 10) {
    enum { PAGES = 256 };
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct slab slab;
    slab_init(&slab, OBJECT_SIZE, PAGES * page);
    char *object = slab_take(&slab);
    cr_assert_not_null(object);
    char *next_page = object - (uintptr_t)object % page + 2 * page; /* (an allocator may fill the first one) */
    unsigned char in_use[PAGES - 3];
    cr_assert_eq(mincore(next_page, sizeof in_use * page, in_use), 0);
    for (size_t i = 0; i < sizeof in_use; i++) {
        cr_assert_eq(in_use[i] & 1, 0, "page %zu", i);
    }
    slab_give(&slab, object);
    slab_finish(&slab);
}

Test(slab, takes_first_what_was_given_back_last, .timeout = 10) {
    struct slab slab;
    slab_init(&slab, OBJECT_SIZE, CHUNK_SIZE);
    void *first = slab_take(&slab);
    void *second = slab_take(&slab);
    slab_give(&slab, first);
    slab_give(&slab, second);
    cr_assert_eq(slab_take(&slab), second);
    cr_assert_eq(slab_take(&slab), first);
    slab_give(&slab, first);
    slab_give(&slab, second);
    slab_finish(&slab);
}

Test(slab, has_room_for_one_object_in_the_smallest_chunk, .timeout = 10) {
    struct slab slab;
    slab_init(&slab, 1, 0);
    char *first = slab_take(&slab);
    char *second = slab_take(&slab);
    cr_assert_eq(slab.chunks_count, 2);
    *first = 'a';
    *second = 'b';
    cr_assert_eq(*first, 'a');
    slab_give(&slab, first);
    slab_give(&slab, second);
    slab_finish(&slab);
}

Test(slab, can_be_used_again_after_finish, .timeout = 10) {
    struct slab slab;
    slab_init(&slab, OBJECT_SIZE, CHUNK_SIZE);
    slab_give(&slab, slab_take(&slab));
    slab_finish(&slab);
    cr_assert_eq(slab.chunks_count, 0);
    slab_give(&slab, slab_take(&slab));
    slab_finish(&slab);
}

Test(slab, finish_aborts_while_an_object_is_out, .timeout = 10, .signal = SIGABRT) {
    struct slab slab;
    slab_init(&slab, OBJECT_SIZE, CHUNK_SIZE);
    slab_take(&slab);
    slab_finish(&slab);
}

Test(slab, aborts_when_more_is_given_back_than_was_taken, .timeout = 10, .signal = SIGABRT) {
    struct slab slab;
    slab_init(&slab, OBJECT_SIZE, CHUNK_SIZE);
    void *object = slab_take(&slab);
    slab_give(&slab, object);
    slab_give(&slab, object);
}

#ifdef TEST_ADDRESS_SANITIZER
Test(slab, free_objects_are_poisoned_whole, .timeout = 10) {
    struct slab slab;
    slab_init(&slab, OBJECT_SIZE, CHUNK_SIZE);
    char *object = slab_take(&slab);
    cr_assert_null(__asan_region_is_poisoned(object, OBJECT_SIZE));
    cr_assert(__asan_address_is_poisoned(object + slab.object_size)); /* the next one was never taken */
    slab_give(&slab, object);
    cr_assert(__asan_address_is_poisoned(object));
    cr_assert(__asan_address_is_poisoned(object + OBJECT_SIZE - 1));
    slab_finish(&slab);
}
#elif !defined(TEST_THREAD_SANITIZER)
/* Sanitizers end the program where malloc would fail. */
Test(slab, take_returns_null_when_memory_is_short, .timeout = 10) {
    struct slab slab;
    slab_init(&slab, SIZE_MAX / 4, 0);
    cr_assert_null(slab_take(&slab));
    cr_assert_null(slab_take(&slab));
    cr_assert_eq(slab.in_use, 0);
    slab_finish(&slab);
}
#endif
