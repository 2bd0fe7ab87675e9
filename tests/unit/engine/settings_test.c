#include "engine/settings.h"

#include <criterion/criterion.h>

static const struct config_listener listener = {
    .name = "web",
    .upstream = 2,
    .timeouts =
        {.connect_ms = 1, .idle_ms = 2, .half_close_ms = 3, .send_stall_ms = 4, .max_lifetime_ms = UINT64_C(5) << 40},
    .tcp = {.nodelay = true,
            .keepalive = true,
            .keepalive_idle_s = 6,
            .keepalive_interval_s = 7,
            .keepalive_count = 8,
            .backlog = 9},
};

Test(settings, have_the_listeners_name_and_timeouts, .timeout = 10) {
    struct upstream upstreams[3] = {{.name = NULL}};
    struct settings settings;
    settings_init(&settings, &listener, 0, upstreams);
    cr_assert_str_eq(settings.listener, "web");
    cr_assert_eq(settings.timeouts.connect_ms, 1);
    cr_assert_eq(settings.timeouts.idle_ms, 2);
    cr_assert_eq(settings.timeouts.half_close_ms, 3);
    cr_assert_eq(settings.timeouts.send_stall_ms, 4);
    cr_assert_eq(settings.timeouts.max_lifetime_ms, UINT64_C(5) << 40);
}

Test(settings, have_the_listeners_socket_options, .timeout = 10) {
    struct upstream upstreams[3] = {{.name = NULL}};
    struct settings settings;
    settings_init(&settings, &listener, 0, upstreams);
    cr_assert(settings.tcp.nodelay);
    cr_assert(settings.tcp.keepalive);
    cr_assert_eq(settings.tcp.keepalive_idle_s, 6);
    cr_assert_eq(settings.tcp.keepalive_interval_s, 7);
    cr_assert_eq(settings.tcp.keepalive_count, 8);
}

Test(settings, point_at_the_listeners_upstream, .timeout = 10) {
    struct upstream upstreams[3] = {{.name = NULL}};
    struct settings settings;
    settings_init(&settings, &listener, 0, upstreams);
    cr_assert_eq(settings.upstream, &upstreams[2]);
    cr_assert_eq(settings.upstream_index, 2);
}
