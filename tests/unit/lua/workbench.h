/* A script in a folder of its own, for tests. */
#ifndef MOONRING_TESTS_UNIT_LUA_WORKBENCH_H
#define MOONRING_TESTS_UNIT_LUA_WORKBENCH_H

#include "lua/script.h"

struct workbench {
    char folder[64];
    struct watchdog *watchdog;
    bool owns_watchdog;
    struct watch watch;
    struct script_options options;
    struct script *script; /* NULL until workbench_start */
    struct script_thread *thread;
    struct script_result result;
    int reference; /* what the file loaded last returned */
};

/* Makes the folder and the watchdog. Options may be changed until workbench_start: safe libraries, 64 MiB, 100 ms. */
void workbench_open(struct workbench *workbench);
/* The same for another thread, with the watchdog of the first. */
void workbench_open_beside(struct workbench *workbench, const struct workbench *first);
void workbench_close(struct workbench *workbench);

/* Makes the script; a second call makes a fresh one. */
void workbench_start(struct workbench *workbench);
void workbench_stop(struct workbench *workbench);
/* workbench_open and workbench_start. */
void workbench_open_plain(struct workbench *workbench);

void workbench_write(const struct workbench *workbench, const char *name, const char *text);
void workbench_write_bytes(const struct workbench *workbench, const char *name, const void *bytes, size_t size);
enum script_outcome workbench_load(struct workbench *workbench, const char *name);
/* Writes text into a file and loads it. */
enum script_outcome workbench_load_text(struct workbench *workbench, const char *text);

/* Starts what the file loaded last returned, a function, on a fresh thread. */
enum script_outcome workbench_call(struct workbench *workbench);
/* workbench_load_text, which must succeed and return a function, and workbench_call. */
enum script_outcome workbench_run(struct workbench *workbench, const char *text);
/* The first value on the thread's stack as a string, "" if it is none. */
const char *workbench_answer(struct workbench *workbench);

/* Runs text, which must raise an error with this in its message. */
void expect_raises(struct workbench *workbench, const char *text, const char *message);
/* Runs text, which must return this string. */
void expect_answers(struct workbench *workbench, const char *text, const char *answer);

#endif
