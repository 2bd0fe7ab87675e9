/* Which sessions `moonring ctl sessions` shows and `ctl kill` closes. */
#ifndef MOONRING_PROGRAM_SELECTION_H
#define MOONRING_PROGRAM_SELECTION_H

#include "base/cidr.h"
#include "base/error.h"
#include "engine/session.h"
#include "program/arguments.h"

#include <stdbool.h>
#include <stdint.h>

enum { SELECTION_NAME_MAX = 256 };

/* What is not asked for fits every session. Holds no pointer, so that a worker may have its own. */
struct selection {
    char listener[SELECTION_NAME_MAX]; /* "": any */
    char upstream[SELECTION_NAME_MAX]; /* "": any */
    char server[SELECTION_NAME_MAX];   /* "": any; its name or address */
    struct cidr client;
    bool has_client;
    bool has_state;
    enum session_state state;
    uint64_t id;       /* 0: any */
    uint64_t older_us; /* than this; 0: any */
    uint64_t generation_min;
    uint64_t generation_max;
};

/* From the options of an order. False: the error says which one is wrong, and what it may be. */
bool selection_parse(struct selection *selection, const struct arguments *order, struct error *error);
/* Nothing was asked for. */
bool selection_is_everything(const struct selection *selection);
/* On the session's worker. */
bool selection_has(const struct selection *selection, const struct session *session);

#endif
