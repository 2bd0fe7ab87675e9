#include "tests/unit/lua/viewing.h"

#include "lua/libs.h"
#include "lua/task.h"

#include <criterion/criterion.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { YIELD_PAUSE = 1000, HOLD_MAX = 64 * 1024 };

static int api_pause(lua_State *L) {
    lua_pushnumber(L, YIELD_PAUSE);
    return lua_yield(L, 1);
}

static int api_note(lua_State *L) {
    struct viewing *viewing = lua_touserdata(L, lua_upvalueindex(1));
    size_t size;
    const char *text = luaL_checklstring(L, 1, &size);
    bytes_append(&viewing->notes, text, size);
    bytes_append_char(&viewing->notes, ';');
    return 0;
}

static int open_library(lua_State *L, void *argument) {
    struct viewing *viewing = argument;
    libs_push_library(L);
    views_open(L, viewing->views);
    libs_push_globals(L);
    lua_pushcfunction(L, api_pause);
    lua_setfield(L, -2, "pause");
    lua_pushlightuserdata(L, viewing);
    lua_pushcclosure(L, api_note, 1);
    lua_setfield(L, -2, "note");
    return 0;
}

static void viewing_call(struct viewing *viewing, script_function_fn *function) {
    enum script_outcome outcome = script_call(viewing->workbench.script, function, viewing, &viewing->workbench.result);
    cr_assert_eq(outcome, SCRIPT_RETURNED, "%s", viewing->workbench.result.text);
}

void viewing_prepare(struct viewing *viewing) {
    *viewing = (struct viewing){.failed = false};
    workbench_open(&viewing->workbench);
    bytes_init(&viewing->notes);
}

void viewing_start(struct viewing *viewing) {
    workbench_start(&viewing->workbench);
    viewing->views = views_create();
    cr_assert_not_null(viewing->views);
    viewing_call(viewing, open_library);
    cr_assert(buffers_init(&viewing->engine.buffers, NULL, 1));
    list_init(&viewing->engine.entry.touched);
    viewing->filter =
        (struct filter){.name = "test", .hooks = 1u << HOOK_FROM_CLIENT | 1u << HOOK_FROM_SERVER, .hold_max = HOLD_MAX};
}

void viewing_open(struct viewing *viewing) {
    viewing_prepare(viewing);
    viewing_start(viewing);
}

void viewing_close(struct viewing *viewing) {
    workbench_close(&viewing->workbench);
    views_destroy(viewing->views);
    buffers_finish(&viewing->engine.buffers);
    bytes_finish(&viewing->notes);
}

/* --- a session ---------------------------------------------------------------------------------------------------- */

