/* Where something stands, as text. */
#ifndef MOONRING_CONFIG_PLACE_H
#define MOONRING_CONFIG_PLACE_H

#include "config/config.h"

enum { CONFIG_PLACE_MAX = 512 };

/* `file:line:column`, or what else says where it stands ("command line: --to"). A text that does not fit is cut. */
void config_place_format(const struct config_place *place, char *text, size_t text_size);

#endif
