/* Stands in for core/engine/access_log.c: a session's record goes to whoever judges it. */
#ifndef MOONRING_SIMULATE_RECORDER_H
#define MOONRING_SIMULATE_RECORDER_H

#include "engine/access_log.h"

struct access_log {
    void (*write)(void *holder, const struct access_record *record);
    void *holder;
};

#endif