static int push_bufs(lua_State *L, void *argument) {
    struct viewing *viewing = argument;
    for (int direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
        view_push_buf(L, viewing->views, viewing->slot, (enum direction)direction);
        viewing->flows[direction].buf = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    return 0;
}

static void chain_make(struct viewing *viewing) {
    viewing->chain = calloc(1, sizeof(*viewing->chain) + sizeof(*viewing->filter_session));
    cr_assert_not_null(viewing->chain);
    viewing->session.engine = &viewing->engine;
    viewing->chain->session = &viewing->session;
    viewing->chain->count = 1;
    viewing->filter_session = &viewing->chain->sessions[0];
    *viewing->filter_session = (struct filter_session){.filter = &viewing->filter, .chain = viewing->chain};
    link_init(&viewing->filter_session->touched);
}

void viewing_begin(struct viewing *viewing, const char *script) {
    enum script_outcome outcome = workbench_load_text(&viewing->workbench, script);
    cr_assert_eq(outcome, SCRIPT_RETURNED, "%s", viewing->workbench.result.text);
    chain_make(viewing);
    viewing->failed = false;
    viewing->reason[0] = 0;
    bytes_clear(&viewing->notes);
    for (int direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
        stage_init(&viewing->filter_session->stages[direction]);
        queue_init(&viewing->filter_session->outbox[direction]);
        viewing->filter_session->stages[direction].has_hook = true;
        viewing->flows[direction] = (struct viewing_flow){.buf = LUA_NOREF};
        bytes_init(&viewing->flows[direction].out);
    }
    cr_assert(views_take(viewing->views, viewing->filter_session, &viewing->slot));
    viewing_call(viewing, push_bufs);
}

void viewing_finish(struct viewing *viewing) {
    views_give(viewing->views, viewing->slot);
    for (int direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
        struct viewing_flow *flow = &viewing->flows[direction];
        if (flow->thread != NULL) {
            script_thread_give(viewing->workbench.script, flow->thread);
        }
        luaL_unref(viewing->workbench.script->state, LUA_REGISTRYINDEX, flow->buf);
        queue_clear(&viewing->filter_session->outbox[direction], &viewing->engine.buffers);
        stage_finish(&viewing->filter_session->stages[direction], &viewing->engine.buffers);
        bytes_finish(&flow->out);
    }
    free(viewing->chain);
}

/* --- what the engine does ----------------------------------------------------------------------------------------- */

static void send_out(struct viewing *viewing, struct queue *queue, enum direction direction) {
    for (const struct slice *slice = queue->first; slice != NULL; slice = slice->next) {
        bytes_append(&viewing->flows[direction].out, slice->start, slice->size);
    }
    queue_clear(queue, &viewing->engine.buffers);
}

static void leave_entry(struct viewing *viewing) {
    viewing->engine.entry.open = false;
    link_remove(&viewing->filter_session->touched);
    for (int direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
        struct filter_session *filter_session = viewing->filter_session;
        send_out(viewing, &filter_session->outbox[direction], (enum direction)direction);
        queue_move_all(&filter_session->behind[direction], &filter_session->stages[direction].later);
    }
}

/* In a slice of its own, at the very end of its memory: so that a read beyond it is found. */
static void append_tight(struct viewing *viewing, struct queue *queue, const char *bytes, size_t size) {
    cr_assert(queue_append_copy(queue, &viewing->engine.buffers, bytes, size));
    struct slice *slice = queue->last;
    uint32_t spare = slice->buffer->capacity - slice->size;
    memmove(slice->start + spare, slice->start, slice->size);
    slice->start += spare;
}

/* What is held lies in other memory than before. */
static void move_held(struct viewing *viewing) {
    struct buffers *buffers = &viewing->engine.buffers;
    for (int direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
        struct queue moved;
        struct queue *input = &viewing->filter_session->stages[direction].input;
        queue_init(&moved);
        for (const struct slice *slice = input->first; slice != NULL; slice = slice->next) {
            append_tight(viewing, &moved, slice->start, slice->size);
        }
        queue_clear(input, buffers);
        queue_move_all(&moved, input);
    }
}

static void fail(struct viewing *viewing, enum direction direction, const char *reason) {
    viewing->failed = true;
    snprintf(viewing->reason, sizeof(viewing->reason), "%s", reason);
    view_stop(viewing->views, viewing->slot, direction);
}

/* As the chain has it: what was left alone is passed. */
static void settle(struct viewing *viewing, enum direction direction) {
    struct stage *stage = &viewing->filter_session->stages[direction];
    bool wants_more = stage->need > 0 && !stage->told && stage->has_hook;
    stage->busy = false;
    if (wants_more && (stage->need > HOLD_MAX || stage->shown > HOLD_MAX)) {
        fail(viewing, direction, "hold_max");
    } else if (!wants_more && !stage_is_ahead(stage)) {
        struct queue out;
        queue_init(&out);
        stage->need = 0;
        stage_pass(stage, &viewing->engine.buffers, stage->shown, &out);
        send_out(viewing, &out, direction);
    }
}

static void note_wait(struct viewing *viewing, enum direction direction, struct script_thread *thread) {
    struct viewing_flow *flow = &viewing->flows[direction];
    flow->thread = thread;
    flow->waits_for_bytes = lua_tonumber(thread->state, 1) == WAIT_BYTES;
    if (flow->waits_for_bytes) {
        cr_assert_eq((int)lua_tonumber(thread->state, 2), (int)direction);
        flow->wanted = (uint32_t)lua_tonumber(thread->state, 3);
    }
    lua_settop(thread->state, 0);
}

/* Enters the thread, and what a loop has left behind it. True: the hook is over. */
static bool enter(struct viewing *viewing, enum direction direction, struct script_thread *thread, int arguments) {
    struct workbench *workbench = &viewing->workbench;
    for (;;) {
        enum script_outcome outcome = script_enter(workbench->script, thread, arguments, &workbench->result);
        if (outcome == SCRIPT_YIELDED) {
            if (view_pause(viewing->views, viewing->slot) == VIEW_FAILED) {
                fail(viewing, direction, view_reason(viewing->views));
            }
            note_wait(viewing, direction, thread);
            return false;
        }
        enum view_outcome ended = VIEW_FAILED;
        if (outcome == SCRIPT_RETURNED) {
            ended = view_end(viewing->views, viewing->slot, direction);
        }
        if (ended != VIEW_FINISH) {
            if (ended == VIEW_FAILED) {
                fail(viewing, direction,
                     outcome == SCRIPT_RETURNED ? view_reason(viewing->views) : workbench->result.text);
            }
            script_thread_give(workbench->script, thread);
            return true;
        }
        lua_settop(thread->state, 0);
        view_push_finish(thread->state, viewing->views);
        lua_rawgeti(thread->state, LUA_REGISTRYINDEX, viewing->flows[direction].buf);
        arguments = 1;
    }
}

static void run(struct viewing *viewing, enum direction direction, struct script_thread *thread, int arguments) {
    if (enter(viewing, direction, thread, arguments)) {
        leave_entry(viewing);
        if (!viewing->failed) {
            settle(viewing, direction);
        }
    } else {
        leave_entry(viewing);
    }
    move_held(viewing);
}

static void push_hook(struct viewing *viewing, lua_State *thread, enum direction direction) {
    lua_rawgeti(thread, LUA_REGISTRYINDEX, viewing->workbench.reference);
    lua_getfield(thread, -1, hook_name(direction_hook(direction)));
    lua_remove(thread, -2);
    lua_rawgeti(thread, LUA_REGISTRYINDEX, viewing->flows[direction].buf);
}

static void run_hook(struct viewing *viewing, enum direction direction) {
    struct stage *stage = &viewing->filter_session->stages[direction];
    uint32_t wanted = stage->need > 0 ? stage->need : 1;
    stage->need = 0;
    stage_show(stage, &viewing->engine.buffers, wanted);
    stage->busy = true;
    viewing->engine.entry.open = true;
    enum view_outcome outcome = view_begin(viewing->views, viewing->slot, direction);
    if (outcome != VIEW_DONE) {
        leave_entry(viewing);
        if (outcome == VIEW_FAILED) {
            fail(viewing, direction, view_reason(viewing->views));
        } else {
            settle(viewing, direction);
        }
        return;
    }
    struct script_thread *thread = script_thread_take(viewing->workbench.script);
    cr_assert_not_null(thread);
    viewing->flows[direction].entered++;
    push_hook(viewing, thread->state, direction);
    run(viewing, direction, thread, 1);
}

static void run_ahead(struct viewing *viewing, enum direction direction) {
    struct queue out;
    queue_init(&out);
    stage_run_ahead(&viewing->filter_session->stages[direction], &viewing->engine.buffers, &out);
    send_out(viewing, &out, direction);
}

static void go_by(struct viewing *viewing, enum direction direction) {
    struct stage *stage = &viewing->filter_session->stages[direction];
    stage->offset += stage->input.bytes;
    stage->shown = 0;
    send_out(viewing, &stage->input, direction);
}

static bool is_ripe(struct stage *stage) {
    uint32_t wanted = stage->need > 0 ? stage->need : 1;
    if (stage->input.bytes < wanted && stage->ended && stage->input.bytes > 0 && !stage->told) {
        stage->told = true;
        stage->need = stage->input.bytes;
        return true;
    }
    return stage->input.bytes >= wanted;
}

static void resume(struct viewing *viewing, enum direction direction, enum wake wake) {
    struct viewing_flow *flow = &viewing->flows[direction];
    struct script_thread *thread = flow->thread;
    flow->thread = NULL;
    viewing->engine.entry.open = true;
    view_resume(viewing->views, viewing->slot);
    lua_pushnumber(thread->state, wake);
    run(viewing, direction, thread, 1);
}

static void work(struct viewing *viewing, enum direction direction) {
    struct stage *stage = &viewing->filter_session->stages[direction];
    const struct viewing_flow *flow = &viewing->flows[direction];
    while (!viewing->failed) {
        run_ahead(viewing, direction);
        if (flow->thread != NULL && flow->waits_for_bytes && (stage->input.bytes >= flow->wanted || stage->ended)) {
            resume(viewing, direction, stage->input.bytes >= flow->wanted ? WAKE_DONE : WAKE_EOF);
        } else if (!stage->has_hook && !stage->busy) {
            go_by(viewing, direction);
            return;
        } else if (stage->busy || stage_is_ahead(stage) || !is_ripe(stage)) {
            return;
        } else {
            run_hook(viewing, direction);
        }
    }
}

/* --- what tests do ------------------------------------------------------------------------------------------------ */

void viewing_feed(struct viewing *viewing, enum direction direction, const void *bytes, size_t size) {
    struct stage *stage = &viewing->filter_session->stages[direction];
    append_tight(viewing, &stage->input, bytes, size);
    stage_came(stage, viewing->engine.now_us);
    work(viewing, direction);
}

void viewing_feed_text(struct viewing *viewing, enum direction direction, const char *text) {
    viewing_feed(viewing, direction, text, strlen(text));
}

void viewing_end(struct viewing *viewing, enum direction direction) {
    viewing->filter_session->stages[direction].ended = true;
    work(viewing, direction);
}

void viewing_wake(struct viewing *viewing, enum direction direction) {
    cr_assert_not_null(viewing->flows[direction].thread);
    resume(viewing, direction, WAKE_DONE);
    work(viewing, direction);
}

const char *viewing_out(const struct viewing *viewing, enum direction direction) {
    return viewing->flows[direction].out.data;
}

uint32_t viewing_held(const struct viewing *viewing, enum direction direction) {
    return viewing->filter_session->stages[direction].input.bytes;
}

/* --- expectations ------------------------------------------------------------------------------------------------- */

static void run_body(struct viewing *viewing, const char *bytes, const char *body) {
    char script[8192];
    snprintf(script, sizeof(script), "local mr = require 'moonring' return { from_client = function(buf) %s\nend }",
             body);
    viewing_open(viewing);
    viewing_begin(viewing, script);
    viewing_feed_text(viewing, FROM_CLIENT, bytes);
}

static void end_body(struct viewing *viewing) {
    viewing_finish(viewing);
    viewing_close(viewing);
}

void expect_body(const char *bytes, const char *body) {
    struct viewing viewing;
    run_body(&viewing, bytes, body);
    cr_assert_not(viewing.failed, "%s: %s", body, viewing.reason);
    end_body(&viewing);
}

void expect_body_fails(const char *bytes, const char *body, const char *reason) {
    struct viewing viewing;
    run_body(&viewing, bytes, body);
    cr_assert(viewing.failed, "%s: did not fail", body);
    cr_assert_not_null(strstr(viewing.reason, reason), "%s: %s instead of %s", body, viewing.reason, reason);
    end_body(&viewing);
}

/* The first piece has `first` bytes, the others `step`. */
static void feed_pieces(struct viewing *viewing, enum direction direction, const char *bytes, size_t size, size_t first,
                        size_t step) {
    size_t from = 0;
    size_t to = first;
    while (from < size) {
        to = to < size ? to : size;
        viewing_feed(viewing, direction, bytes + from, to - from);
        from = to;
        to += step;
    }
    viewing_end(viewing, direction);
}

struct pieces {
    const char *bytes;
    size_t size;
    size_t first;
    size_t step;
};

static void run_pieces(struct viewing *viewing, const char *script, enum direction direction,
                       const struct pieces *pieces) {
    viewing_begin(viewing, script);
    feed_pieces(viewing, direction, pieces->bytes, pieces->size, pieces->first, pieces->step);
}

static void expect_pieces(struct viewing *viewing, const char *script, enum direction direction,
                          const struct pieces *pieces, const char *notes, const void *out, size_t out_size) {
    run_pieces(viewing, script, direction, pieces);
    const struct bytes *sent = &viewing->flows[direction].out;
    cr_assert_not(viewing->failed, "first %zu, step %zu: %s", pieces->first, pieces->step, viewing->reason);
    cr_assert_str_eq(viewing->notes.data, notes, "first %zu, step %zu: noted %s instead of %s", pieces->first,
                     pieces->step, viewing->notes.data, notes);
    cr_assert_eq(sent->size, out_size, "first %zu, step %zu: sent %zu bytes (%s) instead of %zu", pieces->first,
                 pieces->step, sent->size, sent->data, out_size);
    cr_assert(memcmp(sent->data, out, out_size) == 0, "first %zu, step %zu: sent %s", pieces->first, pieces->step,
              sent->data);
    viewing_finish(viewing);
}

void expect_always(const char *script, enum direction direction, const void *bytes, size_t size, const char *notes,
                   const void *out, size_t out_size) {
    struct viewing viewing;
    viewing_open(&viewing);
    for (size_t first = 1; first <= size; first++) {
        const struct pieces two = {bytes, size, first, size};
        expect_pieces(&viewing, script, direction, &two, notes, out, out_size);
    }
    for (size_t step = 1; step < 4; step++) {
        const struct pieces many = {bytes, size, step, step};
        expect_pieces(&viewing, script, direction, &many, notes, out, out_size);
    }
    viewing_close(&viewing);
}

void expect_always_fails(const char *script, enum direction direction, const void *bytes, size_t size,
                         const char *reason) {
    struct viewing viewing;
    viewing_open(&viewing);
    for (size_t first = 1; first <= size; first++) {
        const struct pieces two = {bytes, size, first, size};
        run_pieces(&viewing, script, direction, &two);
        cr_assert(viewing.failed, "cut at %zu: did not fail", first);
        cr_assert_not_null(strstr(viewing.reason, reason), "cut at %zu: %s instead of %s", first, viewing.reason,
                           reason);
        viewing_finish(&viewing);
    }
    viewing_close(&viewing);
}
