#include "config/arena.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

Test(arena, gives_zeroed_aligned_memory_that_does_not_overlap, .timeout = 10) {
    jmp_buf exhausted;
    struct arena arena;
    unsigned char *pieces[200];
    arena_init(&arena, 1 << 20, &exhausted);
    cr_assert_eq(setjmp(exhausted), 0);
    for (size_t index = 0; index < 200; index++) {
        size_t size = index * 7 % 300 + 1;
        pieces[index] = arena_take(&arena, size);
        cr_assert_eq((uintptr_t)pieces[index] % _Alignof(max_align_t), 0);
        for (size_t at = 0; at < size; at++) {
            cr_assert_eq(pieces[index][at], 0);
        }
        memset(pieces[index], (int)index, size);
    }
    for (size_t index = 0; index < 200; index++) {
        cr_assert_eq(pieces[index][0], (unsigned char)index);
    }
    arena_finish(&arena);
}

Test(arena, takes_pieces_larger_than_a_chunk, .timeout = 10) {
    jmp_buf exhausted;
    struct arena arena;
    arena_init(&arena, 1 << 20, &exhausted);
    cr_assert_eq(setjmp(exhausted), 0);
    char *large = arena_take(&arena, 500000);
    memset(large, 'x', 500000);
    char *small = arena_take(&arena, 10);
    cr_assert_eq(small[0], 0);
    arena_finish(&arena);
}

static bool arena_refuses(size_t size, size_t size_max) {
    jmp_buf exhausted;
    struct arena arena;
    volatile bool jumped = false;
    arena_init(&arena, size_max, &exhausted);
    if (setjmp(exhausted) == 0) {
        arena_take(&arena, size);
    } else {
        jumped = true;
    }
    arena_finish(&arena);
    return jumped;
}

Test(arena, jumps_out_instead_of_giving_more_than_its_limit, .timeout = 10) {
    cr_expect(!arena_refuses(100000, 100000));
    cr_expect(arena_refuses(100001, 100000));
    cr_expect(arena_refuses(SIZE_MAX, 100000));
}

Test(arena, copies_and_formats_texts, .timeout = 10) {
    jmp_buf exhausted;
    struct arena arena;
    arena_init(&arena, 1 << 20, &exhausted);
    cr_assert_eq(setjmp(exhausted), 0);
    cr_expect_str_eq(arena_copy(&arena, "moonring", 4), "moon");
    cr_expect_str_eq(arena_printf(&arena, "%s-%d", "a", 5), "a-5");
    arena_finish(&arena);
}
