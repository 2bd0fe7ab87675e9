#include "scene.h"

#include "base/check.h"
#include "engine/flow.h"

#include <stdio.h>

/* A stream that crosses a window so many times has seen what there is to see; more only takes time. */
enum { WINDOWS_MAX = 200, BULK_WINDOW_MIN = 64 * 1024 };

/* Now and then there are hardly any descriptors, but one comes in the end. */
enum { RESOURCE_CHANCE_MAX = 980 };

static const char *const listener_names[SCENE_LISTENERS_MAX] = {"first listener", "second listener"};
static const char *const upstream_names[SCENE_UPSTREAMS_MAX] = {"first upstream", "second upstream"};
static const char *const server_names[SCENE_SERVERS_MAX] = {"a", "b", "c", "d"};

static uint32_t chance_draw(struct random *random, uint32_t max) {
    return (uint32_t)random_below(random, max + 1);
}

/* Milliseconds, or now and then 0: off. */
static uint64_t time_draw(struct random *random, uint64_t min_ms, uint64_t max_ms, uint32_t off_chance) {
    return random_chance(random, off_chance) ? 0 : min_ms + random_scaled(random, max_ms);
}

static struct address address_draw(struct random *random, const char *name, uint16_t port) {
    struct address address;
    struct error error;
    char text[64];
    if (random_chance(random, 150)) {
        snprintf(text, sizeof(text), "unix:@%s-%u", name, port);
    } else {
        snprintf(text, sizeof(text), "127.0.0.1:%u", port);
    }
    check(address_parse(&address, text, false, &error));
    return address;
}

/* --- the world -----------------------------------------------------------------------------------------------------
 */

/* Each feature on or off; recv_limit needs bundles on every kernel. */
static struct ring_features features_draw(struct random *random) {
    bool recv_bundle = random_chance(random, 700);
    return (struct ring_features){.recv_bundle = recv_bundle,
                                  .recv_limit = recv_bundle && random_chance(random, 800),
                                  .send_vectored = random_chance(random, 500),
                                  .send_zero_copy = random_chance(random, 500)};
}

static void world_draw(struct world_options *options, struct random *random) {
    options->features = features_draw(random);
    options->window_max = (uint32_t)random_scaled(random, 512 * 1024);
    options->window_min = random_chance(random, 500) ? options->window_max : (options->window_max + 9) / 10;
    options->receive_max = FLOW_QUEUE_MAX;
    options->buffers_max = random_chance(random, 400) ? (uint32_t)random_scaled(random, 256) : 0;
    if (random_chance(random, 200)) {
        return; /* a kind one */
    }
    options->latency_us_max = (uint32_t)random_scaled(random, 50 * 1000);
    options->delay_us_max = (uint32_t)random_scaled(random, 20 * 1000);
    options->delay_chance = chance_draw(random, 400);
    options->short_chance = chance_draw(random, 400);
    options->refuse_chance = chance_draw(random, 150);
    options->no_buffers_chance = chance_draw(random, 60);
    options->end_chance = chance_draw(random, 400);
    options->late_chance = chance_draw(random, 800);
    options->accept_error_chance = chance_draw(random, 60);
    options->resource_chance = random_chance(random, 300) ? (uint32_t)random_scaled(random, RESOURCE_CHANCE_MAX) : 0;
}

/* --- the configuration ---------------------------------------------------------------------------------------------
 */

static void server_draw(struct scene *scene, size_t upstream, size_t index, struct random *random) {
    struct config_server *server = &scene->servers[upstream][index];
    struct host_options *host = &scene->hosts[upstream][index];
    uint16_t port = (uint16_t)(9000 + upstream * SCENE_SERVERS_MAX + index);
    *server =
        (struct config_server){.name = server_names[index],
                               .address_text = server_names[index],
                               .address = address_draw(random, "server", port),
                               .weight = (uint32_t)random_scaled(random, 100),
                               .connections_max = random_chance(random, 200) ? (uint32_t)random_scaled(random, 50) : 0,
                               .backup = random_chance(random, 150)};
    *host = (struct host_options){.address = server->address,
                                  .backlog = (uint32_t)random_scaled(random, 128),
                                  .accept_delay_us_max = (uint32_t)random_scaled(random, 100 * 1000)};
    if (random_chance(random, 300)) {
        host->refuse_chance = chance_draw(random, 1000);
        host->ignore_chance = chance_draw(random, 300);
        host->unreachable_chance = chance_draw(random, 300);
    }
}

