/* Objects of one size from chunks that stay until the slab is finished. Not for several threads at once. */
#ifndef MOONRING_BASE_SLAB_H
#define MOONRING_BASE_SLAB_H

#include <stddef.h>

struct slab {
    size_t object_size;
    size_t objects_per_chunk;
    void *free;  /* a chain through the objects that were given back */
    char *fresh; /* in the last chunk: objects that were never taken, whose memory nobody has touched */
    size_t fresh_count;
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
 * comes first: it is still in the cache. Memory that was never in use stays with the kernel. Under AddressSanitizer
 * free objects are poisoned. */
void *slab_take(struct slab *slab);
void slab_give(struct slab *slab, void *object);

#endif
