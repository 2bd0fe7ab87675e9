/* Who the process is: root is given up before anything is bound, and workers keep no right at all. Run as root. */
#include "tests/support/deadline.h"
#include "tests/support/moonring.h"
#include "tests/support/network.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <linux/capability.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The line of a thread's status that begins with `key`, as a number of the given base. */
static unsigned long thread_status(const struct process *process, const char *thread, const char *key, int base) {
    char path[64], line[256];
    snprintf(path, sizeof(path), "/proc/%d/task/%.16s/status", process->pid, thread);
    FILE *file = fopen(path, "re");
    cr_assert(file != NULL);
    unsigned long value = 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, key, strlen(key)) == 0) {
            value = strtoul(line + strlen(key), NULL, base);
        }
    }
    fclose(file);
    return value;
}

/* A thread has its creator's capabilities until it has given them up, which is the first thing that it does. */
static void wait_for_capabilities_within(const struct process *process, const char *thread, unsigned long allowed) {
    unsigned long has = thread_status(process, thread, "CapPrm:", 16);
    for (uint64_t until_ms = deadline_after(DEADLINE_MS); (has & ~allowed) != 0; deadline_pause(5)) {
        cr_assert(deadline_left_ms(until_ms) > 0, "thread %s keeps the capabilities %lx", thread, has);
        has = thread_status(process, thread, "CapPrm:", 16);
    }
}

/* Every thread must be `uid`, and none but the first may have a capability: that one may bind low ports. */
static void check_threads(const struct process *process, uid_t uid) {
    char path[64], first[16];
    snprintf(path, sizeof(path), "/proc/%d/task", process->pid);
    snprintf(first, sizeof(first), "%d", process->pid);
    DIR *threads = opendir(path);
    for (struct dirent *thread = readdir(threads); thread != NULL; thread = readdir(threads)) {
        const char *name = thread->d_name;
        if (name[0] == '.') {
            continue;
        }
        unsigned long allowed = strcmp(name, first) == 0 ? 1UL << CAP_NET_BIND_SERVICE : 0;
        cr_expect(thread_status(process, name, "Uid:", 10) == uid);
        wait_for_capabilities_within(process, name, allowed);
    }
    closedir(threads);
}

Test(user, is_changed_before_anything_is_bound_or_opened, .timeout = 30) {
    const struct passwd *nobody = getpwnam("nobody");
    uid_t uid = nobody->pw_uid;
    struct moonring moonring;
    struct temporary folder;
    struct peer_listener listener;
    struct pair pair;
    cr_assert(geteuid() == 0, "this test has to be run as root");
    temporary_create(&folder);
    cr_assert(chown(folder.path, uid, nobody->pw_gid) == 0);
    peer_listen(&listener, "127.0.0.1:0");
    moonring_start(&moonring,
                   "listeners: {web: {bind: 'unix:%s/web.sock', upstream: '%s'}}\n"
                   "process: {user: nobody, workers: 2}\n"
                   "metrics: {bind: '127.0.0.1:0'}\n"
                   "log: {access: {target: 'file:%s/access.log'}}\n",
                   folder.path, listener.address, folder.path);
    check_threads(&moonring.process, uid);
    pair_open(&pair, moonring.address, &listener);
    pair_exchange(&pair, 100000);
    const char *names[] = {"web.sock", "access.log"};
    for (size_t index = 0; index < 2; index++) {
        char path[TEMPORARY_PATH_MAX];
        struct stat status;
        cr_assert(stat(temporary_path(&folder, names[index], path), &status) == 0, "%s: %m", path);
        cr_assert(status.st_uid == uid, "%s belongs to %u", path, status.st_uid);
    }
    pair_close(&pair);
    moonring_stop(&moonring);
}

Test(user, keeps_the_right_to_low_ports, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener listener;
    struct pair pair;
    network_enter();
    peer_listen(&listener, "127.0.0.1:0");
    moonring_start(&moonring,
                   "listeners: {web: {bind: '127.0.0.1:83', upstream: '%s'}}\n"
                   "process: {user: nobody}\n"
                   "metrics: {bind: '127.0.0.1:84'}\n",
                   listener.address);
    pair_open(&pair, moonring.address, &listener);
    pair_exchange(&pair, 1000);
    peer_wait_for_server("127.0.0.1:84");
}

/* Both need what root had at the start: the right to a low port, and, since the folder is the user's, only the user's.
 */
