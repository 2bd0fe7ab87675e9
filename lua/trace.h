/* A line in the log for each entry of a hook: what it was given and what it made of it. */
#ifndef MOONRING_LUA_TRACE_H
#define MOONRING_LUA_TRACE_H

#include "lua/runtime.h"

/* How a byte hook's stage stood before. */
struct trace {
    uint64_t offset;
    uint32_t bytes;
    uint32_t sent; /* in the outbox */
};

void trace_begin(struct trace *trace, const struct entry *entry);
/* `#12 redis_firewall from_client 37 B: pass 14, hold 23 (needs 40)` */
void trace_end(const struct trace *trace, const struct entry *entry, enum hook_outcome outcome);

#endif
