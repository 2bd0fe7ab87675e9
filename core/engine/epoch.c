#include "engine/epoch.h"

#include "base/check.h"

#include <stdlib.h>

static bool epoch_make_balances(struct epoch *epoch, struct upstream *upstreams, size_t count, uint64_t seed) {
    epoch->balances = calloc(count > 0 ? count : 1, sizeof *epoch->balances);
    for (size_t i = 0; epoch->balances != NULL && i < count; i++) {
        struct upstream *upstream = &upstreams[i];
        if (!balance_init(&epoch->balances[i], upstream->balance, upstream->servers, upstream->servers_count,
                          seed + i * UINT64_C(0x9e3779b97f4a7c15))) {
            return false;
        }
        epoch->upstreams_count++;
    }
    return epoch->balances != NULL;
}

static bool epoch_make_settings(struct epoch *epoch, const struct config_listener *listeners, size_t count) {
    epoch->settings = calloc(count > 0 ? count : 1, sizeof *epoch->settings);
    for (size_t i = 0; epoch->settings != NULL && i < count; i++) {
        settings_init(&epoch->settings[i], &listeners[i], i, epoch->upstreams);
        epoch->settings[i].epoch = epoch;
    }
    epoch->settings_count = count;
    return epoch->settings != NULL;
}

struct epoch *epoch_create(const struct config_listener *listeners, size_t listeners_count, struct upstream *upstreams,
                           size_t upstreams_count, const struct filter_list *filter_lists, uint64_t seed) {
    struct epoch *epoch = malloc(sizeof *epoch);
    if (epoch == NULL) {
        return NULL;
    }
    *epoch = (struct epoch){.upstreams = upstreams, .filter_lists = filter_lists};
    if (!epoch_make_balances(epoch, upstreams, upstreams_count, seed) ||
        !epoch_make_settings(epoch, listeners, listeners_count)) {
        epoch_destroy(epoch);
        return NULL;
    }
    return epoch;
}

void epoch_destroy(struct epoch *epoch) {
    if (epoch == NULL) {
        return;
    }
    check(epoch->users == 0);
    for (size_t i = 0; i < epoch->upstreams_count; i++) {
        balance_finish(&epoch->balances[i]);
    }
    free(epoch->balances);
    free(epoch->tallies);
    free(epoch->settings);
    free(epoch);
}
