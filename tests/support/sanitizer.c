/* Lets Criterion run under ThreadSanitizer and AddressSanitizer.
 *
 * ThreadSanitizer: Criterion's runner shares an arena of memory with its tests. It looks for a
 * free place between 0x200000000000 and 0x5fff00000000 by mincore(2), but there the sanitizer has reserved nearly
 * everything for itself, and it refuses a fixed mapping outside the little that it leaves to programs. So here every
 * place looks free, and the arena is moved to where programs may map: behind the executable and its heap, below
 * 0x568000000000. There it takes the next place that is free: the runner has an arena of its own and one for each test
 * that runs, and one must not be laid over another. Both functions stand before the C library's when Criterion calls
 * them.
 *
 * AddressSanitizer: the runner leaks 48 bytes a test when it runs several at once. Each test runs in a process of its
 * own, which finds the arena by BXFI_MAP; only there leaks are looked for. */
#ifndef __has_feature
#define __has_feature(feature) 0
#endif
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static const uintptr_t arenas_begin = 0x566000000000;
static const uintptr_t arenas_mask = 0x1fffffffff;
static const uintptr_t arena_step = 0x1000000; /* as the runner's own places */

int mincore(void *address, size_t size, unsigned char *pages) {
    (void)address;
    (void)size;
    (void)pages;
    errno = ENOMEM; /* nothing is mapped there */
    return -1;
}

static void *map(void *address, size_t size, int protection, int flags, int fd, off64_t offset) {
    return (void *)syscall(SYS_mmap, address, size, protection, flags, fd, offset);
}

static void *map_arena(uintptr_t wish, size_t size, int protection, int fd, off64_t offset) {
    for (uintptr_t step = 0; step <= arenas_mask; step += arena_step) {
        void *place = (void *)(arenas_begin + ((wish + step) & arenas_mask));
        void *arena = map(place, size, protection, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, offset);
        if (arena != MAP_FAILED || errno != EEXIST) {
            return arena;
        }
    }
    return MAP_FAILED;
}

void *mmap64(void *address, size_t size, int protection, int flags, int fd, off64_t offset) {
    if (flags == (MAP_SHARED | MAP_FIXED)) {
        return map_arena((uintptr_t)address, size, protection, fd, offset);
    }
    return map(address, size, protection, flags, fd, offset);
}

#elif defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)

#include <sanitizer/lsan_interface.h>
#include <stdlib.h>

int __lsan_is_turned_off(void) {
    return getenv("BXFI_MAP") == NULL;
}

#else
typedef int sanitizers_are_off; /* ISO C wants a declaration in every file */
#endif
