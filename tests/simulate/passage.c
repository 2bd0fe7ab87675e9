#include "passage.h"

#include "base/check.h"
#include "engine/chain.h"
#include "engine/session.h"
#include "world.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static size_t course_give(struct passage *passage, enum direction direction, uint32_t position, char *bytes,
                          size_t size);
static bool course_is_over(struct passage *passage, enum direction direction, uint32_t position);

/* --- making one ----------------------------------------------------------------------------------------------------
 */

struct passage *passage_create(struct cast *cast, struct session *session, uint32_t count) {
    struct passage *passage = calloc(1, sizeof(*passage));
    check(passage != NULL);
    check(count <= PASSAGE_FILTERS_MAX);
    *passage = (struct passage){.cast = cast, .session = session, .id = session->id, .count = count};
    passage->timeouts = session->settings->timeouts;
    link_init(&passage->link);
    for (int direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
        for (uint32_t i = 0; i < count; i++) {
            struct node *node = &passage->courses[direction].nodes[i];
            node->until_in = UINT64_MAX;
            node->end_in = UINT64_MAX;
            node->end_out = UINT64_MAX;
        }
    }
    return passage;
}

void passage_destroy(struct passage *passage) {
    for (int direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
        for (uint32_t i = 0; i < passage->count; i++) {
            free(passage->courses[direction].nodes[i].inserts);
            free(passage->courses[direction].nodes[i].seen);
        }
    }
    free(passage);
}

void passage_meet(struct passage *passage, struct stream *engine) {
    if (engine->passage != NULL) {
        return;
    }
    engine->passage = passage;
    if (engine->other->holder != NULL) {
        passage_enter(passage, engine->other->holder);
    }
}

void passage_enter(struct passage *passage, struct actor *actor) {
    if (actor->is_server) {
        passage->server = actor;
    } else {
        passage->client = actor;
    }
    if (passage->client != NULL && passage->server != NULL) {
        passage->client->partner = passage->server;
        passage->server->partner = passage->client;
    }
}

/* --- what scripts tell ---------------------------------------------------------------------------------------------
 */

void node_transforms(struct node *node, const struct segment_manners *manners, uint64_t seed, bool strict) {
    node->transforms = true;
    node->strict = strict;
    segments_init(&node->segments, manners, seed);
}

/* What was heard was sent before, so nothing can be told any more of what lies before that. */
static void refuse_behind(const struct node *node, uint64_t out, const char *what) {
    if (out < node->out) {
        world_violation("%" PRIu64 " bytes from behind a filter were heard when %s after %" PRIu64, node->out, what,
                        out);
    }
}

void node_insert(struct node *node, uint64_t at, uint64_t from, uint32_t size) {
    refuse_behind(node, at, "it wrote something");
    if (node->inserts_count == node->inserts_capacity) {
        node->inserts_capacity = node->inserts_capacity == 0 ? 4 : node->inserts_capacity * 2;
        node->inserts = realloc(node->inserts, node->inserts_capacity * sizeof(node->inserts[0]));
        check(node->inserts != NULL);
    }
    node->inserts[node->inserts_count++] = (struct insert){.at = at, .from = from, .size = size};
}

void node_forget_insert(struct node *node) {
    check(node->inserts_count > node->inserts_written);
    node->inserts_count--;
}

/* What was to come behind a message comes at once: the message has no end any more. */
static void node_hasten(struct node *node, uint64_t out) {
    for (uint32_t i = node->inserts_written; i < node->inserts_count; i++) {
        node->inserts[i].at = node->inserts[i].at < out ? node->inserts[i].at : out;
    }
}

void node_put_off(struct node *node, uint64_t at, uint64_t size) {
    for (uint32_t i = node->inserts_count; i > node->inserts_written && size > 0; i--) {
        struct insert *insert = &node->inserts[i - 1];
        insert->at = at;
        size -= insert->size < size ? insert->size : size;
    }
}

void node_leave(struct node *node, uint64_t in, uint64_t out) {
    if (node->until_in == UINT64_MAX) {
        refuse_behind(node, out, "it left");
        node_hasten(node, out);
        node->until_in = in;
        node->until_out = out;
    }
}

void node_end(struct node *node, uint64_t in, uint64_t out) {
    if (node->end_out == UINT64_MAX) {
        refuse_behind(node, out, "it ended the stream");
        node_hasten(node, out);
        node->end_in = in;
        node->end_out = out;
    }
}

void passage_note_question(struct passage *passage) {
    uint32_t round = passage->session->chain->detours + 1U;
    if (passage->asked_round != round) {
        passage->asked_round = round;
        passage->asked_ns = passage->cast->world->now_ns;
    }
}

