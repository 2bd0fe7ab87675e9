/* Objects of one size from chunks that stay until the slab is finished. Not for several threads at once. */
#ifndef MOONRING_BASE_SLAB_H
#define MOONRING_BASE_SLAB_H

#include <stddef.h>

struct slab {
    size_t object_size;
    size_t objects_per_chunk;
    void *free;    /* a chain through the free objects */
    char **chunks; /* ours */
    size_t chunks_count;
    size_t chunks_capacity;
    size_t in_use;
};

/* Takes no memory yet. chunk_size (bytes) is rounded so that at least one object fits. */
void slab_init(struct slab *slab, size_t object_size, size_t chunk_size);
/* Every object must have been given back. */
void slab_finish(struct slab *slab);
/* An object with undefined content, aligned as malloc aligns, or NULL when memory is short. The one given back last
 * comes first: it is still in the cache. Under AddressSanitizer free objects are poisoned. */
void *slab_take(struct slab *slab);
void slab_give(struct slab *slab, void *object);

#endif
