/* Memory that lives and dies together: taken piece by piece, freed all at once. */
#ifndef MOONRING_CONFIG_ARENA_H
#define MOONRING_CONFIG_ARENA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks; /* ours, the newest first */
    size_t size;                /* bytes in all chunks */
    size_t size_max;
    jmp_buf *exhausted;
};

/* Takes no memory yet. When there is none left, or more than size_max bytes were asked for, every function below does
 * not return but jumps to `exhausted`: so no caller has to test what it got, and no load ends half-way unnoticed. */
void arena_init(struct arena *arena, size_t size_max, jmp_buf *exhausted);

/* Frees everything that was taken. */
void arena_finish(struct arena *arena);

/* Zeroed memory, aligned for every type. */
void *arena_take(struct arena *arena, size_t size);

/* A copy of `size` bytes with a 0 behind them. */
char *arena_copy(struct arena *arena, const char *text, size_t size);

char *arena_printf(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *arena_vprintf(struct arena *arena, const char *format, va_list arguments) __attribute__((format(printf, 2, 0)));

#endif
