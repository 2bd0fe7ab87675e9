/* Runs hooks: what the engine calls when a session has something for a script, and what becomes of it. */
#ifndef MOONRING_LUA_HOOKS_H
#define MOONRING_LUA_HOOKS_H

#include "lua/task.h"

/* For filters whose script is struct conn. */
extern const struct filter_calls hooks_calls;

/* Enters a task, within filter_enter and filter_leave. It may be gone afterwards. */
enum hook_outcome hooks_go_on(struct task *task, enum wake wake);

#endif
