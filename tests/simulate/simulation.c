#include "simulation.h"

#include "engine/outlier.h"
#include "engine/session.h"
#include "engine/sources.h"
#include "engine/worker.h"
#include "judge.h"
#include "recorder.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXPLAINED_MAX = 5 }; /* sessions that are described when something is wrong */

struct simulation {
    struct scene scene;
    struct world *world;
    struct cast cast;
    struct judge judge;
    struct troupe troupe;
    struct filter_list filter_lists[SCENE_LISTENERS_MAX];
    struct address addresses[SCENE_UPSTREAMS_MAX * SCENE_SERVERS_MAX]; /* of servers */
    const char *names[SCENE_UPSTREAMS_MAX];                            /* of upstreams */
    struct host hosts[SCENE_UPSTREAMS_MAX][SCENE_SERVERS_MAX];
    struct upstream upstreams[SCENE_UPSTREAMS_MAX];
    struct access_queue *records_queue;
    uint64_t epochs;                                                     /* there are */
    struct worker_socket sockets[SCENE_LISTENERS_MAX * SCENE_BINDS_MAX]; /* by descriptor */
    size_t sockets_count;
    struct message reload;
    bool reload_posted; /* and not run yet */
    struct event reload_event;
    uint64_t reloads;
    uint64_t reloaded_id; /* sessions from here on begin in the present epoch */
    struct listener listeners[SCENE_LISTENERS_MAX];
    struct sources *sources[SCENE_LISTENERS_MAX]; /* ours; NULL: it has no limits for them */
    struct quota process;
    struct access_log records;
    struct worker worker;
    _Atomic uint64_t session_ids;
    struct message stop;
    struct event stop_event;
    struct message kill;
    bool kill_posted;
    struct event kill_event;
    struct event health_event; /* when somebody looks at the servers' health */
    uint64_t clients;
    uint64_t clients_over;
    uint64_t ejections;
    bool stopping;
};

/* --- what the engine and the actors tell ---------------------------------------------------------------------------
 */

static void simulation_record(void *holder, const struct access_record *record) {
    struct simulation *simulation = holder;
    judge_record(&simulation->judge, record);
}

static void simulation_moved(void *holder, struct actor *actor) {
    struct simulation *simulation = holder;
    judge_moved(&simulation->judge, actor);
}

static void simulation_bored(void *holder, struct actor *actor) {
    struct simulation *simulation = holder;
    judge_bored(&simulation->judge, actor);
}

static void stop_run(struct worker *worker, struct message *message) {
    struct simulation *simulation = container_of(message, struct simulation, stop);
    worker_stop(worker);
    if (simulation->scene.end == SCENE_CLOSES) {
        simulation->judge.closing = true;
        worker_close_sessions(worker);
    }
}

static void simulation_stop(struct simulation *simulation) {
    if (!simulation->stopping) {
        simulation->stopping = true;
        simulation->stop.run = stop_run;
        world_trace(simulation->world, "moonring is told to stop");
        worker_post(&simulation->worker, &simulation->stop);
    }
}

static void stop_fire(struct event *event) {
    simulation_stop(container_of(event, struct simulation, stop_event));
}

static uint64_t count_open(const struct engine *engine) {
    uint64_t count = 0;
    list_for_each (link, &engine->sessions) {
        count += container_of(link, struct session, link)->state != SESSION_CLOSING;
    }
    return count;
}

/* What `ctl kill` does, to any session. */
static void kill_run(struct worker *worker, struct message *message) {
    struct simulation *simulation = container_of(message, struct simulation, kill);
    simulation->kill_posted = false;
    uint64_t left = random_below(&simulation->world->random, count_open(&worker->engine)) + 1;
    list_for_each (link, &worker->engine.sessions) {
        struct session *session = container_of(link, struct session, link);
        left -= session->state != SESSION_CLOSING;
        if (left == 0) {
            world_trace(simulation->world, "an operator kills session %lu", (unsigned long)session->id);
            session_close(session, CLOSE_KILLED);
            return;
        }
    }
}

static void kill_fire(struct event *event) {
    struct simulation *simulation = container_of(event, struct simulation, kill_event);
    simulation->kill.run = kill_run;
    if (!simulation->kill_posted && count_open(&simulation->worker.engine) > 0) {
        simulation->kill_posted = true;
        worker_post(&simulation->worker, &simulation->kill);
    }
    if (!simulation->stopping) {
        world_after(simulation->world, event, simulation->scene.kill_us * 1000);
    }
}