void passage_note_limit(struct passage *passage, enum direction direction, uint64_t rate) {
    struct session *session = passage->session;
    const struct flow *flow = direction == FROM_CLIENT ? &session->from_client : &session->from_server;
    uint64_t allowed = flow->recv_op.in_flight ? FLOW_QUEUE_MAX : 0; /* a receive that was started before goes on */
    passage->paces[direction] =
        (struct pace){.rate = rate, .since_ns = session->engine->now_us * 1000, .bytes = flow->bytes + allowed};
}

/* --- the source ----------------------------------------------------------------------------------------------------
 */

static const struct actor *passage_source(const struct passage *passage, enum direction direction) {
    return direction == FROM_CLIENT ? passage->client : passage->server;
}

/* An end is seen once everything before it was read. */
static bool stream_is_read(const struct stream *engine) {
    return engine->in.arrived == 0 && (engine->in.fin_arrived || engine->dead);
}

void passage_close(struct passage *passage) {
    for (int direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
        const struct actor *source = passage_source(passage, (enum direction)direction);
        passage->read_last[direction] = source == NULL ? 0 : source->engine->read;
        passage->ended_last[direction] = source != NULL && stream_is_read(source->engine);
    }
    passage->session = NULL;
}

static uint64_t source_read(const struct passage *passage, enum direction direction) {
    return passage->session == NULL ? passage->read_last[direction] : passage_source(passage, direction)->engine->read;
}

static size_t source_give(struct passage *passage, enum direction direction, char *bytes, size_t size) {
    struct course *course = &passage->courses[direction];
    const struct actor *source = passage_source(passage, direction);
    if (source == NULL) {
        return 0;
    }
    uint64_t at = course->skipped + course->taken;
    uint64_t read = source_read(passage, direction);
    uint64_t left = read > at ? read - at : 0;
    size = size < left ? size : (size_t)left;
    actor_says(source, at, bytes, size);
    course->taken += size;
    return size;
}

static bool source_is_over(const struct passage *passage, enum direction direction) {
    const struct course *course = &passage->courses[direction];
    const struct actor *source = passage_source(passage, direction);
    if (source == NULL || course->skipped + course->taken < source_read(passage, direction)) {
        return false;
    }
    return passage->session == NULL ? passage->ended_last[direction] : stream_is_read(source->engine);
}

/* --- nodes ---------------------------------------------------------------------------------------------------------
 */

/* Somebody who asks a node for bytes. */
struct demand {
    struct passage *passage;
    enum direction direction;
    uint32_t position;
    struct node *node;
};

static size_t input_give(const struct demand *demand, char *bytes, size_t size) {
    return demand->position == 0 ? source_give(demand->passage, demand->direction, bytes, size)
                                 : course_give(demand->passage, demand->direction, demand->position - 1, bytes, size);
}

/* Nothing comes behind what was taken and seen. */
static bool input_is_seen(const struct demand *demand) {
    return demand->position == 0 ? source_is_over(demand->passage, demand->direction)
                                 : course_is_over(demand->passage, demand->direction, demand->position - 1);
}

static bool input_is_over(const struct demand *demand) {
    const struct node *node = demand->node;
    return node->in >= node->end_in || (node->seen_size == 0 && input_is_seen(demand));
}

/* How many bytes of the input can be seen, of `size`. */
static uint32_t input_see(const struct demand *demand, uint32_t size) {
    struct node *node = demand->node;
    if (node->seen_capacity < size) {
        node->seen_capacity = size;
        node->seen = realloc(node->seen, size);
        check(node->seen != NULL);
    }
    if (node->seen_size < size) {
        node->seen_size += (uint32_t)input_give(demand, node->seen + node->seen_size, size - node->seen_size);
    }
    return node->seen_size < size ? node->seen_size : size;
}

/* bytes NULL: they are dropped. */
static size_t input_take(const struct demand *demand, char *bytes, size_t size) {
    struct node *node = demand->node;
    char dropped[4096];
    uint64_t left = node->end_in - node->in;
    size = size < left ? size : (size_t)left;
    size = bytes == NULL && size > sizeof(dropped) ? sizeof(dropped) : size;
    bytes = bytes == NULL ? dropped : bytes;
    size_t seen = node->seen_size < size ? node->seen_size : size;
    if (seen > 0) {
        memcpy(bytes, node->seen, seen);
        node->seen_size -= (uint32_t)seen;
        memmove(node->seen, node->seen + seen, node->seen_size);
    }
    size_t taken = seen + (size > seen ? input_give(demand, bytes + seen, size - seen) : 0);
    node->in += taken;
    return taken;
}

