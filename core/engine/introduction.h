/* A session's PROXY header: who its client is, and where it had connected to. Read before anything else where the
 * listener wants one, and sent before anything else where the upstream does. */
#ifndef MOONRING_ENGINE_INTRODUCTION_H
#define MOONRING_ENGINE_INTRODUCTION_H

#include "base/address.h"
#include "protocol/proxy_header.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct session;

/* Of a session that a proxy has begun. */
struct introduction {
    struct proxy_header header;
    uint32_t held;   /* of bytes: taken from the socket */
    uint8_t bytes[]; /* the header's */
};

/* Reads the header: session_introduced follows, or the session is closed. No byte behind it is taken from the socket:
 * whoever receives next knows nothing of it. */
void introduction_read(struct session *session);
/* The header was read. Returns it with no more memory than it needs. */
struct introduction *introduction_trim(struct introduction *introduction);

/* Queues the header that tells the server of the client. False when memory is short. */
bool introduction_send(struct session *session);

#endif
