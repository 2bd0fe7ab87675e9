#include "lua/view.h"

#include "base/check.h"
#include "lua/embed.h"
#include "lua/heads.h"
#include "lua/libs.h"
#include "lua/script.h"
#include "lua/task.h"
#include "lua/view_table.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* --- life --------------------------------------------------------------------------------------------------------- */

/* Its pages come when they are written to. */
static void *reserve(size_t size) {
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static void unreserve(void *memory, size_t size) {
    if (memory != NULL) {
        munmap(memory, size);
    }
}

struct views *views_create(void) {
    struct views *views = calloc(1, sizeof(*views));
    if (views == NULL) {
        return NULL;
    }
    views->free = SLOT_NONE;
    views->views = reserve(sizeof(*views->views) * VIEWS_IN_SLOT * VIEWS_SLOTS_MAX);
    views->slots = reserve(sizeof(*views->slots) * VIEWS_SLOTS_MAX);
    if (views->views == NULL || views->slots == NULL) {
        views_destroy(views);
        return NULL;
    }
    return views;
}

void views_destroy(struct views *views) {
    if (views == NULL) {
        return;
    }
    check(views->slots_taken == 0);
    unreserve(views->views, sizeof(*views->views) * VIEWS_IN_SLOT * VIEWS_SLOTS_MAX);
    unreserve(views->slots, sizeof(*views->slots) * VIEWS_SLOTS_MAX);
    free(views);
}

void views_set_clock(struct views *views, const uint64_t *now_us) {
    views->now_us = now_us;
}

const char *view_reason(const struct views *views) {
    return views->error.text;
}

/* --- slots -------------------------------------------------------------------------------------------------------- */

static uint32_t view_index(uint32_t slot, uint32_t which) {
    return slot * VIEWS_IN_SLOT + which;
}

/* Never the same twice: 2^53 of them are enough. */
static double views_number(struct views *views) {
    return ++views->last;
}

static uint32_t slots_pop(struct views *views) {
    if (views->free != SLOT_NONE) {
        uint32_t slot = views->free;
        views->free = views->slots[slot].next;
        return slot;
    }
    return views->slots_used < VIEWS_SLOTS_MAX ? views->slots_used++ : SLOT_NONE;
}

bool views_take(struct views *views, struct filter_session *filter_session, uint32_t *slot) {
    *slot = slots_pop(views);
    if (*slot == SLOT_NONE) {
        return false;
    }
    views->slots[*slot] = (struct slot){.filter_session = filter_session, .id = views_number(views)};
    views->slots_taken++;
    return true;
}

static void view_hide(struct view *view) {
    view->id = 0;
    view->epoch = 0;
}

void views_give(struct views *views, uint32_t number) {
    struct slot *slot = &views->slots[number];
    check(slot->filter_session != NULL);
    for (uint32_t which = 0; which < VIEWS_IN_SLOT; which++) {
        view_hide(&views->views[view_index(number, which)]);
    }
    framing_free(slot->framings[FROM_CLIENT]);
    framing_free(slot->framings[FROM_SERVER]);
    free(slot->exchange);
    *slot = (struct slot){.next = views->free};
    views->free = number;
    views->slots_taken--;
}

/* --- a byte hook -------------------------------------------------------------------------------------------------- */

static void buf_show(struct views *views, uint32_t number, enum direction direction) {
    struct slot *slot = &views->slots[number];
    struct view *view = &views->views[view_index(number, direction)];
    buf_refresh(view, slot_stage(slot, direction));
    view->id = slot->id;
    view->epoch = slot->epochs[direction];
}

/* Bytes may have been taken from under it, by whoever reads the endpoint. */
static void peek_show(struct views *views, uint32_t number, enum direction direction) {
    struct slot *slot = &views->slots[number];
    struct view *view = &views->views[view_index(number, VIEW_PEEK + direction)];
    const struct stage *stage = slot->peeked[direction];
    double end = (double)stage->offset + stage_readable(stage);
    if (view->offset >= (double)stage->offset && view->offset + view->size <= end) {
        view->start = (const uint8_t *)stage_bytes(stage) + (uint64_t)view->offset - stage->offset;
        view->epoch = slot->epochs[VIEW_PEEK + direction];
    }
}

void view_resume(struct views *views, uint32_t number) {
    uint32_t open = views->slots[number].open;
    for (int direction = FROM_CLIENT; open != 0 && direction <= FROM_SERVER; direction++) {
        if ((open & 1u << direction) != 0) {
            buf_show(views, number, (enum direction)direction);
        }
        if ((open & 1u << (VIEW_PEEK + direction)) != 0) {
            peek_show(views, number, (enum direction)direction);
        }
    }
}

static void slot_hide(struct views *views, uint32_t number) {
    for (uint32_t which = 0; which < VIEWS_IN_SLOT; which++) {
        view_hide(&views->views[view_index(number, which)]);
    }
}

/* Bytes of a frame whose end is looked for are not for the script. */
static enum view_outcome slot_run_rest(struct views *views, struct slot *slot, enum direction direction) {
    struct framing *framing = slot->framings[direction];
    switch (framing_run_rest(framing, &views->error)) {
    case STEP_FRAME:
        if (framing->detaches) {
            filter_detach(framing->filter_session, direction);
            return VIEW_NOTHING;
        }
        return framing_reach(framing, 1) ? VIEW_DONE : VIEW_NOTHING;
    case STEP_END:
        return VIEW_NOTHING;
    case STEP_FAILED:
        break;
    }
    return VIEW_FAILED;
}

enum view_outcome view_begin(struct views *views, uint32_t number, enum direction direction) {
    struct slot *slot = &views->slots[number];
    const struct framing *framing = slot->framings[direction];
    if (framing != NULL && framing->rest != FRAME_OPEN) {
        enum view_outcome outcome = slot_run_rest(views, slot, direction);
        if (outcome != VIEW_DONE) {
            return outcome;
        }
    }
    bool is_alone = slot->open == 0;
    slot->epochs[direction] = views_number(views);
    slot->open |= (uint8_t)(1u << direction);
    if (is_alone) {
        buf_show(views, number, direction);
    } else {
        view_resume(views, number);
    }
    return VIEW_DONE;
}

bool view_settle(struct views *views, uint32_t number, enum direction direction) {
    struct framing *framing = views->slots[number].framings[direction];
    return framing == NULL || framing_settle_decided(framing, &views->error);
}

bool view_detach(struct views *views, uint32_t number, enum direction direction) {
    struct slot *slot = &views->slots[number];
    if (slot->framings[direction] != NULL) {
        return framing_detach(slot->framings[direction], &views->error);
    }
    filter_detach(slot->filter_session, direction);
    return true;
}

enum view_outcome view_pause(struct views *views, uint32_t number) {
    bool from_client = view_settle(views, number, FROM_CLIENT);
    bool from_server = view_settle(views, number, FROM_SERVER);
    slot_hide(views, number);
    return from_client && from_server ? VIEW_DONE : VIEW_FAILED;
}

static enum view_outcome slot_finish(struct views *views, struct framing *framing) {
    if (framing->framer == &framer_script) {
        return VIEW_FINISH;
    }
    return framing_finish(framing, &views->error) == STEP_FAILED ? VIEW_FAILED : VIEW_DONE;
}

static void slot_close(struct views *views, uint32_t number, enum direction direction) {
    struct slot *slot = &views->slots[number];
    if (slot->framings[direction] != NULL) {
        slot->framings[direction]->loop = LOOP_NONE;
    }
    slot->open &= (uint8_t) ~(1u << direction);
    if (slot->open == 0) {
        view_hide(&views->views[view_index(number, direction)]);
    } else {
        slot_hide(views, number);
    }
}

enum view_outcome view_end(struct views *views, uint32_t number, enum direction direction) {
    struct framing *framing = views->slots[number].framings[direction];
    enum view_outcome outcome = VIEW_DONE;
    if (framing != NULL && framing->loop == LOOP_OPEN) {
        outcome = slot_finish(views, framing);
    }
    if (outcome != VIEW_FINISH) {
        slot_close(views, number, direction);
    }
    return outcome;
}

void view_stop(struct views *views, uint32_t number, enum direction direction) {
    view_settle(views, number, direction);
    slot_close(views, number, direction);
}

/* --- functions that Lua calls ------------------------------------------------------------------------------------- */

/* (text): an error at the script's line. */
static int native_raise(lua_State *L) {
    script_error(L, "%s", lua_tostring(L, 1));
}

/* The same with what went wrong in a native function. */
static int native_raise_reason(lua_State *L) {
    const struct views *views = lua_touserdata(L, lua_upvalueindex(1));
    script_error(L, "%s", views->error.text);
}

/* (direction, bytes): waits; enum wake. */
static int native_wait(lua_State *L) {
    lua_settop(L, 2);
    return task_wait(L, WAIT_BYTES, 2);
}

static const luaL_Reg functions[] = {
    {"raise", native_raise}, {"wait", native_wait}, {"nearest", libs_nearest}, {NULL, NULL}};

/* --- opening ------------------------------------------------------------------------------------------------------ */

static void push_functions(lua_State *L, struct views *views) {
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    lua_pushlightuserdata(L, views);
    lua_pushcclosure(L, native_raise_reason, 1);
    lua_setfield(L, -2, "raise_reason");
    heads_push(L, views);
    lua_setfield(L, -2, "heads");
}

/* The address of what Lua code knows as a struct. */
static void set_address(lua_State *L, const char *name, const void *address) {
    union {
        const void *constant;
        void *address;
    } pointer = {.constant = address};
    lua_pushlightuserdata(L, pointer.address);
    lua_setfield(L, -2, name);
}

static void push_addresses(lua_State *L, struct views *views) {
    lua_newtable(L);
    set_address(L, "handle", views);
    set_address(L, "views", views->views);
    set_address(L, "natives", &view_natives);
    set_address(L, "exchange", &views->exchange);
    lua_pushnumber(L, sizeof(struct view));
    lua_setfield(L, -2, "view_size");
}

/* view.lua: (functions, addresses) -> what the other two get, functions for view.c; frames.lua and protocols.lua take
 * that, and the library. */
void views_open(lua_State *L, struct views *views) {
    int library = lua_gettop(L);
    libs_push_chunk(L, embed_view, embed_view_end);
    push_functions(L, views);
    push_addresses(L, views);
    lua_call(L, 2, 4);
    for (int function = LOCATE; function >= NEW_BUF; function--) {
        views->functions[function] = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    libs_push_chunk(L, embed_frames, embed_frames_end);
    lua_pushvalue(L, library + 1);
    lua_call(L, 1, 1);
    views->functions[FINISH] = luaL_ref(L, LUA_REGISTRYINDEX);
    libs_push_chunk(L, embed_protocols, embed_protocols_end);
    lua_pushvalue(L, library + 1);
    lua_pushvalue(L, library);
    lua_call(L, 2, 0);
    lua_settop(L, library);
}

static void push_function(lua_State *L, const struct views *views, int function) {
    script_check_stack(L);
    luaL_checkstack(L, 6, "view");
    lua_rawgeti(L, LUA_REGISTRYINDEX, views->functions[function]);
}

void view_push_buf(lua_State *L, struct views *views, uint32_t slot, enum direction direction) {
    push_function(L, views, NEW_BUF);
    lua_pushnumber(L, views->slots[slot].id);
    lua_pushnumber(L, view_index(slot, direction));
    lua_call(L, 2, 1);
}

void view_push_finish(lua_State *L, struct views *views) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, views->functions[FINISH]);
}