static void upstream_draw(struct scene *scene, size_t index, struct random *random) {
    struct config_upstream *upstream = &scene->upstreams[index];
    *upstream = (struct config_upstream){
        .name = upstream_names[index],
        .servers = scene->servers[index],
        .servers_count = 1 + random_below(random, SCENE_SERVERS_MAX),
        .balance = (enum config_balance)random_below(random, BALANCE_FIRST + 1),
        .retry_attempts = (uint32_t)random_scaled(random, 6),
        .retry_backoff_ms = random_scaled(random, 200),
        .connect_ms = random_chance(random, 500) ? UINT64_MAX : time_draw(random, 5, 10 * 1000, 100),
    };
    for (size_t i = 0; i < upstream->servers_count; i++) {
        server_draw(scene, index, i, random);
    }
}

static void listener_draw(struct scene *scene, size_t index, struct random *random) {
    struct config_listener *listener = &scene->listeners[index];
    *listener = (struct config_listener){
        .name = listener_names[index],
        .binds = scene->binds[index],
        .binds_count = 1 + random_below(random, SCENE_BINDS_MAX),
        .upstream = random_below(random, scene->upstreams_count),
        .timeouts = {.connect_ms = time_draw(random, 5, 10 * 1000, 100),
                     .idle_ms = time_draw(random, 50, 600 * 1000, 150),
                     .half_close_ms = time_draw(random, 50, 300 * 1000, 150),
                     .send_stall_ms = time_draw(random, 50, 300 * 1000, 150),
                     .max_lifetime_ms = time_draw(random, 50, 300 * 1000, 700)},
        .connections_max = random_chance(random, 200) ? (uint32_t)random_scaled(random, 100) : 0,
        .tcp = {.backlog = (uint32_t)random_scaled(random, 256)},
    };
    for (size_t i = 0; i < listener->binds_count; i++) {
        uint16_t port = (uint16_t)(8000 + index * SCENE_BINDS_MAX + i);
        listener->binds[i] = (struct config_bind){.address = address_draw(random, "listener", port)};
    }
}

/* --- all of it -----------------------------------------------------------------------------------------------------
 */

static void end_draw(struct scene *scene, struct random *random) {
    scene->arrival_us = random_scaled(random, 10 * 1000 * 1000);
    scene->end = SCENE_ENDS_WITH_CLIENTS;
    if (random_chance(random, 200)) {
        scene->end = random_chance(random, 500) ? SCENE_DRAINS : SCENE_CLOSES;
        scene->end_us = random_scaled(random, 2 * scene->arrival_us);
    }
}

/* One scene in ten has big streams, and what makes them be spliced. */
static void scene_make_bulk(struct scene *scene, struct random *random) {
    struct world_options *world = &scene->world;
    world->features.recv_bundle = true;
    world->features.recv_limit = true;
    world->window_max = BULK_WINDOW_MIN * (uint32_t)random_between(random, 2, 16);
    world->window_min = world->window_max / 2;
    world->buffers_max = random_chance(random, 200) ? world->buffers_max : 0;
    world->short_chance /= 10;
    world->end_chance /= 4;
    scene->io.splice = true;
    scene->manners.bulk_chance = chance_draw(random, 500);
    scene->manners.slow_chance /= 4;
}

static void manners_limit(struct manners *manners, uint32_t window) {
    uint64_t most = (uint64_t)WINDOWS_MAX * window;
    manners->bytes_max = manners->bytes_max < most ? manners->bytes_max : most;
    manners->bulk_chance = window < BULK_WINDOW_MIN ? 0 : manners->bulk_chance;
}

