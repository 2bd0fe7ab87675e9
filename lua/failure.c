#include "lua/failure.h"

#include <stdio.h>
#include <string.h>

static const uint64_t quiet_us = UINT64_C(3600) * 1000 * 1000; /* after which a place leaves its row to another */

const char *failure_name(enum failure failure) {
    static const char *const names[FAILURES] = {"error", "budget", "memory", "kill", "hold"};
    return names[failure];
}

void failures_init(struct failures *failures) {
    memset(failures->rows, 0, sizeof(failures->rows));
    strcpy(failures->rows[FAILURE_PLACES].place, "other");
    pthread_mutex_init(&failures->lock, NULL);
}

void failures_finish(struct failures *failures) {
    pthread_mutex_destroy(&failures->lock);
}

static struct failure_row *find_row(struct failures *failures, const char *place) {
    for (size_t index = 0; index < FAILURE_PLACES; index++) {
        if (strncmp(failures->rows[index].place, place, FAILURE_PLACE_SIZE - 1) == 0) {
            return &failures->rows[index];
        }
    }
    return NULL;
}

/* A row that is free, or whose place has been quiet for long; else that of all others. */
static struct failure_row *take_row(struct failures *failures, const char *place, uint64_t now_us) {
    struct failure_row *others = &failures->rows[FAILURE_PLACES];
    struct failure_row *oldest = &failures->rows[0];
    for (size_t index = 1; index < FAILURE_PLACES && oldest->place[0] != 0; index++) {
        struct failure_row *row = &failures->rows[index];
        oldest = row->place[0] == 0 || row->at_us < oldest->at_us ? row : oldest;
    }
    if (oldest->place[0] != 0 && now_us - oldest->at_us < quiet_us) {
        return others;
    }
    for (int failure = 0; failure < FAILURES; failure++) {
        others->counts[failure] += oldest->counts[failure];
    }
    *oldest = (struct failure_row){.at_us = now_us};
    snprintf(oldest->place, sizeof(oldest->place), "%s", place);
    return oldest;
}

void failures_count(struct failures *failures, enum failure failure, const char *place, uint64_t now_us) {
    pthread_mutex_lock(&failures->lock);
    struct failure_row *row = find_row(failures, place);
    if (row == NULL) {
        row = take_row(failures, place, now_us);
    }
    row->at_us = now_us;
    row->counts[failure]++;
    pthread_mutex_unlock(&failures->lock);
}

void failures_visit(struct failures *failures, failure_visit_fn *visit, void *argument) {
    struct failure_row rows[FAILURE_PLACES + 1];
    pthread_mutex_lock(&failures->lock);
    memcpy(rows, failures->rows, sizeof(rows));
    pthread_mutex_unlock(&failures->lock);
    for (size_t index = 0; index <= FAILURE_PLACES; index++) {
        for (int failure = 0; failure < FAILURES; failure++) {
            if (rows[index].counts[failure] > 0) {
                visit(argument, rows[index].place, (enum failure)failure, rows[index].counts[failure]);
            }
        }
    }
}
