#include "base/slab.h"

#include "base/check.h"

#include <stdbool.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
#define SLAB_POISONS
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SLAB_POISONS
#endif
#endif

#ifdef SLAB_POISONS
#include <sanitizer/asan_interface.h>
#define slab_poison(object, size) __asan_poison_memory_region(object, size)
#define slab_unpoison(object, size) __asan_unpoison_memory_region(object, size)
#else
#define slab_poison(object, size) ((void)(object), (void)(size))
#define slab_unpoison(object, size) ((void)(object), (void)(size))
#endif

/* A free object begins with the pointer to the next one. */
struct slab_free {
    struct slab_free *next;
};

void slab_init(struct slab *slab, size_t object_size, size_t chunk_size) {
    check(object_size > 0);
    size_t alignment = _Alignof(max_align_t);
    size_t rounded_size = (object_size + alignment - 1) / alignment * alignment;
    size_t objects_per_chunk = chunk_size / rounded_size;
    *slab = (struct slab){
        .object_size = rounded_size,
        .objects_per_chunk = objects_per_chunk > 0 ? objects_per_chunk : 1,
    };
}

void slab_finish(struct slab *slab) {
    check(slab->in_use == 0);
    for (size_t index = 0; index < slab->chunks_count; index++) {
        free(slab->chunks[index]);
    }
    free(slab->chunks);
    slab_init(slab, slab->object_size, slab->object_size * slab->objects_per_chunk);
}

static bool slab_reserve_chunk(struct slab *slab) {
    if (slab->chunks_count < slab->chunks_capacity) {
        return true;
    }
    size_t capacity = slab->chunks_capacity > 0 ? slab->chunks_capacity * 2 : 8;
    char **chunks = reallocarray(slab->chunks, capacity, sizeof(*chunks));
    if (chunks == NULL) {
        return false;
    }
    slab->chunks = chunks;
    slab->chunks_capacity = capacity;
    return true;
}

static bool slab_grow(struct slab *slab) {
    if (!slab_reserve_chunk(slab)) {
        return false;
    }
    char *chunk = reallocarray(NULL, slab->objects_per_chunk, slab->object_size);
    if (chunk == NULL) {
        return false;
    }
    slab->chunks[slab->chunks_count] = chunk;
    slab->chunks_count++;
    slab->fresh = chunk;
    slab->fresh_count = slab->objects_per_chunk;
    slab_poison(chunk, slab->objects_per_chunk * slab->object_size);
    return true;
}

static void *slab_take_fresh(struct slab *slab) {
    if (slab->fresh_count == 0 && !slab_grow(slab)) {
        return NULL;
    }
    void *object = slab->fresh;
    slab->fresh += slab->object_size;
    slab->fresh_count--;
    slab_unpoison(object, slab->object_size);
    slab->in_use++;
    return object;
}

void *slab_take(struct slab *slab) {
    struct slab_free *object = slab->free;
    if (object == NULL) {
        return slab_take_fresh(slab);
    }
    slab_unpoison(object, slab->object_size);
    slab->free = object->next;
    slab->in_use++;
    return object;
}

void slab_give(struct slab *slab, void *object) {
    check(slab->in_use > 0);
    struct slab_free *freed = object;
    freed->next = slab->free;
    slab->free = freed;
    slab->in_use--;
    slab_poison(object, slab->object_size);
}
