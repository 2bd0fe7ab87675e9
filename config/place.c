#include "config/place.h"

#include <stdio.h>

void config_place_format(const struct config_place *place, char *text, size_t text_size) {
    if (place->line == 0) {
        snprintf(text, text_size, "%s", place->file);
    } else {
        snprintf(text, text_size, "%s:%u:%u", place->file, place->line, place->column);
    }
}
