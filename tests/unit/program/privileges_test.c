#include "program/privileges.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <pthread.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Privileges are given up for good, so each test does it in a process of its own. There it looks with require(), whose
 * failures come back as text. Started by an ordinary user the tests prove what moonring tells such a user. */

enum { COMPLAINT_SIZE = 512 };

static int complaint_fd;

static void complain(int line, const char *what, const char *detail) {
    char complaint[COMPLAINT_SIZE];
    int size = snprintf(complaint, sizeof(complaint), "line %d: %s: %s", line, what, detail);
    _exit(write(complaint_fd, complaint, (size_t)size) > 0 ? 1 : 2);
}

#define require(condition, detail)                                                                                     \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            complain(__LINE__, #condition, detail);                                                                    \
        }                                                                                                              \
    } while (0)

static void run_alone(void (*body)(void)) {
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        complaint_fd = ends[1];
        body();
        _exit(0);
    }
    close(ends[1]);
    char complaint[COMPLAINT_SIZE + 1] = "";
    ssize_t size = read(ends[0], complaint, COMPLAINT_SIZE);
    int status = -1;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(size == 0 && status == 0, "status %d, %s", status, complaint);
}

static bool is_root(void) {
    return geteuid() == 0;
}

static void become_ordinary(void) {
    if (is_root()) {
        const struct passwd *nobody = getpwnam("nobody");
        require(nobody != NULL, "this system has no user nobody");
        require(setgroups(0, NULL) == 0, strerror(errno));
        require(setresgid(nobody->pw_gid, nobody->pw_gid, nobody->pw_gid) == 0, strerror(errno));
        require(setresuid(nobody->pw_uid, nobody->pw_uid, nobody->pw_uid) == 0, strerror(errno));
    }
}

static uint64_t permitted_capabilities(void) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct words[2];
    require(syscall(SYS_capget, &header, words) == 0, strerror(errno));
    require(words[0].effective == words[0].permitted && words[1].effective == words[1].permitted, "half of a right");
    return words[0].permitted | (uint64_t)words[1].permitted << 32;
}

/* 0 or the errno of binding the first free port below 1024. */
static int bind_low_port(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int failure = EADDRINUSE;
    for (uint16_t port = 1; port < 1024 && failure == EADDRINUSE; port++) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        failure = bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 ? 0 : errno;
    }
    close(fd);
    return failure;
}

/* Becomes daemon where that is possible; false where this is an ordinary user, who was told so. */
static bool drop_to_daemon(void) {
    struct error error = {.text = ""};
    bool was_root = is_root();
    bool dropped = privileges_drop("daemon", &error);
    require(dropped == was_root, error.text);
    require(was_root || strstr(error.text, "only root can become \"daemon\"") != NULL, error.text);
    return dropped;
}

static const uint64_t BIND_SERVICE = UINT64_C(1) << CAP_NET_BIND_SERVICE;

/* --- leaving root ------------------------------------------------------------------------------------------------ */

static void become_daemon(void) {
    const gid_t root_group = 0;
    require(!is_root() || setgroups(1, &root_group) == 0, strerror(errno));
    if (!drop_to_daemon()) {
        return;
    }
    const struct passwd *daemon = getpwnam("daemon");
    uid_t uids[3];
    gid_t gids[3];
    gid_t groups[64];
    require(getresuid(&uids[0], &uids[1], &uids[2]) == 0, strerror(errno));
    require(getresgid(&gids[0], &gids[1], &gids[2]) == 0, strerror(errno));
    for (int i = 0; i < 3; i++) {
        require(uids[i] == daemon->pw_uid, "real, effective or saved user");
        require(gids[i] == daemon->pw_gid, "real, effective or saved group");
    }
    int groups_count = getgroups(64, groups);
    for (int i = 0; i < groups_count; i++) {
        require(groups[i] != 0, "still in root's group");
    }
}

Test(privileges, drop_changes_every_user_and_group_of_the_process, .timeout = 10) {
    run_alone(become_daemon);
}

static void become_daemon_for_good(void) {
    if (!drop_to_daemon()) {
        return;
    }
    require(setuid(0) < 0, "root again");
    require(setgid(0) < 0, "root's group again");
    require(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1, "exec may bring rights");
    require(prctl(PR_GET_KEEPCAPS, 0, 0, 0, 0) == 0, "capabilities outlive the next change of user");
}

Test(privileges, drop_leaves_no_way_back, .timeout = 10) {
    run_alone(become_daemon_for_good);
}

static void keep_low_ports(void) {
    uint64_t before = permitted_capabilities();
    if (!drop_to_daemon()) {
        return;
    }
    require(permitted_capabilities() == (before & BIND_SERVICE), "other capabilities than that of binding");
    require((before & BIND_SERVICE) == 0 || bind_low_port() == 0, "no low port can be bound");
}

