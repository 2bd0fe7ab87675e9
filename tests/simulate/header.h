/* The PROXY header at either end of a session: what a client sends before its own bytes, drawn from the seed and good
 * or not, and what a server has to hear before the client's. Neither counts as bytes of an actor or of its stream. */
#ifndef MOONRING_SIMULATE_HEADER_H
#define MOONRING_SIMULATE_HEADER_H

#include "protocol/proxy_header.h"
#include "random.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HEADER_SIZE_MAX = 1024 };

struct header {
    uint8_t bytes[HEADER_SIZE_MAX];
    uint32_t size;             /* of a client's; a server's: once it was heard */
    uint32_t passed;           /* so much of it was sent, or heard */
    bool is_good;              /* of a client's: it must be taken */
    struct address named;      /* who it says that connected; length 0: nobody */
    struct proxy_header heard; /* of a server */
};

/* One that a client sends to a listener that accepts these versions. number: no other client has it. NULL: it sends
 * none. The caller frees it. */
struct header *header_draw(unsigned versions, uint64_t number, struct random *random);
/* One that a server will hear. */
struct header *header_expect(unsigned version);

/* Some of it was not sent, or not heard. */
static inline bool header_is_pending(const struct header *header) {
    return header != NULL && (header->size == 0 || header->passed < header->size);
}

/* A server hears bytes: returns how many of them belong to the header, which is whole when it is not pending any more.
 * Anything but a header is a violation. */
size_t header_hear(struct header *header, const char *bytes, size_t size);

#endif
