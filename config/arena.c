#include "config/arena.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_SIZE = 16 * 1024, ALIGNMENT = _Alignof(max_align_t) };

struct arena_chunk {
    struct arena_chunk *next;
    size_t used;
    size_t size;
    max_align_t memory[]; /* size bytes */
};

void arena_init(struct arena *arena, size_t size_max, jmp_buf *exhausted) {
    *arena = (struct arena){.size_max = size_max, .exhausted = exhausted};
}

void arena_finish(struct arena *arena) {
    while (arena->chunks != NULL) {
        struct arena_chunk *chunk = arena->chunks;
        arena->chunks = chunk->next;
        free(chunk);
    }
}

static struct arena_chunk *arena_grow(struct arena *arena, size_t needed) {
    size_t size = needed > CHUNK_SIZE ? needed : CHUNK_SIZE;
    if (size > arena->size_max - arena->size) {
        longjmp(*arena->exhausted, 1);
    }
    struct arena_chunk *chunk = calloc(1, sizeof(*chunk) + size);
    if (chunk == NULL) {
        longjmp(*arena->exhausted, 1);
    }
    chunk->size = size;
    chunk->next = arena->chunks;
    arena->chunks = chunk;
    arena->size += size;
    return chunk;
}

void *arena_take(struct arena *arena, size_t size) {
    if (size > arena->size_max) {
        longjmp(*arena->exhausted, 1);
    }
    size_t needed = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    struct arena_chunk *chunk = arena->chunks;
    if (chunk == NULL || needed > chunk->size - chunk->used) {
        chunk = arena_grow(arena, needed);
    }
    void *taken = (char *)chunk->memory + chunk->used;
    chunk->used += needed;
    return taken;
}

char *arena_copy(struct arena *arena, const char *text, size_t size) {
    char *copy = arena_take(arena, size + 1);
    memcpy(copy, text, size);
    return copy;
}

char *arena_vprintf(struct arena *arena, const char *format, va_list arguments) {
    va_list measured;
    va_copy(measured, arguments);
    int length = vsnprintf(NULL, 0, format, measured);
    va_end(measured);
    size_t size = length > 0 ? (size_t)length + 1 : 1;
    char *text = arena_take(arena, size);
    vsnprintf(text, size, format, arguments);
    return text;
}

char *arena_printf(struct arena *arena, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *text = arena_vprintf(arena, format, arguments);
    va_end(arguments);
    return text;
}