static void simulation_ended(void *holder, struct actor *actor) {
    struct simulation *simulation = holder;
    simulation->clients_over += actor->is_server ? 0 : 1;
    if (simulation->clients_over == simulation->clients) {
        simulation_stop(simulation);
    }
}

/* Which sessions there still are; when there are many, any of them may be the culprit. */
static void simulation_explain(void *holder) {
    struct simulation *simulation = holder;
    struct bytes lines;
    if (simulation->worker.engine.sessions_count > EXPLAINED_MAX) {
        return;
    }
    bytes_init(&lines);
    worker_walk_begin(&simulation->worker, 0);
    for (const struct session *session; (session = worker_walk_next(&simulation->worker, 0)) != NULL;) {
        session_describe(session, &lines);
    }
    fputs(lines.data, stderr);
    bytes_finish(&lines);
}

/* There is only one worker. */
static void simulation_room(void *argument, struct worker *worker) {
    (void)argument;
    (void)worker;
}

static void simulation_socket_done(void *argument, int fd) {
    (void)argument;
    kernel_close(fd);
}

/* --- reloads -------------------------------------------------------------------------------------------------------
 */

/* Each has the same settings: what a session gets from them does not tell which one it began in. */
static struct epoch *epoch_make(struct simulation *simulation) {
    const struct scene *scene = &simulation->scene;
    struct epoch *epoch =
        epoch_create(scene->listeners, scene->listeners_count, simulation->upstreams, scene->upstreams_count,
                     scene->has_filters ? simulation->filter_lists : NULL, scene->world.seed + simulation->reloads);
    check(epoch != NULL);
    for (size_t i = 0; i < scene->listeners_count; i++) {
        epoch->settings[i].counted_by = &simulation->listeners[i];
        epoch->settings[i].sources = simulation->sources[i];
    }
    epoch->access_log = simulation->records_queue;
    simulation->epochs++;
    return epoch;
}

/* At once, so that whoever still uses it is found. */
static void simulation_epoch_over(void *argument, struct worker *worker, struct epoch *epoch) {
    struct simulation *simulation = argument;
    (void)worker;
    simulation->epochs--;
    epoch_destroy(epoch);
}

static void simulation_filters_over(void *argument, struct worker *worker, struct epoch *epoch) {
    (void)argument;
    (void)worker;
    check(epoch->filtered_users == 0);
}

/* Whoever has come since the swap, also while it was under way, has the new settings. */
static void simulation_adopted(void *argument, struct worker *worker) {
    struct simulation *simulation = argument;
    worker_walk_begin(worker, 0);
    for (const struct session *session; (session = worker_walk_next(worker, 0)) != NULL;) {
        if (session->id >= simulation->reloaded_id && session->settings->epoch != worker->engine.epoch) {
            world_violation("session %lu began after a reload with settings from before", (unsigned long)session->id);
        }
    }
}

static void reload_run(struct worker *worker, struct message *message) {
    struct simulation *simulation = container_of(message, struct simulation, reload);
    simulation->reload_posted = false;
    if (!worker->stopping && !worker->adoption.goes_on) {
        simulation->reloads++;
        simulation->reloaded_id = worker->engine.last_session_id + 1;
        worker_adopt(worker, epoch_make(simulation), simulation->sockets, simulation->sockets_count);
    }
}

static void reload_fire(struct event *event) {
    struct simulation *simulation = container_of(event, struct simulation, reload_event);
    if (!simulation->stopping) {
        if (!simulation->reload_posted) {
            world_trace(simulation->world, "a reload");
            simulation->reload_posted = true;
            simulation->reload.run = reload_run;
            worker_post(&simulation->worker, &simulation->reload);
        }
        world_after(simulation->world, event, simulation->scene.reload_us * 1000);
    }
}

static int compare_sockets(const void *a, const void *b) {
    const struct worker_socket *left = a;
    const struct worker_socket *right = b;
    return (left->fd > right->fd) - (left->fd < right->fd);
}

/* --- the keeper of servers -----------------------------------------------------------------------------------------
 */

static void simulation_told(void *argument, const struct upstream *upstream, const struct server *server,
                            enum outlier_news news) {
    struct simulation *simulation = argument;
    simulation->ejections += news == OUTLIER_EJECTED;
    world_trace(simulation->world, "server %s of %s: news %d", server->name, upstream->name, (int)news);
}

