#include "program/held_config.h"

#include "config/load.h"

#include <stdlib.h>

struct held_config *held_config_create(struct config *config) {
    struct held_config *held = malloc(sizeof *held);
    if (held == NULL) {
        config_destroy(config);
        return NULL;
    }
    *held = (struct held_config){.config = config, .holders = 1};
    return held;
}

struct held_config *held_config_hold(struct held_config *held) {
    held->holders++;
    return held;
}

void held_config_drop(struct held_config *held) {
    if (held != NULL && --held->holders == 0) {
        config_destroy(held->config);
        free(held);
    }
}