Test(privileges, drop_keeps_the_right_to_bind_low_ports_and_no_other, .timeout = 10) {
    run_alone(keep_low_ports);
}

static void do_without_the_right(void) {
    if (!is_root()) {
        drop_to_daemon();
        return;
    }
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct words[2];
    require(syscall(SYS_capget, &header, words) == 0, strerror(errno));
    words[0].permitted &= ~(uint32_t)BIND_SERVICE;
    words[0].effective = words[0].permitted;
    require(syscall(SYS_capset, &header, words) == 0, strerror(errno));
    require(drop_to_daemon(), "a container's root");
    require(permitted_capabilities() == 0, "a capability from nowhere");
}

Test(privileges, drop_works_where_root_itself_lacks_the_right_to_bind, .timeout = 10) {
    run_alone(do_without_the_right);
}

static void become_daemon_in_a_group(void) {
    struct error error = {.text = ""};
    if (is_root()) {
        require(privileges_drop("daemon:users", &error), error.text);
        require(getegid() == getgrnam("users")->gr_gid, "another group");
        return;
    }
    require(!privileges_drop("daemon:users", &error), "an ordinary user changed its group");
}

Test(privileges, drop_takes_the_group_that_stands_behind_the_colon, .timeout = 10) {
    run_alone(become_daemon_in_a_group);
}

/* --- workers ----------------------------------------------------------------------------------------------------- */

static void *live_as_worker(void *unused) {
    struct error error = {.text = ""};
    require(privileges_drop_thread(&error), error.text);
    require(permitted_capabilities() == 0, "a worker has capabilities");
    return unused;
}

static void start_worker(void) {
    uint64_t before = permitted_capabilities();
    uint64_t kept = drop_to_daemon() ? before & BIND_SERVICE : before;
    pthread_t worker;
    require(pthread_create(&worker, NULL, live_as_worker, NULL) == 0, "pthread_create");
    require(pthread_join(worker, NULL) == 0, "pthread_join");
    require(permitted_capabilities() == kept, "the worker took them from the control thread");
}

Test(privileges, drop_thread_takes_them_from_the_worker_and_not_from_the_control_thread, .timeout = 10) {
    run_alone(start_worker);
}

/* --- ordinary users ---------------------------------------------------------------------------------------------- */

static void become_somebody_else(void) {
    struct error error = {.text = ""};
    become_ordinary();
    require(!privileges_drop("root", &error), "became root");
    require(strstr(error.text, "only root can become \"root\"") != NULL, error.text);
    require(strstr(error.text, "or leave process.user out") != NULL, error.text);
}

Test(privileges, drop_tells_an_ordinary_user_that_only_root_can, .timeout = 10) {
    run_alone(become_somebody_else);
}

static void become_who_we_are(void) {
    struct error error = {.text = ""};
    become_ordinary();
    const struct passwd *user = getpwuid(geteuid());
    require(user != NULL && user->pw_gid == getegid(), "the user has another group than passwd says");
    require(privileges_drop(user->pw_name, &error), error.text);
}

Test(privileges, drop_is_content_when_a_service_manager_changed_the_user_before, .timeout = 10) {
    run_alone(become_who_we_are);
}

/* --- bad names --------------------------------------------------------------------------------------------------- */

static void expect_error(const char *user, const char *wanted) {
    struct error error = {.text = ""};
    cr_assert_not(privileges_drop(user, &error), "became \"%s\"", user);
    cr_assert_not_null(strstr(error.text, wanted), "\"%s\": %s", user, error.text);
}

Test(privileges, drop_tells_how_to_make_a_missing_user_or_group, .timeout = 10) {
    expect_error("no-such-moonring", "there is no user \"no-such-moonring\"; make it: adduser --system --group");
    expect_error("nobody:no-such-group", "there is no group \"no-such-group\"; make it: addgroup --system");
}

Test(privileges, drop_refuses_what_is_no_user_and_group, .timeout = 10) {
    char long_name[256];
    memset(long_name, 'x', sizeof(long_name));
    long_name[sizeof(long_name) - 1] = 0;
    expect_error("", "\"\" is neither USER nor USER:GROUP");
    expect_error(":daemon", "neither USER nor USER:GROUP");
    expect_error("nobody:", "neither USER nor USER:GROUP");
    expect_error(long_name, "neither USER nor USER:GROUP");
}

/* --- staying root ------------------------------------------------------------------------------------------------ */

static void ask_for_a_warning(void) {
    const char *warning = privileges_warning();
    require((warning != NULL) == is_root(), "a warning for root and nobody else");
    require(warning == NULL || strstr(warning, "process.user") != NULL, warning);
    become_ordinary();
    require(privileges_warning() == NULL, "an ordinary user is warned");
}

Test(privileges, warning_is_for_root_only, .timeout = 10) {
    run_alone(ask_for_a_warning);
}
