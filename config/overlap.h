/* Addresses that cannot be bound beside each other. */
#ifndef MOONRING_CONFIG_OVERLAP_H
#define MOONRING_CONFIG_OVERLAP_H

#include "config/apply.h"

/* Reports each `bind` that is the same as another, or that another covers: `0.0.0.0:80` covers `127.0.0.1:80`, and
 * `:80` covers both. */
void overlap_report(struct apply *apply, const struct node *tree);

/* Would a connection to the server come back to this bind? A wildcard one takes what goes to a loopback address. */
bool overlap_is_own(const struct config_bind *bind, const struct config_server *server);

#endif
