/* The memory of one Lua VM: an allocator of its own, so that the bytes in use are known and a VM that was stopped in
 * the middle of something can be dropped whole.
 *
 * It refuses nothing by returning NULL: LuaJIT 2.1 raises its "not enough memory" through a stack top that may be
 * stale, and writes the message over a live frame (seen as crashes and as silent damage). So it goes on beyond the
 * limit, says so to its owner, who ends what runs in an orderly way, and has a ceiling at which the owner must end the
 * VM. */
#ifndef MOONRING_LUA_HEAP_H
#define MOONRING_LUA_HEAP_H

#include "base/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HEAP_SMALL_MAX = 1024, HEAP_GRANULE = 16, HEAP_CLASSES = HEAP_SMALL_MAX / HEAP_GRANULE + 1 };

struct heap_region;

struct heap {
    size_t used;        /* bytes taken: whole chunks of small blocks, and large blocks */
    size_t limit;       /* beyond it `exceeded` is called at each growth */
    size_t ceiling;     /* growth beyond it is refused: `exhausted` */
    uint64_t growths;   /* blocks asked for so far */
    uint64_t fail_from; /* for tests: from this growth on the system has no memory; 0: never */
    /* Called inside an allocation, which then goes on. */
    void (*exceeded)(struct heap *heap);
    /* Called where nothing can be had, by the ceiling or from the system. Should not return; NULL is given if it does.
     */
    void (*exhausted)(struct heap *heap);
    struct list rooms[HEAP_CLASSES]; /* chunks with a free block of that size */
    struct list spare;               /* chunks without a block */
    struct list large;
    struct heap_region *regions; /* ours */
};

/* Takes its first memory from the system. False when there is none. `limit` and `ceiling` are set by the owner
 * afterwards; until then nothing is refused. */
bool heap_init(struct heap *heap);
/* Gives everything back at once, whatever still lies in it. */
void heap_finish(struct heap *heap);

/* A lua_Alloc; `heap` is a struct heap. old_size must be exact (LuaJIT's is). Blocks are aligned to 16 bytes. */
void *heap_resize(void *heap, void *block, size_t old_size, size_t new_size);

#endif
