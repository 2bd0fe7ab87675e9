#include "actor.h"

#include "base/check.h"
#include "passage.h"
#include "world.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE_MAX = ACTOR_RUN, STEPS_MAX = 100 }; /* however small its pieces, it needs about STEPS_MAX of them */

static const char *actor_role(const struct actor *actor) {
    return actor->is_server ? "server" : "client";
}

/* The text repeats itself after a prime number of bytes, which no buffer's size divides; a piece from any place lies in
 * one run. */
enum { TEXT_PERIOD = 65521, TEXT_SIZE = TEXT_PERIOD + PIECE_MAX };

static char *text_create(struct random *random) {
    char *text = malloc(TEXT_SIZE);
    check(text != NULL);
    for (size_t i = 0; i < TEXT_SIZE; i++) {
        text[i] = i < TEXT_PERIOD ? (char)random_next(random) : text[i - TEXT_PERIOD];
    }
    return text;
}

const char *cast_text(const struct cast *cast, uint64_t offset) {
    return cast->text + offset % TEXT_PERIOD;
}

/* What the actor of that number says from `offset` on. */
static const char *text_at(const struct cast *cast, uint64_t number, uint64_t offset) {
    return cast_text(cast, number * 7919 + offset);
}

/* --- the cast ------------------------------------------------------------------------------------------------------
 */

void cast_init(struct cast *cast, struct world *world) {
    *cast = (struct cast){.world = world};
    cast->text = text_create(&world->random);
}

void cast_finish(struct cast *cast) {
    check(cast->over_count == cast->count);
    for (uint64_t i = 0; i < cast->count; i++) {
        if (cast->actors[i]->engine != NULL) {
            stream_drop(cast->actors[i]->engine);
        }
        free(cast->actors[i]->header);
        free(cast->actors[i]);
    }
    free(cast->actors);
    free(cast->text);
}

struct actor *cast_find_client(const struct cast *cast, const struct address *address) {
    for (uint64_t i = 0; i < cast->count; i++) {
        struct actor *actor = cast->actors[i];
        if (actor->is_server || actor->engine == NULL) {
            continue;
        }
        bool is_named = actor->header != NULL && address_equal(&actor->header->named, address);
        if (is_named || address_equal(&actor->address, address)) {
            return actor;
        }
    }
    return NULL;
}

static void actor_write(struct event *event);
static void actor_read(struct event *event);
static void actor_leave(struct event *event);

static struct actor *cast_enter(struct cast *cast, const struct actor_plan *plan) {
    if (cast->count == cast->capacity) {
        cast->capacity = cast->capacity == 0 ? 256 : cast->capacity * 2;
        cast->actors = realloc(cast->actors, cast->capacity * sizeof(cast->actors[0]));
        check(cast->actors != NULL);
    }
    struct actor *actor = calloc(1, sizeof(*actor));
    check(actor != NULL);
    actor->cast = cast;
    actor->plan = *plan;
    actor->number = cast->count + 1;
    event_init(&actor->write, actor_write);
    event_init(&actor->read, actor_read);
    event_init(&actor->leave, actor_leave);
    cast->actors[cast->count++] = actor;
    return actor;
}

/* --- its bytes -----------------------------------------------------------------------------------------------------
 */

/* The bytes from `offset` on: first the number, then the text from a place that belongs to it. */
static void actor_bytes(const struct actor *actor, uint64_t offset, char *bytes, size_t size) {
    memcpy(bytes, text_at(actor->cast, actor->number, offset), size);
    for (; offset < ACTOR_NUMBER_SIZE && size > 0; offset++, bytes++, size--) {
        *bytes = (char)(actor->number >> (8 * offset));
    }
}

void actor_says(const struct actor *actor, uint64_t offset, char *bytes, size_t size) {
    for (size_t part = 0; size > 0; offset += part, bytes += part, size -= part) {
        part = size < PIECE_MAX ? size : PIECE_MAX;
        actor_bytes(actor, offset, bytes, part);
    }
}

bool actor_is_introduced(const struct actor *client) {
    return client->header != NULL && client->header->is_good && client->engine->preamble == 0;
}

struct address actor_public_address(const struct actor *client) {
    bool is_named = actor_is_introduced(client) && client->header->named.length > 0;
    return is_named ? client->header->named : client->address;
}

/* A client that was gone before it was accepted has no address. */
static void server_compare_names(const struct actor *server) {
    const struct actor *client = server->partner;
    struct address address = actor_public_address(client);
    const struct address *heard = &server->header->named;
    bool is_nameless = address_is_unix(&address) || client->engine->dead;
    bool is_right = heard->length == 0 || address_is_unix(heard) ? is_nameless : address_equal(heard, &address);
    if (!is_right) {
        world_violation("server %" PRIu64 " hears in its header of somebody else than client %" PRIu64, server->number,
                        client->number);
    }
}