/* What the control thread does, without checks. Returns when something is due again. */
static uint64_t upstream_tend(struct simulation *simulation, const struct upstream *upstream, uint64_t now_ms) {
    uint64_t due_ms = UINT64_MAX;
    for (size_t i = 0; i < upstream->servers_count; i++) {
        const struct server *server = &upstream->servers[i];
        bool was_ejected = server_numbers(server).out != 0;
        uint64_t at_ms =
            health_tend(&server->state->health, &upstream->health, simulation->scene.drain_timeout_ms, now_ms);
        if (was_ejected && server_numbers(server).out == 0) {
            outlier_give_chance(server);
        }
        due_ms = at_ms < due_ms ? at_ms : due_ms;
    }
    return due_ms;
}

static void health_fire(struct event *event) {
    struct simulation *simulation = container_of(event, struct simulation, health_event);
    uint64_t now_ms = kernel_now_ns() / 1000000;
    uint64_t due_ms = UINT64_MAX;
    for (size_t i = 0; i < simulation->scene.upstreams_count; i++) {
        struct upstream *upstream = &simulation->upstreams[i];
        if (upstream->health.outlier.on) {
            outlier_look(upstream, now_ms, simulation_told, simulation);
            uint64_t at_ms = upstream_tend(simulation, upstream, now_ms);
            due_ms = at_ms < due_ms ? at_ms : due_ms;
        }
    }
    worker_post_servers(&simulation->worker);
    if (due_ms != UINT64_MAX) {
        world_after(simulation->world, event, (due_ms > now_ms ? due_ms - now_ms : 1) * 1000000);
    }
}

/* The control thread wakes up a little later. */
static void simulation_suspected(void *argument) {
    struct simulation *simulation = argument;
    world_after(simulation->world, &simulation->health_event, world_latency_ns(simulation->world));
}

static void simulation_stopped(void *argument, struct worker *worker) {
    (void)argument;
    (void)worker;
}

/* --- setting it up -------------------------------------------------------------------------------------------------
 */

static void upstreams_open(struct simulation *simulation) {
    struct scene *scene = &simulation->scene;
    for (size_t i = 0; i < scene->upstreams_count; i++) {
        struct upstream_member members[SCENE_SERVERS_MAX];
        struct config_upstream *upstream = &scene->upstreams[i];
        for (size_t j = 0; j < upstream->servers_count; j++) {
            struct config_server *server = &upstream->servers[j];
            members[j] = (struct upstream_member){.name = server->name, .address = &server->address, .config = server};
            host_open(&simulation->hosts[i][j], &simulation->cast, &scene->manners, &scene->hosts[i][j]);
        }
        check(upstream_init(&simulation->upstreams[i], upstream, members, upstream->servers_count, NULL));
    }
}

/* The program's part: it binds before anything else, and would refuse to start without descriptors. */
static int listener_socket(struct simulation *simulation, const struct config_listener *listener,
                           const struct config_bind *bind) {
    const struct kernel_listen_options options = {.backlog = listener->tcp.backlog};
    uint32_t resource_chance = simulation->world->options.resource_chance;
    simulation->world->options.resource_chance = 0;
    int fd = kernel_socket(address_family(&bind->address));
    simulation->world->options.resource_chance = resource_chance;
    check(kernel_bind(fd, &bind->address, &options) == 0);
    check(kernel_listen(fd, &options) == 0);
    return fd;
}

static void listeners_open(struct simulation *simulation) {
    const struct scene *scene = &simulation->scene;
    simulation->process.max = scene->connections_max;
    for (size_t i = 0; i < scene->listeners_count; i++) {
        const struct config_listener *config = &scene->listeners[i];
        struct listener *listener = &simulation->listeners[i];
        listener->backlog = config->tcp.backlog;
        listener->quota.max = config->connections_max;
        listener->process = &simulation->process;
        for (size_t j = 0; j < config->binds_count; j++) {
            int fd = listener_socket(simulation, config, &config->binds[j]);
            check(worker_accept(&simulation->worker, listener, i, fd));
            simulation->sockets[simulation->sockets_count++] =
                (struct worker_socket){.fd = fd, .listener = listener, .index = i};
        }
    }
    qsort(simulation->sockets, simulation->sockets_count, sizeof simulation->sockets[0], compare_sockets);
}

static void troupe_turn_ended(void *argument) {
    struct simulation *simulation = argument;
    troupe_turn(&simulation->troupe);
}

