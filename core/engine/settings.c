#include "engine/settings.h"

void settings_init(struct settings *settings, const struct config_listener *listener, struct upstream *upstreams) {
    *settings = (struct settings){
        .listener = listener->name,
        .timeouts = listener->timeouts,
        .tcp = {.nodelay = listener->tcp.nodelay,
                .keepalive = listener->tcp.keepalive,
                .keepalive_idle_s = listener->tcp.keepalive_idle_s,
                .keepalive_interval_s = listener->tcp.keepalive_interval_s,
                .keepalive_count = listener->tcp.keepalive_count},
        .upstream = &upstreams[listener->upstream],
        .upstream_index = listener->upstream,
    };
}
