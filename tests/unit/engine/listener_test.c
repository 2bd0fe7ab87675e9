#include "engine/listener.h"

#include "base/log.h"
#include "service.h"
#include "stage.h"
#include "tests/support/deadline.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <unistd.h>

/* The server must get no connection for a while. */
static void expect_nobody(struct service *service) {
    for (int turn = 0; turn < 10; turn++) {
        service_turn(service);
    }
    cr_assert_eq(kernel_accept(service->servers[0]), -EAGAIN);
}

Test(listener, counts_who_it_accepted_and_who_is_there, .timeout = 10) {
    struct service service;
    service_init(&service);
    service_open(&service);
    struct service_pair first = service_pair(&service);
    struct service_pair second = service_pair(&service);
    cr_assert_eq(atomic_load(&service.listener.accepted_total), 2);
    cr_assert_eq(atomic_load(&service.listener.quota.active), 2);
    cr_assert_eq(atomic_load(&service.process.active), 2);
    kernel_close(first.client);
    kernel_close(first.server);
    service_wait(&service, service.worker.engine.sessions_count == 1);
    cr_assert_eq(atomic_load(&service.listener.accepted_total), 2);
    cr_assert_eq(atomic_load(&service.listener.quota.active), 1);
    cr_assert_eq(atomic_load(&service.process.active), 1);
    kernel_close(second.client);
    service_close(&service);
}

static void expect_limit_kept(struct service *service, uint32_t limit) {
    struct service_pair pairs[4];
    int waiting[3];
    log_set_level(LOG_ERROR);
    service_open(service);
    for (uint32_t index = 0; index < limit; index++) {
        pairs[index] = service_pair(service);
    }
    for (int index = 0; index < 3; index++) {
        waiting[index] = service_client(service);
        socket_write(waiting[index], 0, 10);
    }
    expect_nobody(service);
    cr_assert_eq(atomic_load(&service->process.active), limit);
    kernel_close(pairs[0].client);
    kernel_close(pairs[0].server);
    for (int index = 0; index < 3; index++) {
        int server = service_server(service, 0);
        service_expect(service, server, 0, 10);
        expect_nobody(service);
        kernel_close(server);
        kernel_close(waiting[index]);
    }
    service_close(service);
}

Test(listener, at_its_limit_lets_clients_wait_until_one_goes, .timeout = 20) {
    for (uint32_t limit = 1; limit <= 4; limit++) {
        struct service service;
        service_init(&service);
        service.listener_config.connections_max = limit;
        expect_limit_kept(&service, limit);
    }
}

Test(listener, at_the_process_limit_lets_clients_wait_until_one_goes, .timeout = 20) {
    for (uint32_t limit = 1; limit <= 4; limit++) {
        struct service service;
        service_init(&service);
        service.process_max = limit;
        expect_limit_kept(&service, limit);
    }
}

Test(listener, at_its_limit_does_not_spin, .timeout = 10) {
    struct service service;
    service_init(&service);
    service.listener_config.connections_max = 1;
    log_set_level(LOG_ERROR);
    service_open(&service);
    service_pair(&service);
    for (int index = 0; index < 20; index++) {
        service_client(&service);
    }
    expect_nobody(&service);
    const struct ring_counters *counters = ring_counters(service.worker.engine.ring);
    uint64_t completions = counters->completions;
    uint64_t end_ms = deadline_after(300);
    while (deadline_left_ms(end_ms) > 0) {
        service_turn(&service);
    }
    cr_assert_leq(counters->completions - completions, 10);
    service_close(&service);
}

Test(listener, tells_others_about_room_only_while_somebody_waits, .timeout = 10) {
    struct service service;
    service_init(&service);
    service.listener_config.connections_max = 1;
    log_set_level(LOG_ERROR);
    service_open(&service);
    struct service_pair first = service_pair(&service);
    service_client(&service);
    expect_nobody(&service);
    cr_assert_eq(service.rooms, 0);
    cr_assert_gt(atomic_load(&service.process.waiting), 0);
    kernel_close(first.client);
    kernel_close(first.server);
    service_server(&service, 0);
    cr_assert_eq(service.rooms, 1);
    service_close(&service);
    cr_assert_eq(atomic_load(&service.process.waiting), 0);
}

/* Takes every descriptor that is left. The kernel reads the limit when an accept is armed, so lowering it later would
 * not do. Returns how many. */
static size_t descriptors_take(int *taken) {
    size_t count = 0;
    while ((taken[count] = dup(STDERR_FILENO)) >= 0) {
        count++;
    }
    return count;
}

static void *resume_from_elsewhere(void *worker) {
    worker_post_resume(worker);
    worker_post_resume(worker);
    return NULL;
}

Test(listener, takes_who_waits_when_another_thread_tells_of_room, .timeout = 10) {
    struct service service;
    pthread_t thread;
    service_init(&service);
    service.process_max = 1;
    log_set_level(LOG_ERROR);
    service_open(&service);
    service_pair(&service);
    int waiting = service_client(&service);
    socket_write(waiting, 0, 10);
    expect_nobody(&service);
    service.process.max = 2;
    cr_assert_eq(pthread_create(&thread, NULL, resume_from_elsewhere, &service.worker), 0);
    pthread_join(thread, NULL);
    uint64_t turns = ring_counters(service.worker.engine.ring)->turns;
    service_expect(&service, service_server(&service, 0), 0, 10);
    cr_assert_lt(ring_counters(service.worker.engine.ring)->turns - turns, 15, "it waited for its next look");
    service_close(&service);
}

Test(listener, without_a_descriptor_waits_does_not_spin_and_recovers, .timeout = 20) {
    struct service service;
    struct error error = {.text = ""};
    int taken[64];
    service_init(&service);
    cr_assert(log_open("/dev/null", &error), "%s", error.text);
    descriptors_limit(sizeof(taken) / sizeof(taken[0]) - 1);
    service_open(&service);
    int client = service_client(&service);
    socket_write(client, 0, 10);
    size_t taken_count = descriptors_take(taken);
    service_wait(&service, service_counters(&service)->accepts_exhausted > 0);
    uint64_t end_ms = deadline_after(450);
    while (deadline_left_ms(end_ms) > 0) {
        service_turn(&service);
    }
    cr_assert_leq(service_counters(&service)->accepts_exhausted, 10, "it looks again each 100 ms");
    cr_assert_eq(atomic_load(&service.process.active), 0);
    while (taken_count > 0) {
        close(taken[--taken_count]);
    }
    service_expect(&service, service_server(&service, 0), 0, 10);
    service_close(&service);
    descriptors_unlimit();
}

Test(listener, stopping_at_the_limit_closes_who_finds_no_place, .timeout = 10) {
    struct service service;
    service_init(&service);
    service.listener_config.connections_max = 1;
    log_set_level(LOG_ERROR);
    service_open(&service);
    service_pair(&service);
    int waiting[5];
    for (int index = 0; index < 5; index++) {
        waiting[index] = service_client(&service);
    }
    expect_nobody(&service);
    worker_stop(&service.worker);
    service_wait(&service, service.sockets_done == 1);
    for (int index = 0; index < 5; index++) {
        cr_assert_leq(service_expect_end(&service, waiting[index]), 0);
    }
    cr_assert_eq(atomic_load(&service.process.active), 1);
    service_close(&service);
}