static void actor_meet(struct actor *actor) {
    uint64_t number = 0;
    for (int i = ACTOR_NUMBER_SIZE - 1; i >= 0; i--) {
        number = number << 8 | (unsigned char)actor->heard_number[i];
    }
    struct cast *cast = actor->cast;
    struct actor *partner = number >= 1 && number <= cast->count ? cast->actors[number - 1] : NULL;
    if (partner == NULL || partner->is_server == actor->is_server) {
        world_violation("%s %" PRIu64 " hears bytes that nobody sent to it: a stream that begins with %" PRIx64,
                        actor_role(actor), actor->number, number);
    }
    bool strangers = (actor->partner != NULL && actor->partner != partner) ||
                     (partner->partner != NULL && partner->partner != actor);
    if (strangers) {
        world_violation("%s %" PRIu64 " hears %s %" PRIu64 ": one of them is connected to somebody else",
                        actor_role(actor), actor->number, actor_role(partner), partner->number);
    }
    actor->partner = partner;
    partner->partner = actor;
    if (actor->is_server && actor->header != NULL) {
        server_compare_names(actor);
    }
}

static void actor_compare(const struct actor *actor, uint64_t offset, const char *bytes, size_t size) {
    const char *expected = text_at(actor->cast, actor->partner->number, offset);
    if (memcmp(bytes, expected, size) != 0) {
        size_t same = 0;
        while (bytes[same] == expected[same]) {
            same++;
        }
        world_violation("%s %" PRIu64 " hears a wrong byte at %" PRIu64 " from %s %" PRIu64 ", which sent %" PRIu64,
                        actor_role(actor), actor->number, offset + same, actor_role(actor->partner),
                        actor->partner->number, actor->partner->sent);
    }
    if (offset + size > actor->partner->sent) {
        world_violation("%s %" PRIu64 " hears %" PRIu64 " bytes from %s %" PRIu64 ", which sent %" PRIu64,
                        actor_role(actor), actor->number, offset + size, actor_role(actor->partner),
                        actor->partner->number, actor->partner->sent);
    }
}

/* Returns how many of the bytes belong to the header. */
static size_t actor_hear_header(struct actor *server, const char *bytes, size_t size) {
    size_t part = header_hear(server->header, bytes, size);
    if (!header_is_pending(server->header)) {
        server->engine->written -= server->header->size;
        if (server->partner != NULL) {
            server_compare_names(server);
        }
    }
    return part;
}

static void actor_hear(struct actor *actor, const char *bytes, size_t size) {
    if (actor->is_server && header_is_pending(actor->header)) {
        size_t part = actor_hear_header(actor, bytes, size);
        bytes += part;
        size -= part;
    }
    if (size == 0) {
        return;
    }
    if (actor->engine->passage != NULL) {
        passage_heard(actor->engine->passage, actor, bytes, size);
        actor->heard += size;
        return;
    }
    while (actor->heard < ACTOR_NUMBER_SIZE && size > 0) {
        actor->heard_number[actor->heard++] = *bytes++;
        size--;
        if (actor->heard == ACTOR_NUMBER_SIZE) {
            actor_meet(actor);
        }
    }
    if (size > 0) {
        actor_compare(actor, actor->heard, bytes, size);
        actor->heard += size;
    }
}

/* Some of a client's header waits to be sent. */
static bool actor_has_header(const struct actor *actor) {
    return !actor->is_server && header_is_pending(actor->header);
}

static bool actor_said_all(const struct actor *actor) {
    return actor->sent == actor->plan.bytes && !actor_has_header(actor);
}

/* --- its end -------------------------------------------------------------------------------------------------------
 */

static void actor_tell(struct actor *actor, actor_event_fn *event) {
    if (event != NULL) {
        event(actor->cast->holder, actor);
    }
}

static void actor_end(struct actor *actor) {
    struct world *world = actor->cast->world;
    world_forget(world, &actor->write);
    world_forget(world, &actor->read);
    world_forget(world, &actor->leave);
    connect_stop(&actor->connect);
    actor->over = true;
    actor->cast->over_count++;
    actor_tell(actor, actor->cast->ended);
}