/* The timeouts that only filters know, and no more bytes than these can cut up in time. */
static void listener_draw_filters(struct scene *scene, size_t index, const struct filter_calls *calls,
                                  struct random *random) {
    struct config_listener *listener = &scene->listeners[index];
    struct manners *manners = &scene->manners;
    parts_draw(&scene->parts[index], calls, random);
    listener->timeouts.preread_ms = time_draw(random, 50, 20 * 1000, 150);
    listener->timeouts.handshake_ms = time_draw(random, 50, 20 * 1000, 150);
    listener->upstream = random_chance(random, 100) ? CONFIG_NO_UPSTREAM : listener->upstream;
    uint64_t most = parts_bytes_max(&scene->parts[index]);
    manners->bytes_max = manners->bytes_max < most ? manners->bytes_max : most;
    manners->bulk_max = manners->bulk_max < most ? manners->bulk_max : most;
}

/* Drawn apart, too. */
static void scene_draw_health(struct scene *scene) {
    struct random random;
    random_init(&random, scene->world.seed ^ 0x4ea174);
    scene->drain_timeout_ms = time_draw(&random, 1, 5 * 1000, 100);
    for (size_t i = 0; i < scene->upstreams_count; i++) {
        if (random_chance(&random, 600)) {
            continue;
        }
        scene->upstreams[i].health = (struct config_health){
            .outlier = {.on = true,
                        .consecutive_failures = (uint32_t)random_scaled(&random, 5),
                        .ejection_time_ms = 1 + random_scaled(&random, 5 * 1000),
                        .ejection_max = (uint32_t)random_below(&random, 101)},
            .on_server_down = (enum config_server_down)random_below(&random, SERVER_DOWN_RESET + 1),
            .slow_start_ms = time_draw(&random, 1, 10 * 1000, 200),
        };
    }
}

static void scene_draw_filters(struct scene *scene, enum scene_filters filters, const struct filter_calls *calls) {
    struct random random;
    random_init(&random, scene->world.seed ^ 0xf1f7e25);
    scene->has_filters = random_chance(&random, 500);
    if (filters != FILTERS_SOMETIMES) {
        scene->has_filters = filters == FILTERS_ALWAYS;
    }
    for (size_t i = 0; i < scene->listeners_count && scene->has_filters; i++) {
        if (filters == FILTERS_ALWAYS || random_chance(&random, 700)) {
            listener_draw_filters(scene, i, calls, &random);
        }
    }
}

static void rules_draw(struct rules *rules, bool otherwise, struct random *random) {
    size_t count = 0;
    for (unsigned neighbour = 0; neighbour < PLACE_NEIGHBOURS; neighbour++) {
        struct cidr_ip ip = {.low = INADDR_LOOPBACK + neighbour};
        if (random_chance(random, 300)) {
            rules->items[count++] = (struct admission_rule){.cidr = {.first = ip, .last = ip}};
        }
    }
    admission_init(&rules->admission, otherwise, rules->items, count, rules->turns);
}

/* Few enough for eight neighbours to meet the bounds. */
static void source_limits_draw(struct config_listener *listener, struct random *random) {
    listener->limits_sources = true;
    listener->per_source = (struct config_source_limits){
        .connections_max = random_chance(random, 700) ? (uint32_t)random_scaled(random, 20) : 0,
        .rate_per_hour = random_chance(random, 500) ? 3600 * random_scaled(random, 50) : 0,
        .burst = random_chance(random, 500) ? (uint32_t)random_scaled(random, 20) : 0,
        .prefix_v4 = (uint32_t)random_between(random, 28, 32),
        .prefix_v6 = 64,
    };
}

/* Apart from the rest, too. */
static void scene_draw_rules(struct scene *scene) {
    struct random random;
    random_init(&random, scene->world.seed ^ 0xde11ed);
    for (size_t i = 0; i < scene->listeners_count; i++) {
        if (random_chance(&random, 100)) {
            rules_draw(&scene->rules[i], true, &random);
            scene->listeners[i].admission = &scene->rules[i].admission;
        }
        if (random_chance(&random, 100)) {
            source_limits_draw(&scene->listeners[i], &random);
        }
        if (random_chance(&random, 100)) {
            scene->listeners[i].bandwidth = 1024 * random_scaled(&random, 10 * 1024);
        }
    }
}