static size_t smaller(uint64_t a, size_t b) {
    return a < b ? (size_t)a : b;
}

static size_t insert_give(const struct demand *demand, char *bytes, size_t size) {
    struct node *node = demand->node;
    struct insert *insert = &node->inserts[node->inserts_written];
    size_t part = smaller(insert->size - insert->written, size);
    memcpy(bytes, cast_text(demand->passage->cast, insert->from + insert->written), part);
    insert->written += (uint32_t)part;
    node->inserts_written += insert->written == insert->size ? 1 : 0;
    return part;
}

static size_t segment_put(const struct demand *demand, char *bytes, size_t size) {
    struct node *node = demand->node;
    size_t part = smaller(node->segment.put_size - node->segment_put, size);
    memcpy(bytes, cast_text(demand->passage->cast, node->segment.put_from + node->segment_put), part);
    node->segment_put += (uint32_t)part;
    node->out += part;
    return part;
}

/* Whether the next segment begins: something of it is there, or all of it. One that is to be decided as a whole and
 * never comes is left alone; or dropped, by a strict filter that needs more. */
static bool segment_begin(const struct demand *demand) {
    struct node *node = demand->node;
    struct segments before = node->segments;
    struct segment segment = segments_next(&node->segments);
    uint32_t wanted = segment.whole ? segment.size : 1;
    bool is_there = input_see(demand, wanted) == wanted;
    bool never_comes = !is_there && node->seen_size > 0 && segment.whole && input_is_seen(demand);
    if (!is_there && !never_comes) {
        node->segments = before;
        return false;
    }
    if (never_comes) {
        bool dropped = node->strict && !segment.waits;
        segment = (struct segment){.size = segment.size, .action = dropped ? SEGMENT_IS_DROPPED : SEGMENT_PASSES};
    }
    node->segment = segment;
    node->segment_in = 0;
    node->segment_put = 0;
    node->in_segment = true;
    return true;
}

enum progress { STUCK, MOVED };

/* One step through the segment in progress; *given: bytes that came out. */
static enum progress segment_step(const struct demand *demand, char *bytes, size_t size, size_t *given) {
    struct node *node = demand->node;
    const struct segment *segment = &node->segment;
    bool has_put = node->segment_put == segment->put_size;
    if (segment_puts_before(segment) && !has_put) {
        *given = segment_put(demand, bytes, size);
        return MOVED;
    }
    if (node->segment_in < segment->size) {
        uint64_t left = segment->size - node->segment_in;
        uint64_t until = node->until_in > node->in ? node->until_in - node->in : 0;
        left = left < until ? left : until;
        bool passes = segment_passes(segment);
        size_t taken = input_take(demand, passes ? bytes : NULL, smaller(left, passes ? size : SIZE_MAX));
        node->segment_in += (uint32_t)taken;
        node->out += passes ? taken : 0;
        *given = passes ? taken : 0;
        if (taken == 0 && input_is_over(demand)) { /* the rest was decided, and never comes */
            uint64_t rest = segment->ahead ? segment->size - node->segment_in : 0;
            node->in += rest; /* so far it has gone, also if it leaves there */
            node->out += passes ? rest : 0;
            node->segment_in = segment->size;
            return MOVED;
        }
        return taken > 0 ? MOVED : STUCK;
    }
    if (segment_puts_behind(segment) && !has_put) {
        *given = segment_put(demand, bytes, size);
        return MOVED;
    }
    node->in_segment = false;
    return MOVED;
}

static bool node_has_left(const struct node *node) {
    return !node->transforms || (node->in >= node->until_in && node->out >= node->until_out);
}

static enum progress node_step(const struct demand *demand, char *bytes, size_t size, size_t *given) {
    struct node *node = demand->node;
    *given = 0;
    bool has_insert = node->inserts_written < node->inserts_count;
    if (has_insert && node->inserts[node->inserts_written].at <= node->out) {
        *given = insert_give(demand, bytes, size);
        return MOVED;
    }
    if (node->out >= node->end_out) {
        return STUCK;
    }
    uint64_t next = has_insert ? node->inserts[node->inserts_written].at : UINT64_MAX;
    next = next < node->end_out ? next : node->end_out;
    size = smaller(next - node->out, size);
    if (node_has_left(node)) {
        *given = input_take(demand, bytes, size);
        node->out += *given;
        return *given > 0 ? MOVED : STUCK;
    }
    if (node->in_segment || segment_begin(demand)) {
        return segment_step(demand, bytes, size, given);
    }
    if (has_insert && input_is_over(demand)) { /* it waits for the end of a message that never comes */
        *given = insert_give(demand, bytes, size);
        return MOVED;
    }
    return STUCK;
}

