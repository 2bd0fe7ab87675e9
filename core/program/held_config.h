/* A configuration and who still needs it: its generation, filters that later generations share, and a rollback. All of
 * it on the control thread. */
#ifndef MOONRING_PROGRAM_HELD_CONFIG_H
#define MOONRING_PROGRAM_HELD_CONFIG_H

#include "config/config.h"

#include <stdint.h>

struct held_config {
    struct config *config; /* ours */
    uint32_t holders;
};

/* With one holder. Takes over the configuration, also on failure. NULL: memory is short. */
struct held_config *held_config_create(struct config *config);
struct held_config *held_config_hold(struct held_config *held);
/* The last one destroys it. NULL is fine. */
void held_config_drop(struct held_config *held);

#endif