/* What the scripts need to know of the scene, and the worker of the scripts. */
static void troupe_open(struct simulation *simulation) {
    struct troupe *troupe = &simulation->troupe;
    struct scene *scene = &simulation->scene;
    troupe_init(troupe, simulation->world, &simulation->cast);
    troupe->addresses = simulation->addresses;
    troupe->names = simulation->names;
    for (size_t i = 0; i < scene->upstreams_count; i++) {
        simulation->names[troupe->names_count++] = scene->upstreams[i].name;
        for (size_t j = 0; j < scene->upstreams[i].servers_count && scene->hosts[i][j].proxy_version == 0; j++) {
            simulation->addresses[troupe->addresses_count++] = scene->upstreams[i].servers[j].address;
        }
    }
    for (size_t i = 0; i < scene->listeners_count; i++) {
        struct parts *parts = &scene->parts[i];
        simulation->filter_lists[i] = (struct filter_list){.filters = parts->filters, .count = parts->count};
        for (size_t j = 0; j < parts->count; j++) {
            parts->part[j].troupe = troupe;
        }
    }
}

static void worker_open(struct simulation *simulation) {
    struct scene *scene = &simulation->scene;
    struct error error;
    for (size_t i = 0; i < scene->listeners_count; i++) {
        if (scene->listeners[i].limits_sources) {
            simulation->sources[i] = sources_create(scene->world.seed);
            check(simulation->sources[i] != NULL);
        }
    }
    simulation->records = (struct access_log){.write = simulation_record, .holder = simulation};
    simulation->records_queue = access_queue_create(&simulation->records, ACCESS_FORMAT_TEXT);
    const struct worker_options options = {.io = &simulation->scene.io,
                                           .session_ids = &simulation->session_ids,
                                           .epoch = epoch_make(simulation),
                                           .room = simulation_room,
                                           .socket_done = simulation_socket_done,
                                           .suspected = simulation_suspected,
                                           .adopted = simulation_adopted,
                                           .filters_over = simulation_filters_over,
                                           .epoch_over = simulation_epoch_over,
                                           .stopped = simulation_stopped,
                                           .argument = simulation,
                                           .acts_a_turn = scene->acts_a_turn};
    if (!worker_init(&simulation->worker, &options, &error)) {
        world_violation("worker_init: %s", error.text);
    }
    simulation->troupe.engine = &simulation->worker.engine;
    simulation->worker.engine.turn_ended = scene->has_filters ? troupe_turn_ended : NULL;
    simulation->worker.engine.turn_ended_argument = simulation;
}

static void clients_enter(struct simulation *simulation) {
    struct world *world = simulation->world;
    const struct scene *scene = &simulation->scene;
    for (uint64_t i = 0; i < simulation->clients; i++) {
        const struct config_listener *listener =
            &scene->listeners[random_below(&world->random, scene->listeners_count)];
        const struct config_bind *bind = &listener->binds[random_below(&world->random, listener->binds_count)];
        struct actor_plan plan = plan_draw(&scene->manners, world);
        actor_enter_client(&simulation->cast, &plan, &bind->address, scene_proxy_versions(listener),
                           random_below(&world->random, scene->arrival_us * 1000));
    }
}

static void simulation_open(struct simulation *simulation, const struct simulation_options *options) {
    scene_draw(&simulation->scene, options->seed, options->filters, &script_calls);
    simulation->scene.world.trace = options->trace;
    simulation->scene.world.again = options->again;
    simulation->world = world_create(&simulation->scene.world);
    simulation->clients = options->sessions;
    cast_init(&simulation->cast, simulation->world);
    simulation->cast.moved = simulation_moved;
    simulation->cast.bored = simulation_bored;
    simulation->cast.ended = simulation_ended;
    simulation->cast.holder = simulation;
    simulation->judge = (struct judge){.scene = &simulation->scene,
                                       .world = simulation->world,
                                       .cast = &simulation->cast,
                                       .troupe = &simulation->troupe};
    troupe_open(simulation);
    upstreams_open(simulation);
    worker_open(simulation);
    simulation->world->explain = simulation_explain;
    simulation->world->holder = simulation;
    listeners_open(simulation);
    clients_enter(simulation);
    event_init(&simulation->stop_event, stop_fire);
    event_init(&simulation->health_event, health_fire);
    event_init(&simulation->reload_event, reload_fire);
    world_after(simulation->world, &simulation->reload_event, simulation->scene.reload_us * 1000);
    event_init(&simulation->kill_event, kill_fire);
    if (simulation->scene.kill_us > 0) {
        world_after(simulation->world, &simulation->kill_event, simulation->scene.kill_us * 1000);
    }
    if (simulation->scene.end != SCENE_ENDS_WITH_CLIENTS) {
        world_after(simulation->world, &simulation->stop_event, simulation->scene.end_us * 1000);
    }
}

/* --- the end -------------------------------------------------------------------------------------------------------
 */

