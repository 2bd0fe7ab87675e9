#include "troupe.h"

#include "engine/chain.h"
#include "engine/session.h"
#include "file.h"
#include "script.h"
#include "world.h"

#include <inttypes.h>

void troupe_init(struct troupe *troupe, struct world *world, struct cast *cast) {
    *troupe = (struct troupe){.world = world, .cast = cast};
    list_init(&troupe->scripts);
    list_init(&troupe->passages);
    list_init(&troupe->ready);
}

void troupe_finish(struct troupe *troupe) {
    if (!list_is_empty(&troupe->scripts) || troupe->counters.opened != troupe->counters.closed) {
        world_violation("%" PRIu64 " filter sessions were opened and %" PRIu64 " closed", troupe->counters.opened,
                        troupe->counters.closed);
    }
    for (struct link *link = list_pop(&troupe->passages); link != NULL; link = list_pop(&troupe->passages)) {
        passage_destroy(container_of(link, struct passage, link));
    }
}

struct passage *troupe_find(struct troupe *troupe, uint64_t id) {
    list_for_each (link, &troupe->passages) {
        struct passage *passage = container_of(link, struct passage, link);
        if (passage->id == id) {
            return passage;
        }
    }
    return NULL;
}

void troupe_add_counters(const struct troupe *troupe, struct troupe_counters *sum) {
    const struct troupe_counters *counters = &troupe->counters;
    sum->opened += counters->opened;
    sum->closed += counters->closed;
    sum->waited += counters->waited;
    sum->rolled_back += counters->rolled_back;
    sum->bypassed += counters->bypassed;
    sum->segments += counters->segments;
    for (int hook = 0; hook <= HOOKS; hook++) {
        sum->begun[hook] += counters->begun[hook];
    }
}

void troupe_meet_server(struct troupe *troupe, struct passage *passage) {
    const struct session *session = passage->session;
    if (session != NULL && session->server_end.fd >= 0 && session->connected) {
        passage_meet(passage, file_get(troupe->world, session->server_end.fd, __func__)->stream);
    }
}

/* --- the end of a turn ---------------------------------------------------------------------------------------------
 */

/* Whoever waits holds no buffer of the ring, and not more than it may. */
static void refuse_hoard(const struct passage *passage, const struct filter_session *filter_session,
                         enum direction direction) {
    const struct stage *stage = &filter_session->stages[direction];
    for (const struct slice *slice = stage->input.first; slice != NULL; slice = slice->next) {
        if (!slice->buffer->is_heap) {
            world_violation("session %" PRIu64 ": what waits for filter %s holds buffers of the ring", passage->id,
                            filter_session->filter->name);
        }
    }
    uint64_t most = 2 * FLOW_QUEUE_MAX + filter_session->filter->hold_max + passage->wrote_most[direction];
    if (stage->input.bytes > most || stage->input.count > 64 + stage->input.bytes / 128) {
        world_violation("session %" PRIu64 ": %u bytes in %u slices wait for filter %s; allowed are %" PRIu64,
                        passage->id, stage->input.bytes, stage->input.count, filter_session->filter->name, most);
    }
}

static void passage_check(const struct passage *passage) {
    const struct session *session = passage->session;
    for (uint32_t i = 0; i < passage->count; i++) {
        refuse_hoard(passage, &session->chain->sessions[i], FROM_CLIENT);
        refuse_hoard(passage, &session->chain->sessions[i], FROM_SERVER);
    }
}

void troupe_turn(struct troupe *troupe) {
    list_for_each (link, &troupe->passages) {
        struct passage *passage = container_of(link, struct passage, link);
        if (passage->session != NULL) {
            troupe_meet_server(troupe, passage);
            passage_check(passage);
        }
    }
    struct link last; /* of this turn */
    link_init(&last);
    list_append(&troupe->ready, &last);
    for (struct link *link = list_pop(&troupe->ready); link != &last; link = list_pop(&troupe->ready)) {
        act_resume(container_of(link, struct act, ready));
    }
}
