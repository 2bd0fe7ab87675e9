/* What the requests and responses of one HTTP/1 connection must know of each other: how a response is framed depends on
 * the method of its request, and a server may leave HTTP when a request asked for that. */
#ifndef MOONRING_LUA_EXCHANGE_H
#define MOONRING_LUA_EXCHANGE_H

#include "protocol/http1.h"

#include <stdbool.h>
#include <stdint.h>

enum { EXCHANGE_REQUESTS_MAX = 256 }; /* that wait for their response */

struct exchange {
    uint8_t methods[EXCHANGE_REQUESTS_MAX]; /* enum http1_method of those, in a ring */
    uint32_t first;
    uint32_t count;
    bool has_requests; /* somebody frames them */
    bool has_lost;     /* there were too many, and nobody framed responses: theirs are not known any more */
    bool is_tunnel;    /* what comes now is no HTTP, in either direction */
};

/* A request goes to the server. */
void exchange_request(struct exchange *exchange, enum http1_method method);
/* The method that the next response answers. */
enum http1_method exchange_method(const struct exchange *exchange);
/* The response goes to the client; 100 to 199 but 101 are followed by another one. */
void exchange_response(struct exchange *exchange, uint16_t status, enum http1_body body);

#endif
