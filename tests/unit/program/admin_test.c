#include "program/admin.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { NOW_MS = 1000 };

static void admin_listen(struct admin *admin) {
    char name[64];
    struct error error;
    snprintf(name, sizeof name, "unix:/tmp/moonring-admin-test-%d", (int)getpid());
    struct config_bind bind = {.text = name, .mode = CONFIG_MODE_DEFAULT};
    cr_assert(address_parse(&bind.address, name, false, &error), "%s", error.text);
    const struct config_admin config = {.binds = &bind, .binds_count = 1};
    admin_init(admin, &(struct admin_service){.obey = NULL});
    cr_assert(admin_prepare(admin, &config, &error), "%s", error.text);
    admin_commit(admin, &config);
}

static int admin_connect(const struct admin *admin) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(fd, &admin->socket.address.any, admin->socket.address.length), 0);
    return fd;
}

/* Returns the limit before. */
static rlim_t descriptors_forbid(void) {
    struct rlimit limit;
    int next = dup(STDERR_FILENO);
    close(next);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = (rlim_t)next;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    return before;
}

static void descriptors_allow(rlim_t count) {
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = count;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

Test(admin, pauses_accepting_while_there_is_no_descriptor, .timeout = 10) {
    struct admin admin;
    struct pollfd polls[ADMIN_POLLS_MAX];
    uint64_t until_ms = UINT64_MAX;
    admin_listen(&admin);
    admin_connect(&admin);
    rlim_t limit = descriptors_forbid();
    cr_assert_eq(admin_poll(&admin, polls, &until_ms), 1);
    cr_assert_eq(until_ms, UINT64_MAX);
    polls[0].revents = POLLIN;
    admin_turn(&admin, polls, 1, NOW_MS);
    cr_assert_eq(admin_poll(&admin, polls, &until_ms), 0, "the socket would wake it again at once");
    cr_assert(until_ms > NOW_MS && until_ms < NOW_MS + 1000);
    descriptors_allow(limit);
    admin_turn(&admin, polls, 0, until_ms);
    cr_assert_eq(admin_poll(&admin, polls, &until_ms), 1);
    polls[0].revents = POLLIN;
    admin_turn(&admin, polls, 1, NOW_MS);
    cr_assert_geq(admin.clients[0].fd, 0);
    admin_finish(&admin);
}

static void admin_take(struct admin *admin, uint64_t now_ms) {
    struct pollfd polls[ADMIN_POLLS_MAX];
    uint64_t until_ms = UINT64_MAX;
    size_t count = admin_poll(admin, polls, &until_ms);
    cr_assert_geq(poll(polls, count, 0), 0);
    admin_turn(admin, polls, count, now_ms);
}

Test(admin, waits_for_a_line_as_long_as_for_nothing, .timeout = 10) {
    enum { SENT = 200, EVERY_MS = 100 };
    struct admin admin;
    admin_listen(&admin);
    int client = admin_connect(&admin);
    admin_take(&admin, NOW_MS);
    cr_assert_geq(admin.clients[0].fd, 0);
    uint64_t until_ms = admin.clients[0].until_ms;
    cr_assert(until_ms > NOW_MS && until_ms < NOW_MS + SENT * EVERY_MS);
    for (uint64_t now_ms = NOW_MS; now_ms < until_ms; now_ms += EVERY_MS) {
        cr_assert_eq(send(client, "x", 1, MSG_NOSIGNAL), 1);
        admin_take(&admin, now_ms);
        cr_assert_geq(admin.clients[0].fd, 0);
    }
    cr_assert_eq(send(client, "x", 1, MSG_NOSIGNAL), 1);
    admin_take(&admin, until_ms);
    cr_assert_lt(admin.clients[0].fd, 0);
    admin_finish(&admin);
}
