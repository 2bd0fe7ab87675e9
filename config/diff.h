/* What differs between two configurations, in one line for people. */
#ifndef MOONRING_CONFIG_DIFF_H
#define MOONRING_CONFIG_DIFF_H

#include "base/bytes.h"
#include "config/config.h"

#include <stdbool.h>

enum { DIFF_CHANGES_MAX = 100 }; /* that are told; the rest is counted */

/* Appends what became of `before`:
 *
 *     listeners: +web2 ~pg(timeouts.idle 10m->1h) -old; upstreams: ~api(+10.0.0.4:80, 10.0.0.2:80 weight 1->5)
 *
 * Items of maps are known by their names, servers and filters by theirs, binds by their addresses. Of what scripts get
 * only the names of parameters are told: they may be secrets. Returns false, and appends nothing, when every key has
 * the same value; what is in files that the configuration names may still differ. */
bool config_diff(const struct config *before, const struct config *after, struct bytes *text);

/* The same, of those keys only that a running process cannot change. */
bool config_diff_fixed(const struct config *before, const struct config *after, struct bytes *text);

#endif
