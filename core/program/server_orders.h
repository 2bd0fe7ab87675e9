/* What operators are told of servers, and what they want of them: `moonring ctl upstreams`, `drain`, `enable`,
 * `disable`, `weight`. On the control thread. */
#ifndef MOONRING_PROGRAM_SERVER_ORDERS_H
#define MOONRING_PROGRAM_SERVER_ORDERS_H

#include "base/bytes.h"
#include "program/program.h"

#include <stdbool.h>
#include <stdint.h>

/* Appends a table with a line for each server, with tabs between the cells, or one JSON object. upstream: only that
 * one's; NULL: all. False: there is no such upstream, which is what was appended. */
bool servers_describe(const struct program *program, const char *upstream, struct bytes *out);
bool servers_to_json(const struct program *program, const char *upstream, struct bytes *out);

/* name: UPSTREAM/SERVER; of a host with several addresses all, or, as UPSTREAM/SERVER/ADDRESS, one. Appends what it is
 * like afterwards. False: there is none, or the weight is none, which is what was appended. */
bool servers_order(struct program *program, const char *name, uint32_t wanted, struct bytes *answer);
/* weight NULL: the configured one again. */
bool servers_weigh(struct program *program, const char *name, const char *weight, struct bytes *answer);

/* Appends, for status and the report of a reload, how many servers are in which state, */
void servers_count(const struct generation *generation, struct bytes *out);
/* and what operators want, which reloads do not change: `web/a drained, web/b weight 3`, behind `before`; nothing when
 * there is nothing. A server that the configuration does not have now is `(absent)`. */
void servers_list_wishes(const struct program *program, const char *before, struct bytes *out);

#endif