Test(user, reloads_with_a_low_port_more_and_reopens_logs, .timeout = 30) {
    static const char yaml[] = "listeners: {web: {bind: [%s], upstream: '%s'}}\n"
                               "process: {user: nobody, workers: 2}\n"
                               "log: {access: {target: 'file:%s/access.log'}}\n";
    struct moonring moonring;
    struct temporary folder;
    struct peer_listener listener;
    struct pair pair;
    struct stat status;
    char log[TEMPORARY_PATH_MAX], moved[TEMPORARY_PATH_MAX];
    network_enter();
    temporary_create(&folder);
    cr_assert(chown(folder.path, getpwnam("nobody")->pw_uid, getpwnam("nobody")->pw_gid) == 0);
    temporary_path(&folder, "access.log", log);
    temporary_path(&folder, "access.log.1", moved);
    peer_listen(&listener, "127.0.0.1:0");
    moonring_start(&moonring, yaml, "'127.0.0.1:80'", listener.address, folder.path);
    cr_assert(rename(log, moved) == 0);
    moonring_reload(&moonring, yaml, "'127.0.0.1:80', '127.0.0.1:81'", listener.address, folder.path);
    pair_open(&pair, "127.0.0.1:81", &listener);
    pair_exchange(&pair, 1000);
    pair_close(&pair);
    process_signal(&moonring.process, SIGUSR1);
    for (uint64_t until_ms = deadline_after(DEADLINE_MS); stat(log, &status) != 0; deadline_pause(5)) {
        cr_assert(deadline_left_ms(until_ms) > 0, "%s was not opened again", log);
    }
    cr_assert(status.st_uid == getpwnam("nobody")->pw_uid);
    moonring_stop(&moonring);
}

/* Another user than in the tests beside it: the rings of all processes of a user count together, and there are 8 MiB.
 */
Test(user, has_locked_memory_for_twelve_workers, .timeout = 30) {
    struct moonring moonring;
    moonring_start(&moonring, "listeners: {web: {bind: '127.0.0.1:0', upstream: '127.0.0.1:9'}}\n"
                              "process: {user: daemon, workers: 12}\n");
    moonring_stop(&moonring);
}

Test(user, that_does_not_exist_is_refused, .timeout = 30) {
    struct moonring moonring;
    moonring_launch(&moonring, NULL,
                    "listeners: {web: {bind: '127.0.0.1:0', upstream: '127.0.0.1:9'}}\n"
                    "process: {user: no-such-user}\n");
    moonring_expect_refusal(&moonring, 1, "no-such-user");
}

static void become_nobody(void) {
    if (setgid(65534) != 0 || setuid(65534) != 0) {
        _exit(1);
    }
}

/* As systemd does with User= and AmbientCapabilities=CAP_NET_BIND_SERVICE. */
static void become_nobody_with_low_ports(void) {
    const uint32_t bind = UINT32_C(1) << CAP_NET_BIND_SERVICE;
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct words[2] = {{.permitted = bind, .effective = bind, .inheritable = bind}};
    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0 || setgid(65534) != 0 || setuid(65534) != 0 ||
        syscall(SYS_capset, &header, words) != 0 ||
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0) != 0) {
        _exit(1);
    }
}

Test(user, of_systemd_has_the_right_to_low_ports_on_one_thread_only, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener listener;
    struct pair pair;
    network_enter();
    peer_listen(&listener, "127.0.0.1:0");
    moonring_start_prepared(&moonring, become_nobody_with_low_ports,
                            "listeners: {web: {bind: '127.0.0.1:85', upstream: '%s'}}\n"
                            "process: {workers: 2}\n"
                            "metrics: {bind: '127.0.0.1:86'}\n",
                            listener.address);
    check_threads(&moonring.process, 65534);
    moonring_reload(&moonring,
                    "listeners: {web: {bind: ['127.0.0.1:85', '127.0.0.1:87'], upstream: '%s'}}\n"
                    "process: {workers: 3}\n"
                    "metrics: {bind: '127.0.0.1:88'}\n",
                    listener.address);
    check_threads(&moonring.process, 65534);
    pair_open(&pair, "127.0.0.1:87", &listener);
    pair_exchange(&pair, 1000);
    pair_close(&pair);
    moonring_stop(&moonring);
}

Test(user, may_be_an_ordinary_one_from_the_start, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener listener;
    struct pair pair;
    peer_listen(&listener, "127.0.0.1:0");
    moonring_start_prepared(&moonring, become_nobody, "listeners: {web: {bind: '127.0.0.1:0', upstream: '%s'}}\n",
                            listener.address);
    check_threads(&moonring.process, 65534);
    pair_open(&pair, moonring.address, &listener);
    pair_exchange(&pair, 1 << 20);
}
