/* The fake refuses what ring.h forbids, and does the same again for the same seed. */
#include "engine/ring.h"
#include "host.h"
#include "world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { BUFFERS = 8, BUFFER_SIZE = 1024 };

/* Single calls play the engine's part. */
struct bench {
    struct world *world;
    struct ring *ring;
    struct owner owner;
    struct owner *released;
    struct op op;
    struct op other_op;
    struct completion last;
    uint32_t completed;
    struct ring_message message;
    char bytes[64];
    struct place place;
    int fd;             /* connected, */
    struct stream *far; /* to this end */
};

static void bench_done(struct op *op, const struct completion *completion) {
    struct bench *bench = container_of(op_owner(op), struct bench, owner);
    bench->last = *completion;
    bench->completed++;
}

static void bench_release(struct owner *owner) {
    (void)owner;
}

static void nobody_cares(void *holder) {
    (void)holder;
}

static void bench_turn(struct bench *bench) {
    uint64_t now_us;
    ring_run(bench->ring, 1000 * 1000, &now_us);
}

static void bench_open(struct bench *bench, const struct world_options *options) {
    const struct ring_options ring_options = {.buffers_count = BUFFERS, .buffer_size = BUFFER_SIZE};
    struct error error;
    *bench = (struct bench){.world = world_create(options)};
    bench->ring = ring_create(&ring_options, &error);
    bench->released = NULL;
    owner_init(&bench->owner, &bench->released, bench_release);
    op_init(&bench->op, &bench->owner, bench_done);
    op_init(&bench->other_op, &bench->owner, bench_done);
    bench->message = (struct ring_message){.iovecs = {{bench->bytes, sizeof(bench->bytes)}}, .count = 1};
}

static void bench_connect(struct bench *bench) {
    struct address address;
    struct error error;
    cr_assert(address_parse(&address, "127.0.0.1:80", false, &error));
    cr_assert_eq(place_open(bench->world, &bench->place, &address, false), 0);
    place_listen(&bench->place, 8);
    bench->place.news = nobody_cares;
    bench->fd = kernel_socket(AF_INET);
    ring_connect(bench->ring, &bench->op, bench->fd, &address);
    bench_turn(bench);
    cr_assert_eq(bench->last.result, 0);
    bench->far = place_accept(&bench->place);
}

static void bench_begin(struct bench *bench) {
    bench_open(bench, &(struct world_options){.seed = 1, .window_min = 4096, .window_max = 4096});
    bench_connect(bench);
}

#define refuses(name) Test(ring_fake, refuses_##name, .timeout = 10, .signal = SIGABRT)

refuses(an_op_that_is_in_flight) {
    struct bench bench;
    bench_begin(&bench);
    ring_poll(bench.ring, &bench.op, bench.fd, RING_POLL_READ);
    ring_poll(bench.ring, &bench.op, bench.fd, RING_POLL_READ);
}

refuses(an_op_of_a_closing_owner) {
    struct bench bench;
    bench_begin(&bench);
    ring_poll(bench.ring, &bench.op, bench.fd, RING_POLL_READ);
    owner_close(&bench.owner);
    ring_poll(bench.ring, &bench.other_op, bench.fd, RING_POLL_WRITE);
}

refuses(to_close_with_a_request_in_flight) {
    struct bench bench;
    bench_begin(&bench);
    ring_recv(bench.ring, &bench.op, bench.fd, 100);
    kernel_close(bench.fd);
}

refuses(to_close_before_what_was_cancelled_is_over) {
    struct bench bench;
    bench_begin(&bench);
    ring_recv(bench.ring, &bench.op, bench.fd, 100);
    ring_cancel(bench.ring, &bench.op);
    kernel_close(bench.fd);
}

refuses(to_shut_down_with_a_send_in_flight) {
    struct bench bench;
    bench_begin(&bench);
    ring_send(bench.ring, &bench.op, bench.fd, &bench.message, false);
    kernel_shutdown_write(bench.fd);
}

refuses(two_sends_at_once) {
    struct bench bench;
    bench_begin(&bench);
    ring_send(bench.ring, &bench.op, bench.fd, &bench.message, false);
    ring_send(bench.ring, &bench.other_op, bench.fd, &bench.message, false);
}

refuses(bytes_that_change_while_they_are_sent) {
    struct bench bench;
    bench_begin(&bench);
    ring_send(bench.ring, &bench.op, bench.fd, &bench.message, false);
    bench.bytes[17] ^= 1;
    bench_turn(&bench);
}

refuses(a_buffer_that_was_given_back_already) {
    struct bench bench;
    bench_begin(&bench);
    ring_buffer_give(bench.ring, 0);
}

