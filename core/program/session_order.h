/* `moonring ctl sessions` and `ctl kill`, from the options to the last line of the answer. On the control thread. */
#ifndef MOONRING_PROGRAM_SESSION_ORDER_H
#define MOONRING_PROGRAM_SESSION_ORDER_H

#include "base/bytes.h"
#include "program/arguments.h"
#include "program/listing.h"

/* One that is under way. All 0: none is. */
struct session_order {
    struct listing listing;
    bool json;
};

/* Begins, and appends the beginning of the answer. walk: no other order that is under way has it. Returns as
 * admin_service.obey does. */
int session_order_obey(struct session_order *session_order, struct crew *crew, uint32_t walk,
                       const struct arguments *order, struct bytes *answer);
/* As admin_service.go_on. */
int session_order_go_on(struct session_order *session_order, struct bytes *answer);
/* Before its end. */
void session_order_end(struct session_order *session_order);

#endif
