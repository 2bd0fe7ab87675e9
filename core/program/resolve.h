/* From a configuration's upstreams to those that the engine runs: host names become addresses. */
#ifndef MOONRING_PROGRAM_RESOLVE_H
#define MOONRING_PROGRAM_RESOLVE_H

#include "base/error.h"
#include "config/config.h"
#include "engine/upstream.h"

#include <stdatomic.h>

/* Looks up every host name (this waits for DNS) and makes the upstreams, in the configuration's order. A name with
 * several addresses becomes as many servers, named `name/address`. What was there before (or NULL): servers
 * of the same upstream, name and address keep their state. *give_up may become true meanwhile: then it fails soon.
 * NULL: the error names the place and the host. */
struct upstream *upstreams_create(const struct config *config, const struct config *config_before,
                                  const struct upstream *upstreams_before, const atomic_bool *give_up,
                                  struct error *error);
void upstreams_destroy(struct upstream *upstreams, size_t count);

#endif