static void refuse_leftovers(const struct simulation *simulation) {
    const struct world_counts *counts = &simulation->world->counts;
    uint32_t left = counts->sockets + counts->listeners + counts->pipe_ends + counts->events + counts->rings +
                    counts->requests + counts->buffers_out + simulation->world->connections;
    if (left > 0) {
        world_violation("left over: %u sockets, %u listening, %u ends of pipes, %u events, %u rings, %u requests in "
                        "flight, %u receive buffers, %u connections",
                        counts->sockets, counts->listeners, counts->pipe_ends, counts->events, counts->rings,
                        counts->requests, counts->buffers_out, simulation->world->connections);
    }
}

static void refuse_wrong_counts(const struct simulation *simulation) {
    const struct engine_counters *counters = &simulation->worker.engine.counters;
    uint64_t closed = 0;
    for (int i = 0; i < CLOSE_REASONS; i++) {
        closed += counters->sessions_closed[i];
    }
    if (closed != counters->sessions_opened || closed != simulation->judge.sessions) {
        world_violation("%lu sessions were opened, %lu closed, %lu recorded", (unsigned long)counters->sessions_opened,
                        (unsigned long)closed, (unsigned long)simulation->judge.sessions);
    }
    for (size_t i = 0; i < simulation->scene.upstreams_count; i++) {
        for (size_t j = 0; j < simulation->upstreams[i].servers_count; j++) {
            check(atomic_load(&simulation->upstreams[i].servers[j].state->active) == 0);
        }
    }
    check(atomic_load(&simulation->process.active) == 0);
}

static void totals_add(struct simulation_totals *totals, const struct simulation *simulation) {
    const struct engine *engine = &simulation->worker.engine;
    totals->clients += simulation->clients;
    totals->sessions += simulation->judge.sessions;
    totals->paired += simulation->judge.paired;
    for (int i = 0; i < CLOSE_REASONS; i++) {
        totals->reasons[i] += simulation->judge.reasons[i];
    }
    totals->bytes += engine->counters.from_client_bytes + engine->counters.from_server_bytes;
    totals->requests += simulation->world->requests_started;
    totals->starved += engine->counters.starved;
    totals->evacuations += engine->buffers.evacuations;
    totals->promotions += engine->counters.splice_promotions;
    totals->demotions += engine->counters.splice_demotions;
    totals->retries += engine->counters.retries;
    totals->ejections += simulation->ejections;
    totals->reloads += simulation->reloads;
    totals->filtered += simulation->judge.filtered;
    troupe_add_counters(&simulation->troupe, &totals->troupe);
}

static void simulation_close(struct simulation *simulation, struct simulation_totals *totals) {
    world_forget(simulation->world, &simulation->stop_event);
    world_forget(simulation->world, &simulation->health_event);
    world_forget(simulation->world, &simulation->reload_event);
    world_forget(simulation->world, &simulation->kill_event);
    refuse_wrong_counts(simulation);
    simulation->world->explain = NULL;
    struct epoch *epoch = simulation->worker.engine.epoch;
    worker_finish(&simulation->worker);
    epoch_destroy(epoch);
    check(--simulation->epochs == 0);
    for (size_t i = 0; i < SCENE_LISTENERS_MAX; i++) {
        sources_destroy(simulation->sources[i]);
    }
    world_run_out(simulation->world); /* whoever is left plays on without moonring */
    for (size_t i = 0; i < simulation->scene.upstreams_count; i++) {
        for (size_t j = 0; j < simulation->upstreams[i].servers_count; j++) {
            host_close(&simulation->hosts[i][j]);
        }
        upstream_finish(&simulation->upstreams[i]);
    }
    refuse_leftovers(simulation);
    judge_cast(&simulation->judge);
    totals->introduced += simulation->judge.introduced;
    totals->told += simulation->judge.told;
    troupe_finish(&simulation->troupe);
    cast_finish(&simulation->cast);
    world_destroy(simulation->world);
}

void simulation_run(const struct simulation_options *options, struct simulation_totals *totals) {
    struct simulation *simulation = calloc(1, sizeof(*simulation));
    check(simulation != NULL);
    simulation_open(simulation, options);
    worker_run(&simulation->worker);
    totals_add(totals, simulation);
    simulation_close(simulation, totals);
    free(simulation);
}

/* --- crashes -------------------------------------------------------------------------------------------------------
 */

static void write_text(const char *text) {
    ssize_t written = write(STDERR_FILENO, text, strlen(text));
    (void)written;
}

static void explain_crash(int signal_number) {
    const char *again = world_again();
    if (again != NULL) {
        write_text("simulate: run it again: ");
        write_text(again);
        write_text("\n");
    }
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

void simulation_explain_crashes(void) {
    signal(SIGABRT, explain_crash);
    signal(SIGSEGV, explain_crash);
}