static void actor_close(struct actor *actor, bool with_reset) {
    struct stream *stream = actor->stream;
    world_trace(actor->cast->world, "%s %" PRIu64 " %s; it sent %" PRIu64 " and heard %" PRIu64 " bytes",
                actor_role(actor), actor->number, with_reset ? "resets" : "closes", actor->sent, actor->heard);
    actor->stream = NULL;
    if (with_reset) {
        stream_reset(stream);
    } else {
        /* In order only if nothing that came was left unread. */
        actor->fin_sent = actor->fin_sent || (stream_readable(stream) == 0 && actor->heard_error == 0);
        stream_close(stream);
    }
    actor_end(actor);
}

static void actor_leave(struct event *event) {
    struct actor *actor = container_of(event, struct actor, leave);
    actor_tell(actor, actor->cast->bored);
    actor_close(actor, actor->plan.leaves_with_reset);
}

static bool actor_listens(const struct actor *actor) {
    return !actor->heard_fin && actor->heard < actor->plan.hear_max;
}

static void actor_broke(struct actor *actor, int error) {
    world_trace(actor->cast->world, "%s %" PRIu64 " hears error %d", actor_role(actor), actor->number, error);
    actor->heard_error = error;
    actor->plan.bytes = actor->sent;
    actor->broken = true;
}

/* --- writing and reading -------------------------------------------------------------------------------------------
 */

static void actor_later(struct actor *actor, struct event *event, uint32_t pause_us) {
    struct world *world = actor->cast->world;
    uint64_t pause_ns = pause_us == 0 ? 0 : random_below(&world->random, (uint64_t)pause_us * 1000);
    world_after(world, event, pause_ns);
}

static uint32_t actor_piece(struct actor *actor, uint32_t piece_max, uint64_t all) {
    uint64_t piece = random_scaled(&actor->cast->world->random, piece_max) + all / STEPS_MAX;
    return piece < PIECE_MAX ? (uint32_t)piece : PIECE_MAX;
}

static void actor_shut(struct actor *actor) {
    if (actor->fin_sent) {
        return;
    }
    int result = stream_shutdown(actor->stream);
    actor->fin_sent = result == 0;
    world_trace(actor->cast->world, "%s %" PRIu64 " ends its stream after %" PRIu64 " bytes", actor_role(actor),
                actor->number, actor->sent);
}

/* All its bytes are sent, or the other has ended: what now? */
static void actor_go_on(struct actor *actor) {
    bool said_all = actor_said_all(actor);
    switch (actor->plan.ending) {
    case ENDS_WITH_FIN:
        if (said_all) {
            actor_shut(actor);
        }
        break;
    case ENDS_AFTER_OTHER:
        if (actor->heard_fin && said_all) {
            actor_shut(actor);
        }
        break;
    case ENDS_AT_ONCE:
    case ENDS_WITH_RESET:
        if (said_all) {
            actor_close(actor, actor->plan.ending == ENDS_WITH_RESET);
            return;
        }
        break;
    case ENDS_BY_FAILURE:
        if (said_all && !actor->stream->dead) {
            stream_fail(actor->stream, ETIMEDOUT);
            return;
        }
        break;
    case ENDS_NEVER:
        break;
    }
    if (actor->heard_fin && actor->fin_sent) {
        actor_close(actor, false);
    }
}

static bool actor_may_write(const struct actor *actor) {
    bool may_speak = actor->heard >= actor->plan.begin_after || actor->heard_fin || actor_has_header(actor);
    return actor->stream != NULL && !actor->broken && !actor_said_all(actor) && may_speak;
}

/* A piece of what is to be said next. */
static uint32_t actor_next(struct actor *actor, char bytes[static PIECE_MAX]) {
    uint64_t left = actor->plan.bytes - actor->sent;
    uint32_t piece = actor_piece(actor, actor->plan.write_piece, actor->plan.bytes);
    uint32_t room = stream_writable(actor->stream);
    const struct header *header = actor->header;
    bool is_header = actor_has_header(actor);
    left = is_header ? header->size - header->passed : left;
    piece = left < piece ? (uint32_t)left : piece;
    piece = room > 0 && room < piece ? room : piece;
    if (is_header) {
        memcpy(bytes, header->bytes + header->passed, piece);
    } else {
        actor_bytes(actor, actor->sent, bytes, piece);
    }
    return piece;
}

static void actor_write(struct event *event) {
    struct actor *actor = container_of(event, struct actor, write);
    char bytes[PIECE_MAX];
    if (!actor_may_write(actor)) {
        return;
    }
    uint32_t piece = actor_next(actor, bytes);
    int64_t written = stream_write(actor->stream, bytes, piece);
    if (written == -EAGAIN) {
        return; /* until there are news */
    }
    if (written < 0) {
        actor_broke(actor, (int)written);
        if (!actor_listens(actor)) {
            actor_close(actor, false);
        } else if (!event_is_set(&actor->read)) {
            actor_later(actor, &actor->read, 0); /* what came before can still be read */
        }
        return;
    }
    if (actor_has_header(actor)) {
        actor->header->passed += (uint32_t)written;
    } else {
        actor->sent += (uint64_t)written;
    }
    actor_tell(actor, actor->cast->moved);
    if (actor_said_all(actor)) {
        actor_go_on(actor);
    } else {
        actor_later(actor, &actor->write, actor->plan.write_pause_us);
    }
}

