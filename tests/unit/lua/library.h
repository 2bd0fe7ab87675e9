/* A script with `mr`, for tests. */
#ifndef MOONRING_TESTS_UNIT_LUA_LIBRARY_H
#define MOONRING_TESTS_UNIT_LUA_LIBRARY_H

#include "lua/values.h"
#include "tests/unit/lua/workbench.h"

/* workbench_open_plain, with `mr`. */
void library_open(struct workbench *workbench);
/* workbench_start, with `mr`. */
void library_start(struct workbench *workbench);
/* Gives `mr` to the script that was started. */
enum script_outcome library_add(struct workbench *workbench);

struct values *library_values(const struct workbench *workbench);

/* Loads text, which must fail with exactly this message in front of the traceback. */
void expect_load_raises(struct workbench *workbench, const char *text, const char *message);

/* Sends the error log into a file of the workbench's folder; then its lines, without the times in front of them. The
 * caller frees it. */
void library_log_open(const struct workbench *workbench);
char *library_log_read(const struct workbench *workbench);

#endif