refuses(bytes_in_a_buffer_that_was_given_back) {
    struct bench bench;
    bench_begin(&bench);
    cr_assert_eq(stream_write(bench.far, "hello", 5), 5);
    ring_recv(bench.ring, &bench.op, bench.fd, 5);
    bench_turn(&bench);
    bench.message.iovecs[0].iov_base = ring_buffer_bytes(bench.ring, bench.last.buffer);
    bench.message.iovecs[0].iov_len = 5;
    ring_send(bench.ring, &bench.op, bench.fd, &bench.message, false);
    ring_buffer_give(bench.ring, bench.last.buffer);
    bench_turn(&bench);
}

refuses(a_closed_descriptor) {
    struct bench bench;
    bench_begin(&bench);
    kernel_close(bench.fd);
    kernel_unsent(bench.fd);
}

refuses(a_limit_beyond_what_is_allowed) {
    struct bench bench;
    bench_open(&bench, &(struct world_options){.seed = 1, .window_min = 1, .window_max = 1, .receive_max = 100});
    bench_connect(&bench);
    ring_recv(bench.ring, &bench.op, bench.fd, 101);
}

refuses(to_splice_on_a_socket_that_would_wait) {
    struct bench bench;
    struct kernel_pipe pipe;
    bench_begin(&bench);
    kernel_pipe_open(&pipe, 4096);
    kernel_splice(bench.fd, pipe.write_fd, 100);
}

refuses(to_sleep_for_ever) {
    struct bench bench;
    uint64_t now_us;
    bench_open(&bench, &(struct world_options){.seed = 1, .window_min = 1, .window_max = 1});
    ring_run(bench.ring, UINT64_MAX, &now_us);
}

refuses(to_spin) {
    struct bench bench;
    bench_open(&bench, &(struct world_options){.seed = 1, .window_min = 1, .window_max = 1, .no_buffers_chance = 1000});
    bench_connect(&bench);
    for (;;) {
        ring_recv(bench.ring, &bench.op, bench.fd, 100);
        bench_turn(&bench);
        cr_assert_eq(bench.last.result, -ENOBUFS);
    }
}

/* Bytes fill every buffer; none is given back. */
refuses(to_ask_again_for_buffers_though_none_came_back) {
    struct bench bench;
    static char bytes[4096];
    bench_begin(&bench);
    while (bench.last.result != -ENOBUFS) {
        stream_write(bench.far, bytes, sizeof(bytes));
        ring_recv(bench.ring, &bench.op, bench.fd, sizeof(bytes));
        bench_turn(&bench);
    }
    for (int i = 0; i < 10; i++) {
        ring_recv(bench.ring, &bench.op, bench.fd, sizeof(bytes));
        bench_turn(&bench);
    }
}

/* --- the same again ------------------------------------------------------------------------------------------------
 */

/* Clients and servers talk without anybody between them, in a world that is as unkind as can be. */
static void talk(uint64_t seed, FILE *trace) {
    struct world_options options = {.seed = seed,
                                    .window_min = 10,
                                    .window_max = 10000,
                                    .latency_us_max = 500,
                                    .short_chance = 300,
                                    .trace = trace};
    struct bench bench;
    struct cast cast;
    struct manners manners;
    struct host host;
    bench_open(&bench, &options);
    cast_init(&cast, bench.world);
    struct host_options host_options = {.backlog = 100, .accept_delay_us_max = 1000};
    struct error error;
    cr_assert(address_parse(&host_options.address, "127.0.0.1:80", false, &error));
    manners_draw(&manners, &bench.world->random);
    host_open(&host, &cast, &manners, &host_options);
    for (int i = 0; i < 50; i++) {
        struct actor_plan plan = plan_draw(&manners, bench.world);
        actor_enter_client(&cast, &plan, &host_options.address, 0, 0);
    }
    world_run_out(bench.world);
    cr_assert_eq(cast.over_count, 100);
    cr_assert_eq(bench.world->connections, 0);
    for (uint64_t i = 0; i < cast.count; i++) {
        struct actor *actor = cast.actors[i];
        cr_assert(!actor->heard_fin || actor->partner == NULL || actor->heard == actor->partner->sent);
    }
    host_close(&host);
    cast_finish(&cast);
    ring_destroy(bench.ring);
    world_destroy(bench.world);
}

Test(actor, hears_each_byte_once_and_in_order, .timeout = 20) {
    for (uint64_t seed = 1; seed <= 200; seed++) {
        talk(seed, NULL);
    }
}

Test(world, does_the_same_for_the_same_seed, .timeout = 10) {
    char *traces[2];
    size_t sizes[2];
    for (int i = 0; i < 2; i++) {
        FILE *trace = open_memstream(&traces[i], &sizes[i]);
        cr_assert(trace != NULL);
        talk(7, trace);
        fclose(trace);
    }
    cr_assert_gt(sizes[0], 1000);
    cr_assert_str_eq(traces[0], traces[1]);
    free(traces[0]);
    free(traces[1]);
}
