/* Takes servers out that sessions cannot connect to. Workers count (server_note_failure), and tell when somebody should
 * look; here is who looks. */
#ifndef MOONRING_ENGINE_OUTLIER_H
#define MOONRING_ENGINE_OUTLIER_H

#include "engine/upstream.h"

enum outlier_news {
    OUTLIER_EJECTED,
    OUTLIER_SPARED,   /* it should have been, but so many servers are ejected that it was not */
    OUTLIER_ANSWERED, /* it was ejected, and a session has connected all the same */
};

typedef void outlier_told_fn(void *argument, const struct upstream *upstream, const struct server *server,
                             enum outlier_news news);

/* Looks at each server of the upstream, and tells what has changed. On the control thread, as everything that changes
 * health. */
void outlier_look(const struct upstream *upstream, uint64_t now_ms, outlier_told_fn *told, void *argument);
/* Its ejection is over, or its checks pass again: one more failure, and it is ejected again. */
void outlier_give_chance(const struct server *server);

#endif
