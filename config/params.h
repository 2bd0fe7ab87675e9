/* A filter's `params`: YAML that is kept as it is written, for the script that says what it means. */
#ifndef MOONRING_CONFIG_PARAMS_H
#define MOONRING_CONFIG_PARAMS_H

#include "base/bytes.h"
#include "config/apply.h"

enum { PARAMS_KEY_SIZE_MAX = 256 };

/* Copies the map into the memory of the configuration. Reports keys without a value. */
void params_read(struct apply *apply, const struct node_entry *entry, struct config_value *params);

/* What holds when nothing is written. */
void params_read_fallback(struct config_place place, struct config_value *params);

/* Appends the line `params:` and those below it. */
void params_write(const struct config_value *params, size_t indentation, struct bytes *out);

#endif
