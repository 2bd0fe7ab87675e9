/* Which files a running program watches, so that it reloads when they change: those that the configuration at work was
 * read from, those of its filters, and, after a reload that was refused, what that one wanted besides. */
#ifndef MOONRING_PROGRAM_RELOAD_WATCH_H
#define MOONRING_PROGRAM_RELOAD_WATCH_H

#include "program/file_watch.h"
#include "program/program.h"
#include "program/reload.h"

/* After the start (reload: NULL), or after an attempt. Watches nothing where `reload.watch` is false; logs when files
 * cannot be watched. */
void reload_watch_set(struct file_watch *watch, const struct program *program, const struct reload *reload);

#endif
