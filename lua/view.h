/* Bytes as scripts read them: buf, what is peeked, and parts of both.
 *
 * A script holds cdata with numbers in constant fields and no address. Each access looks up one of the views below by
 * these numbers, in a table that stays where it is as long as the VM lives, and checks that it is the one that was
 * meant, that it may be read now, and that the bytes are still there. So whatever a script keeps, or makes up, reads
 * its own bytes or raises an error; and bytes may move while a hook waits.
 *
 * The life of a filter session's slot, as its owner steers it:
 *
 *     views_take            the session begins
 *       view_push_buf       once for each direction, inside the door; the owner keeps it
 *       view_begin          before a byte hook is entered; it may have nothing for the script
 *       view_resume         before any other entry that belongs to the session
 *       view_pause          after an entry that left a hook suspended, or ended the session
 *       view_end            after a byte hook has returned; a loop over frames that it left may have to be finished
 *       view_stop           a byte hook is over in another way
 *     views_give            the session ends
 *
 * Between view_pause and view_resume nobody can read the slot's views. */
#ifndef MOONRING_LUA_VIEW_H
#define MOONRING_LUA_VIEW_H

#include "engine/filter.h"

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

enum { VIEWS_SLOTS_MAX = 256 * 1024 }; /* filter sessions of one VM */

struct views;

/* Everything for one VM; its memory is reserved, not taken. NULL: memory is short. */
struct views *views_create(void);
/* After the script was destroyed; every slot must have been given back. NULL is fine. */
void views_destroy(struct views *views);
/* What buf.age is counted from; it must live as long as scripts are entered. NULL: age is 0. */
void views_set_clock(struct views *views, const uint64_t *now_us);

/* Adds `mr.resp`, `mr.pg`, `mr.http1`, `mr.tls` and `mr.len_prefix` to the table on top of the stack, and what else the
 * script needs of views. Inside the door, once for each script. */
void views_open(lua_State *L, struct views *views);

/* --- a filter session --------------------------------------------------------------------------------------------- */

/* False: there are VIEWS_SLOTS_MAX of them. */
bool views_take(struct views *views, struct filter_session *filter_session, uint32_t *slot);
/* What scripts still hold of it raises an error from now on. Also when the VM is dead. */
void views_give(struct views *views, uint32_t slot);

/* Pushes a new `buf` for the byte hook of a direction. Inside the door. */
void view_push_buf(lua_State *L, struct views *views, uint32_t slot, enum direction direction);

/* --- byte hooks: within filter_enter and filter_leave ---------------------------------------------------------------
 */

enum view_outcome {
    VIEW_DONE,
    VIEW_NOTHING, /* of view_begin: the bytes belong to a frame that was decided before; the hook must not be entered */
    VIEW_FINISH,  /* of view_end: enter view_push_finish with one argument, buf, and then ask view_end again */
    VIEW_FAILED,  /* as if the hook had raised an error: view_reason tells which */
};

/* stage.shown of that direction is there for the script. */
enum view_outcome view_begin(struct views *views, uint32_t slot, enum direction direction);
/* The hook has returned. After VIEW_DONE its buf cannot be read any more. */
enum view_outcome view_end(struct views *views, uint32_t slot, enum direction direction);
/* Pushes the function that passes the frames which a loop has left; it may wait like the hook. Allocates nothing. */
void view_push_finish(lua_State *L, struct views *views);
/* The hook is over without a return: it raised an error, was stopped, or the session ends. What it had decided about a
 * frame is carried out, for the last of these. */
void view_stop(struct views *views, uint32_t slot, enum direction direction);
/* Of the last VIEW_FAILED. */
const char *view_reason(const struct views *views);

/* Scripts can read the slot's views again: byte hooks that had begun, and what is peeked. */
void view_resume(struct views *views, uint32_t slot);
/* What the script has decided about a frame is carried out, and its views are hidden. */
enum view_outcome view_pause(struct views *views, uint32_t slot);
/* Before something is written into the stream of that direction: the frame that the script has decided there goes
 * first. Then, not before, view_bytes may be asked for what is written. False: as VIEW_FAILED. */
bool view_settle(struct views *views, uint32_t slot, enum direction direction);
/* The filter gets no more bytes of that direction, but what is being dropped is dropped to its end. False: as
 * VIEW_FAILED. */
bool view_detach(struct views *views, uint32_t slot, enum direction direction);

/* --- endpoints ------------------------------------------------------------------------------------------------------
 */

/* Pushes a view of the first `size` bytes (at most stage->input.bytes) of what an endpoint has to read; the view of the
 * last peek there is stale from then on. The stage must live until view_end_peek. Inside the door, in an entry that
 * belongs to the session; raises when memory is short. */
void view_push_peek(lua_State *L, struct views *views, uint32_t slot, enum direction direction, struct stage *stage,
                    struct buffers *buffers, uint32_t size);
/* The next call on the endpoint, or the end of the hook: what was peeked is stale. */
void view_end_peek(struct views *views, uint32_t slot, enum direction direction);

/* For C functions that Lua calls: the bytes of a buf, view or frame at the index, until the next verb or the end of the
 * entry. NULL: it is none of them. Raises when they are gone. */
const char *view_bytes(lua_State *L, struct views *views, int index, size_t *size);

#endif
