#include "engine/settings.h"

#include "protocol/proxy_header.h"

struct kernel_tcp_options settings_tcp(const struct config_tcp *config) {
    return (struct kernel_tcp_options){.nodelay = config->nodelay,
                                       .keepalive = config->keepalive,
                                       .keepalive_idle_s = config->keepalive_idle_s,
                                       .keepalive_interval_s = config->keepalive_interval_s,
                                       .keepalive_count = config->keepalive_count};
}

static uint8_t settings_proxy_versions(const struct config_proxy_protocol *config) {
    if (!config->wanted) {
        return 0;
    }
    switch (config->accept) {
    case PROXY_ACCEPT_ANY:
        return PROXY_ANY;
    case PROXY_ACCEPT_V1:
        return PROXY_V1;
    case PROXY_ACCEPT_V2:
        return PROXY_V2;
    }
    return 0;
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
        .bandwidth = listener->bandwidth,
        .admission = listener->admission,
        .trusted = listener->proxy_protocol.trusted_admission,
        .proxy_versions = settings_proxy_versions(&listener->proxy_protocol),
        .per_source = &listener->per_source,
    };
}