/* So few acts in a turn that clients come and go between a reload's turns. */
static void scene_draw_reloads(struct scene *scene) {
    struct random random;
    random_init(&random, scene->world.seed ^ 0x4e10ad);
    scene->reload_us = 10 * 1000 + random_scaled(&random, scene->arrival_us);
    scene->acts_a_turn = (uint32_t)random_between(&random, 1, 5);
}

unsigned scene_proxy_versions(const struct config_listener *listener) {
    static const unsigned versions[] = {
        [PROXY_ACCEPT_ANY] = PROXY_ANY, [PROXY_ACCEPT_V1] = PROXY_V1, [PROXY_ACCEPT_V2] = PROXY_V2};
    return listener->proxy_protocol.wanted ? versions[listener->proxy_protocol.accept] : 0;
}

/* Filters may send sessions to any server of the first upstream by its address, and then nobody sends a header. */
static void scene_draw_headers_out(struct scene *scene, struct random *random) {
    static const enum config_proxy_send sends[] = {PROXY_SEND_V1, PROXY_SEND_V2};
    for (size_t i = scene->has_filters ? 1 : 0; i < scene->upstreams_count; i++) {
        if (random_chance(random, 800)) {
            continue;
        }
        scene->upstreams[i].proxy_protocol = sends[random_below(random, 2)];
        unsigned version = scene->upstreams[i].proxy_protocol == PROXY_SEND_V1 ? PROXY_V1 : PROXY_V2;
        for (size_t j = 0; j < SCENE_SERVERS_MAX; j++) {
            scene->hosts[i][j].proxy_version = version;
        }
    }
}

/* Who acts as a proxy, and what operators do; drawn apart. */
static void scene_draw_headers(struct scene *scene) {
    struct random random;
    random_init(&random, scene->world.seed ^ 0x4eade5);
    scene_draw_headers_out(scene, &random);
    for (size_t i = 0; i < scene->listeners_count; i++) {
        struct config_listener *listener = &scene->listeners[i];
        if (random_chance(&random, 800)) {
            continue;
        }
        rules_draw(&scene->trusted[i], random_chance(&random, 800), &random);
        listener->proxy_protocol =
            (struct config_proxy_protocol){.wanted = true,
                                           .accept = (enum config_proxy_accept)random_below(&random, 3),
                                           .trusted_admission = &scene->trusted[i].admission};
        if (scene->parts[i].count == 0) {
            listener->timeouts.preread_ms = time_draw(&random, 50, 20 * 1000, 150);
        }
    }
    scene->kill_us = random_chance(&random, 100) ? 1000 + random_scaled(&random, 2 * 1000 * 1000) : 0;
}

void scene_draw(struct scene *scene, uint64_t seed, enum scene_filters filters, const struct filter_calls *calls) {
    struct random random;
    random_init(&random, ~seed); /* not the world's own numbers */
    *scene = (struct scene){.world = {.seed = seed}};
    world_draw(&scene->world, &random);
    manners_draw(&scene->manners, &random);
    scene->upstreams_count = 1 + random_below(&random, SCENE_UPSTREAMS_MAX);
    for (size_t i = 0; i < scene->upstreams_count; i++) {
        upstream_draw(scene, i, &random);
    }
    scene->listeners_count = 1 + random_below(&random, SCENE_LISTENERS_MAX);
    for (size_t i = 0; i < scene->listeners_count; i++) {
        listener_draw(scene, i, &random);
    }
    scene->io = (struct config_io){
        .splice = random_chance(&random, 700), .zero_copy_send = random_chance(&random, 300), .sqpoll_cpu = -1};
    scene->connections_max = random_chance(&random, 100) ? (uint32_t)random_scaled(&random, 100) : 0;
    end_draw(scene, &random);
    if (random_chance(&random, 100)) {
        scene_make_bulk(scene, &random);
    }
    scene_draw_filters(scene, filters, calls);
    scene_draw_health(scene);
    scene_draw_rules(scene);
    scene_draw_reloads(scene);
    scene_draw_headers(scene);
    manners_limit(&scene->manners, scene->world.window_min);
}