static struct demand demand_of(struct passage *passage, enum direction direction, uint32_t position) {
    return (struct demand){.passage = passage,
                           .direction = direction,
                           .position = position,
                           .node = &passage->courses[direction].nodes[position]};
}

static size_t course_give(struct passage *passage, enum direction direction, uint32_t position, char *bytes,
                          size_t size) {
    struct demand demand = demand_of(passage, direction, position);
    size_t done = 0;
    while (done < size) {
        size_t given = 0;
        enum progress progress = node_step(&demand, bytes + done, size - done, &given);
        done += given;
        if (progress == STUCK) {
            break;
        }
    }
    return done;
}

/* Asked after it gave nothing: nothing will ever come out. */
static bool course_is_over(struct passage *passage, enum direction direction, uint32_t position) {
    struct demand demand = demand_of(passage, direction, position);
    const struct node *node = demand.node;
    if (node->inserts_written < node->inserts_count) {
        return false;
    }
    bool is_between = !node->in_segment || node_has_left(node);
    return node->out >= node->end_out || (is_between && input_is_over(&demand));
}

/* --- asking --------------------------------------------------------------------------------------------------------
 */

size_t passage_hear(struct passage *passage, enum direction direction, char *bytes, size_t size) {
    return course_give(passage, direction, passage->count - 1, bytes, size);
}

size_t passage_come(struct passage *passage, enum direction direction, uint32_t filter, char *bytes, size_t size) {
    uint32_t position = direction == FROM_CLIENT ? filter : passage->count - 1 - filter;
    struct demand demand = demand_of(passage, direction, position);
    return input_take(&demand, bytes, size);
}

bool passage_is_complete(struct passage *passage, enum direction direction) {
    char byte;
    return passage_hear(passage, direction, &byte, 1) == 0 && course_is_over(passage, direction, passage->count - 1);
}

void passage_explain(const struct passage *passage, enum direction direction) {
    const struct course *course = &passage->courses[direction];
    fprintf(
        stderr, "simulate: session %" PRIu64 " %s: %" PRIu64 " bytes of the source were skipped, %" PRIu64 " taken\n",
        passage->id, direction == FROM_CLIENT ? "from the client" : "from the server", course->skipped, course->taken);
    for (uint32_t i = 0; i < passage->count; i++) {
        const struct node *node = &course->nodes[i];
        fprintf(stderr,
                "simulate: node %u%s: in %" PRIu64 " out %" PRIu64 " leaves at %" PRIu64 "/%" PRIu64 " ends at %" PRIu64
                "/%" PRIu64 ", %u of %u inserts, %u seen, %s %u/%u bytes action %d\n",
                i, node->transforms ? "" : " passes", node->in, node->out, node->until_in, node->until_out,
                node->end_in, node->end_out, node->inserts_written, node->inserts_count, node->seen_size,
                node->in_segment ? "in a segment" : "between segments", node->segment_in, node->segment.size,
                (int)node->segment.action);
        for (uint32_t j = node->inserts_written; j < node->inserts_count; j++) {
            fprintf(stderr, "simulate:     an insert of %u bytes at %" PRIu64 "\n", node->inserts[j].size,
                    node->inserts[j].at);
        }
    }
}

static void refuse_byte(const struct passage *passage, const struct actor *actor, size_t at, size_t known) {
    const char *name = actor->is_server ? "server" : "client";
    passage_explain(passage, actor->is_server ? FROM_CLIENT : FROM_SERVER);
    if (at == known) {
        world_violation("session %" PRIu64 ": %s %" PRIu64 " hears more than its filters can have sent, from %" PRIu64
                        " on",
                        passage->id, name, actor->number, actor->heard + known);
    }
    world_violation("session %" PRIu64 ": %s %" PRIu64 " hears a wrong byte at %" PRIu64, passage->id, name,
                    actor->number, actor->heard + at);
}

void passage_heard(struct passage *passage, const struct actor *actor, const char *bytes, size_t size) {
    char expected[16 * 1024];
    enum direction direction = actor->is_server ? FROM_CLIENT : FROM_SERVER;
    for (size_t done = 0; done < size;) {
        size_t part = smaller(size - done, sizeof(expected));
        size_t known = passage_hear(passage, direction, expected, part);
        for (size_t i = 0; i < known; i++) {
            if (expected[i] != bytes[done + i]) {
                refuse_byte(passage, actor, done + i, SIZE_MAX);
            }
        }
        if (known < part) {
            refuse_byte(passage, actor, done + known, done + known);
        }
        done += part;
    }
}
