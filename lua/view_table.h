/* What view.c, view_natives.c and the Lua code on top of them share. */
#ifndef MOONRING_LUA_VIEW_TABLE_H
#define MOONRING_LUA_VIEW_TABLE_H

#include "lua/exchange.h"
#include "lua/framers.h"
#include "lua/framing.h"
#include "lua/view.h"

/* The views of a slot: buf by its direction, and what is peeked by the direction that it comes from. */
enum { VIEW_BUF, VIEW_PEEK = 2, VIEWS_IN_SLOT = 4 };

/* What scripts read through. The same struct stands in moonring/view.lua. */
struct view {
    double id;         /* of the filter session, if it is a buf that can be read; else 0 */
    double epoch;      /* of this run of the hook, or of this peek, if it can be read; else 0 */
    double offset;     /* of the first byte, in its stream */
    double frame_at;   /* the same of the frame that a loop showed last */
    double frame_size; /* its whole size; 0: not known yet */
    double frame_shown;
    const uint8_t *start; /* of the bytes, where they lie now */
    uint32_t size;
    uint32_t ended; /* nothing comes behind them */
};

struct slot {
    struct filter_session *filter_session; /* NULL: nobody has it */
    struct framing *framings[2];           /* ours; NULL: no loop yet */
    struct exchange *exchange;             /* ours; NULL: no loop over HTTP yet */
    struct stage *peeked[2];
    double id;
    double epochs[VIEWS_IN_SLOT]; /* what view.epoch is while the view can be read */
    uint32_t next;                /* of nobody's */
    uint8_t open;                 /* 1 << view: can be read while its session's code runs */
};

/* What Lua code gets from here beside the views; the same stands in moonring/view.lua. */
struct view_exchange {
    const uint8_t *found; /* by moonring.view.locate, for view_bytes */
    double found_size;
    double found_at;
    char name[RESP_NAME_MAX]; /* of a command, in upper case */
};

enum { PREFIXES_MAX = 256 };
#define SLOT_NONE UINT32_MAX

/* Functions of view.lua, in the registry. */
enum { NEW_BUF, NEW_VIEW, LOCATE, FINISH, FUNCTIONS };

struct views {
    struct view *views;  /* ours: VIEWS_SLOTS_MAX * VIEWS_IN_SLOT */
    struct slot *slots;  /* ours: VIEWS_SLOTS_MAX */
    uint32_t slots_used; /* ever */
    uint32_t slots_taken;
    uint32_t free; /* the slot that was given back last, or SLOT_NONE */
    double last;   /* the highest id or epoch so far */
    const uint64_t *now_us;
    int functions[FUNCTIONS];
    uint32_t prefixes_count;
    struct length_prefix prefixes[PREFIXES_MAX];
    struct view_exchange exchange;
    struct error error;
};

static inline struct stage *slot_stage(const struct slot *slot, enum direction direction) {
    return &slot->filter_session->stages[direction];
}

/* Bytes that can be read at stage_bytes, whatever became of the stage since it was shown. */
static inline uint32_t stage_readable(const struct stage *stage) {
    const struct slice *first = stage->input.first;
    uint32_t there = first == NULL ? 0 : first->size;
    return stage->shown < there ? stage->shown : there;
}

/* Makes the view of a buf what the stage has now. */
static inline void buf_refresh(struct view *view, const struct stage *stage) {
    view->offset = (double)stage->offset;
    view->start = (const uint8_t *)stage_bytes(stage);
    view->size = stage_readable(stage);
    view->ended = stage->ended && stage->shown == stage->input.bytes;
}

/* Functions that Lua code calls by way of FFI: they neither call Lua nor raise errors, and where they answer false or
 * STEP_FAILED, views->error says why. Those that take an index want that of a buf which can be read. The same struct
 * stands in moonring/view.lua. */
struct view_natives {
    double (*find)(const char *bytes, double size, const char *text, double text_size);
    double (*find_any)(const char *bytes, double size, const char *set, double set_size);
    bool (*equal)(const char *bytes, const char *text, double size);
    double (*age)(struct views *views, uint32_t index);
    double (*hold_max)(struct views *views, uint32_t index);
    bool (*leave)(struct views *views, uint32_t index);
    void (*pass)(struct views *views, uint32_t index, double size);
    void (*drop)(struct views *views, uint32_t index, double size);
    bool (*settle)(struct views *views, uint32_t index);
    bool (*put)(struct views *views, uint32_t index, const char *text, double size);
    bool (*keep)(struct views *views, uint32_t index);
    bool (*need)(struct views *views, uint32_t index, double size);
    int (*reach)(struct views *views, uint32_t index, double size);
    bool (*open)(struct views *views, uint32_t index, int framer, uint32_t prefix, double see);
    int (*next)(struct views *views, uint32_t index);
    int (*go_on)(struct views *views, uint32_t index);
    void (*show)(struct views *views, uint32_t index, double whole, double shown);
    int (*hold)(struct views *views, uint32_t index, double size);
    bool (*is_whole)(struct views *views, uint32_t index);
    bool (*frame_check)(struct views *views, uint32_t index, double at);
    void (*frame_pass)(struct views *views, uint32_t index);
    bool (*frame_drop)(struct views *views, uint32_t index);
    bool (*frame_edit)(struct views *views, uint32_t index, double from, double to, const char *text, double size);
    bool (*frame_replace)(struct views *views, uint32_t index, const char *text, double size);
    double (*command_name)(struct views *views, uint32_t index);
    double (*command_key)(struct views *views, uint32_t index);
    int (*postgres_kind)(struct views *views, uint32_t index);
    int (*prefix_add)(struct views *views, double at, double bytes, double add, bool is_little, double size_max);
};

extern const struct view_natives view_natives;

#endif