/* --- endpoints ---------------------------------------------------------------------------------------------------- */

void view_push_peek(lua_State *L, struct views *views, uint32_t number, enum direction direction, struct stage *stage,
                    struct buffers *buffers, uint32_t size) {
    struct slot *slot = &views->slots[number];
    uint32_t which = VIEW_PEEK + direction;
    struct view *view = &views->views[view_index(number, which)];
    view_end_peek(views, number, direction);
    stage_show(stage, buffers, size);
    if (stage->shown < size) {
        script_error(L, "not enough memory");
    }
    slot->peeked[direction] = stage;
    slot->epochs[which] = views_number(views);
    slot->open |= (uint8_t)(1u << which);
    buf_refresh(view, stage);
    view->size = size;
    view->epoch = slot->epochs[which];
    push_function(L, views, NEW_VIEW);
    lua_pushnumber(L, view->epoch);
    lua_pushnumber(L, view->offset);
    lua_pushnumber(L, size);
    lua_pushnumber(L, view_index(number, which));
    lua_call(L, 4, 1);
}

void view_end_peek(struct views *views, uint32_t number, enum direction direction) {
    uint32_t which = VIEW_PEEK + direction;
    views->slots[number].open &= (uint8_t) ~(1u << which);
    view_hide(&views->views[view_index(number, which)]);
}

const char *view_bytes(lua_State *L, struct views *views, int index, size_t *size) {
    lua_pushvalue(L, index);
    push_function(L, views, LOCATE);
    lua_insert(L, -2);
    lua_call(L, 1, 1);
    bool found = lua_toboolean(L, -1) != 0;
    lua_pop(L, 1);
    *size = found ? (size_t)views->exchange.found_size : 0;
    if (!found) {
        return NULL;
    }
    return *size > 0 ? (const char *)views->exchange.found : "";
}
