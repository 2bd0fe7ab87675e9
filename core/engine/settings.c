#include "engine/settings.h"

struct kernel_tcp_options settings_tcp(const struct config_tcp *config) {
    return (struct kernel_tcp_options){.nodelay = config->nodelay,
                                       .keepalive = config->keepalive,
                                       .keepalive_idle_s = config->keepalive_idle_s,
                                       .keepalive_interval_s = config->keepalive_interval_s,
                                       .keepalive_count = config->keepalive_count};
}

void settings_init(struct settings *settings, const struct config_listener *listener, size_t index,
                   struct upstream *upstreams) {
    bool has_upstream = listener->upstream != CONFIG_NO_UPSTREAM;
    *settings = (struct settings){
        .listener = listener->name,
        .index = index,
        .timeouts = listener->timeouts,
        .tcp = settings_tcp(&listener->tcp),
        .upstream = has_upstream ? &upstreams[listener->upstream] : NULL,
        .upstream_index = has_upstream ? listener->upstream : 0,
        .admission = listener->admission,
    };
}
