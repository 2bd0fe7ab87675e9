#include "lua/exchange.h"

void exchange_request(struct exchange *exchange, enum http1_method method) {
    if (exchange->count == EXCHANGE_REQUESTS_MAX) {
        exchange->has_lost = true;
        return;
    }
    exchange->methods[(exchange->first + exchange->count) % EXCHANGE_REQUESTS_MAX] = (uint8_t)method;
    exchange->count++;
}

enum http1_method exchange_method(const struct exchange *exchange) {
    return exchange->count > 0 ? (enum http1_method)exchange->methods[exchange->first] : HTTP1_METHOD_OTHER;
}

void exchange_response(struct exchange *exchange, uint16_t status, enum http1_body body) {
    bool is_interim = status < 200 && status != 101;
    if (is_interim) {
        return;
    }
    exchange->is_tunnel |= body == HTTP1_BODY_TUNNEL;
    if (exchange->count > 0) {
        exchange->first = (exchange->first + 1) % EXCHANGE_REQUESTS_MAX;
        exchange->count--;
    }
}