static void actor_heard_end(struct actor *actor) {
    world_trace(actor->cast->world, "%s %" PRIu64 " hears the end after %" PRIu64 " bytes", actor_role(actor),
                actor->number, actor->heard);
    if (actor->is_server && !actor->engine->local && actor->header != NULL && actor->stream->in.fin_arrived &&
        actor->header->passed > 0 && header_is_pending(actor->header)) {
        world_violation("server %" PRIu64 " hears the end within its header", actor->number);
    }
    /* Once the error that broke it was told, a broken connection reads like an ended one. */
    actor->heard_fin = actor->stream->in.fin_arrived;
    actor->plan.begin_after = 0;
    if (actor->heard_error != 0) {
        actor_close(actor, false);
    } else {
        actor_go_on(actor);
    }
}

static void actor_read(struct event *event) {
    struct actor *actor = container_of(event, struct actor, read);
    char bytes[PIECE_MAX];
    uint32_t piece =
        actor_piece(actor, actor->plan.read_piece, actor->partner == NULL ? 0 : actor->partner->plan.bytes);
    int64_t count = stream_read(actor->stream, bytes, piece);
    if (count == -EAGAIN) {
        return;
    }
    if (count < 0) {
        actor_broke(actor, (int)count);
        actor_close(actor, false);
    } else if (count == 0) {
        actor_heard_end(actor);
    } else {
        actor_hear(actor, bytes, (size_t)count);
        actor_tell(actor, actor->cast->moved);
        actor_later(actor, &actor->read, actor->plan.read_pause_us);
    }
    if (actor_may_write(actor) && !event_is_set(&actor->write)) {
        actor_later(actor, &actor->write, actor->plan.write_pause_us);
    }
}

static void actor_news(void *holder) {
    struct actor *actor = holder;
    if (actor_listens(actor) && !event_is_set(&actor->read) && stream_poll_read(actor->stream)) {
        actor_later(actor, &actor->read, actor->plan.read_pause_us);
    }
    if (actor_may_write(actor) && !event_is_set(&actor->write) && stream_poll_write(actor->stream)) {
        actor_later(actor, &actor->write, actor->plan.write_pause_us);
    }
}

/* --- entering ------------------------------------------------------------------------------------------------------
 */

static void actor_begin(struct actor *actor, struct stream *stream) {
    struct world *world = actor->cast->world;
    actor->stream = stream;
    actor->engine = stream->other;
    stream_hold(stream);
    actor->address = stream->address;
    actor->engine->preamble = actor_has_header(actor) ? actor->header->size : 0;
    stream->news = actor_news;
    stream->holder = actor;
    if (actor->engine->passage != NULL) {
        passage_enter(actor->engine->passage, actor);
    }
    world_after(world, &actor->leave, actor->plan.patience_us * 1000);
    if (actor_said_all(actor)) {
        actor_go_on(actor);
    }
    if (actor->stream != NULL) {
        actor_news(actor);
    }
}

static void actor_connected(void *holder) {
    struct actor *actor = holder;
    actor->connect_result = actor->connect.result;
    world_trace(actor->cast->world, "client %" PRIu64 " connects: %d", actor->number, actor->connect_result);
    if (actor->connect_result == 0) {
        actor_begin(actor, actor->connect.stream);
    } else {
        actor_end(actor);
    }
}

void actor_enter_client(struct cast *cast, const struct actor_plan *plan, const struct address *to, unsigned versions,
                        uint64_t delay_ns) {
    struct actor *actor = cast_enter(cast, plan);
    actor->header = versions == 0 ? NULL : header_draw(versions, actor->number, &cast->world->random);
    connect_init(&actor->connect, cast->world, actor_connected, actor);
    connect_start_after(&actor->connect, to, delay_ns);
}

void actor_enter_server(struct cast *cast, const struct actor_plan *plan, struct stream *stream, unsigned version) {
    struct actor *actor = cast_enter(cast, plan);
    actor->header = version == 0 ? NULL : header_expect(version);
    actor->is_server = true;
    connect_init(&actor->connect, cast->world, NULL, NULL);
    world_trace(cast->world, "server %" PRIu64 " accepts", actor->number);
    actor_begin(actor, stream);
}
