#include "engine/settings.h"

struct kernel_tcp_options settings_tcp(const struct config_tcp *config) {
    return (struct kernel_tcp_options){.nodelay = config->nodelay,
                                       .keepalive = config->keepalive,
                                       .keepalive_idle_s = config->keepalive_idle_s,
                                       .keepalive_interval_s = config->keepalive_interval_s,
                                       .keepalive_count = config->keepalive_count};
}

void settings_init(struct settings *settings, const struct config_listener *listener, struct upstream *upstreams) {
    *settings = (struct settings){
        .listener = listener->name,
        .timeouts = listener->timeouts,
        .tcp = settings_tcp(&listener->tcp),
        .upstream = &upstreams[listener->upstream],
        .upstream_index = listener->upstream,
    };
}
