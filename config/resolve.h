/* Which upstream each listener's `upstream` means. */
#ifndef MOONRING_CONFIG_RESOLVE_H
#define MOONRING_CONFIG_RESOLVE_H

#include "config/apply.h"

/* Sets the upstream of each listener. An address is an upstream of one server, made here and named by the address;
 * listeners with the same one share it. Reports names that are neither, and warns of upstreams that nobody uses. */
void resolve_upstreams(struct apply *apply, const struct node *tree);

#endif
