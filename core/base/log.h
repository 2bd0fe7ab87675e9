/* The error log: what happened to the program, for its operator. Any thread may call it. */
#ifndef MOONRING_BASE_LOG_H
#define MOONRING_BASE_LOG_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE };

/* `2026-01-31T12:00:00.123Z error text` + newline in one write(2); control characters in the text are escaped. Dropped
 * when the target is a pipe that takes nothing: whoever logs never waits. Cut at 4 KiB. Nothing is written above the
 * level. */
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)

/* Writes text to the log's target as it is: for reports of many lines. The rest is given up when the target is a pipe
 * that takes nothing for a while. */
void log_raw(const char *text, size_t size);

void log_set_level(enum log_level level);
enum log_level log_level(void);
/* `stderr`, `stdout` or a path that is appended to (made with mode 0640). The old target stays when it fails. */
bool log_open(const char *target, struct error *error);
/* The same in two steps, for one thread: the first may fail, the second, either of the other two, cannot. Without a
 * first step the second does nothing. */
bool log_prepare(const char *target, struct error *error);
void log_commit(void);
void log_abandon(void);
/* Opens a file target again by its path (after logrotate moved it). */
bool log_reopen(struct error *error);
const char *log_level_name(enum log_level level);
/* Names: error warn info debug trace. */
bool log_level_parse(const char *name, enum log_level *level);

#endif
