#include "program/doctor.h"

#include "program/version.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    DESCRIPTORS_RESERVED = 64, /* for listeners, logs, rings; the rest is for sessions, two each */
    SESSIONS_WISHED = 4000,    /* below it we propose a higher descriptor limit */
    BACKLOG = 4096,            /* the default of tcp.backlog */
    PORTS_WISHED = 20000,
    WORKER_LOCKED_BYTES = 256 * 1024, /* its ring: 8192 completions of 16 bytes, 1024 submissions of 64, and some */
    TIME_WAIT_S = 60,                 /* how long the kernel keeps the port of a connection that we closed first */
    ROUND_TRIP_MS = 50,
    SOCKET_BUFFER_WISHED = 2 * 1024 * 1024,
    TEXT_SIZE = 256,
};

enum finding { FINDING_OK, FINDING_ADVICE, FINDING_PROBLEM };

struct report {
    const struct doctor_machine *machine;
    FILE *out;
    unsigned findings[FINDING_PROBLEM + 1]; /* how many of each */
};

/* --- writing ---------------------------------------------------------------------------------------------------- */

/* `[ok]      name: value - what it means`. The text starts with the value. */
__attribute__((format(printf, 4, 5))) static void report_finding(struct report *report, enum finding finding,
                                                                 const char *name, const char *format, ...) {
    static const char *const MARKS[] = {"[ok]", "[advice]", "[problem]"};
    report->findings[finding]++;
    fprintf(report->out, "%-9s %s: ", MARKS[finding], name);
    va_list values;
    va_start(values, format);
    vfprintf(report->out, format, values);
    va_end(values);
    fputc('\n', report->out);
}

/* What to do about the finding above. */
__attribute__((format(printf, 2, 3))) static void report_advice(struct report *report, const char *format, ...) {
    fputs("          -> ", report->out);
    va_list values;
    va_start(values, format);
    vfprintf(report->out, format, values);
    va_end(values);
    fputc('\n', report->out);
}

/* --- reading ---------------------------------------------------------------------------------------------------- */

/* The start of a file below /proc or /sys, without the newline at its end. False when there is none to read. */
static bool file_read(const struct report *report, const char *path, char *text, size_t text_size) {
    char full_path[512];
    snprintf(full_path, sizeof(full_path), "%s%s", report->machine->root, path);
    int fd = open(full_path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t size = read(fd, text, text_size - 1);
    close(fd);
    if (size <= 0) {
        return false;
    }
    text[size] = 0;
    text[strcspn(text, "\n")] = 0;
    return true;
}

/* The first number of a file. */
static bool number_read(const struct report *report, const char *path, int64_t *number) {
    char text[TEXT_SIZE];
    char *end = text;
    if (!file_read(report, path, text, sizeof(text))) {
        return false;
    }
    *number = strtoll(text, &end, 10);
    return end != text;
}

/* The last number of a line like tcp_rmem's "4096 131072 6291456". */
static bool last_number_read(const struct report *report, const char *path, int64_t *number) {
    char text[TEXT_SIZE];
    if (!file_read(report, path, text, sizeof(text))) {
        return false;
    }
    return sscanf(text, "%*d %*d %" SCNd64, number) == 1;
}

/* As process.max_connections: auto counts them, after moonring has raised its soft limit to the hard one. */
static uint64_t sessions_allowed(const struct doctor_machine *machine) {
    uint64_t descriptors = machine->descriptors.rlim_max;
    uint64_t reserved = descriptors / 4 < DESCRIPTORS_RESERVED ? descriptors / 4 : DESCRIPTORS_RESERVED;
    return (descriptors - reserved) / 2;
}

/* --- kernel and io_uring ---------------------------------------------------------------------------------------- */

static void report_kernel(struct report *report) {
    char release[TEXT_SIZE];
    int major = 0;
    int minor = 0;
    if (!file_read(report, "/proc/sys/kernel/osrelease", release, sizeof(release)) ||
        sscanf(release, "%d.%d", &major, &minor) != 2) {
        report_finding(report, FINDING_ADVICE, "kernel", "unknown - /proc does not tell its release");
        return;
    }
    bool is_new_enough = major > KERNEL_MAJOR_MIN || (major == KERNEL_MAJOR_MIN && minor >= KERNEL_MINOR_MIN);
    if (is_new_enough) {
        report_finding(report, FINDING_OK, "kernel", "%s - %d.%d or newer is needed", release, KERNEL_MAJOR_MIN,
                       KERNEL_MINOR_MIN);
        return;
    }
    report_finding(report, FINDING_PROBLEM, "kernel", "%s - too old: %d.%d or newer is needed", release,
                   KERNEL_MAJOR_MIN, KERNEL_MINOR_MIN);
    if (strstr(release, "gvisor") != NULL || strncmp(release, "4.4.0", 5) == 0) {
        report_advice(report, "this looks like gVisor, which has no io_uring to offer: choose another runtime "
                              "(docker run --runtime=runc ...)");
        return;
    }
    report_advice(report, "install a newer kernel; Debian 12 and Ubuntu 24.04 come with one");
}

static bool has_seccomp_filter(const struct report *report) {
    char full_path[512];
    snprintf(full_path, sizeof(full_path), "%s/proc/self/status", report->machine->root);
    FILE *status = fopen(full_path, "re");
    if (status == NULL) {
        return false;
    }
    char line[TEXT_SIZE];
    int mode = 0;
    while (fgets(line, sizeof(line), status) != NULL && sscanf(line, "Seccomp: %d", &mode) != 1) {
    }
    fclose(status);
    return mode == 2; /* SECCOMP_MODE_FILTER */
}

static void report_ring(struct report *report) {
    if (report->machine->has_ring) {
        report_finding(report, FINDING_OK, "io_uring", "works - a ring could be made");
        return;
    }
    report_finding(report, FINDING_PROBLEM, "io_uring", "refused - %s", report->machine->ring_error.text);
    if (has_seccomp_filter(report)) {
        report_advice(report, "a seccomp filter is active here: docker run --security-opt "
                              "seccomp=/usr/local/share/moonring/seccomp.json ...");
    }
}

/* Missing before Linux 6.6, where everybody may make rings. */
static void report_ring_policy(struct report *report) {
    static const char NAME[] = "kernel.io_uring_disabled";
    int64_t disabled = 0;
    int64_t group = -1;
    if (!number_read(report, "/proc/sys/kernel/io_uring_disabled", &disabled)) {
        return;
    }
    number_read(report, "/proc/sys/kernel/io_uring_group", &group);
    if (disabled == 0) {
        report_finding(report, FINDING_OK, NAME, "0 - every user may make rings");
        return;
    }
    enum finding finding = report->machine->has_ring ? FINDING_ADVICE : FINDING_PROBLEM;
    if (disabled == 1) {
        report_finding(report, finding, NAME,
                       "1 - only root and members of kernel.io_uring_group (now %" PRId64
                       ") may make rings, and moonring makes them as process.user",
                       group);
        report_advice(report, "sysctl -w kernel.io_uring_group=$(id -g moonring)");
        return;
    }
    report_finding(report, finding, NAME, "%" PRId64 " - nobody may make rings", disabled);
    report_advice(report, "sysctl -w kernel.io_uring_disabled=0");
}

struct feature {
    const char *name;  /* also in MOONRING_DISABLE */
    const char *needs; /* another one, or its own name */
    bool is_there;
    const char *since; /* kernel */
    const char *use;
    const char *fallback;
};

static void report_feature(struct report *report, const struct feature *feature) {
    char name[64];
    snprintf(name, sizeof(name), "io_uring %s", feature->name);
    if (feature->is_there) {
        report_finding(report, FINDING_OK, name, "yes - %s", feature->use);
        return;
    }
    const char *disabled = report->machine->disabled;
    bool is_disabled =
        disabled != NULL && (strstr(disabled, feature->name) != NULL || strstr(disabled, feature->needs) != NULL);
    report_finding(report, FINDING_ADVICE, name, "%s - %s; now %s", is_disabled ? "off by MOONRING_DISABLE" : "no",
                   feature->use, feature->fallback);
    if (is_disabled) {
        report_advice(report, "unset MOONRING_DISABLE");
        return;
    }
    report_advice(report, "Linux %s has it; moonring works without", feature->since);
}

static void report_features(struct report *report) {
    if (!report->machine->has_ring) {
        return;
    }
    const struct ring_features *found = &report->machine->features;
    const struct feature features[] = {
        {"recv_bundle", "recv_bundle", found->recv_bundle, "6.10", "one receive fills several buffers",
         "each receive fills one"},
        {"recv_limit", "recv_bundle", found->recv_limit, "6.17",
         "a receive stays armed until a queue's room is used up", "each buffer costs a request of its own"},
        {"send_vectored", "send_vectored", found->send_vectored, "6.17",
         "queued chunks are sent without a message header", "they are sent by SENDMSG"},
        {"send_zero_copy", "send_zero_copy", found->send_zero_copy, "6.0",
         "for io.zero_copy_send: real network cards send without a copy", "the kernel copies"},
    };
    for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
        report_feature(report, &features[i]);
    }
}

/* --- processors and limits -------------------------------------------------------------------------------------- */

static void report_cpus(struct report *report) {
    const struct doctor_machine *machine = report->machine;
    report_finding(report, FINDING_OK, "cpus", "%u of %u may be used - process.workers: auto starts %u",
                   machine->cpus_allowed, machine->cpus_online, machine->cpus_allowed);
    char text[TEXT_SIZE];
    uint64_t quota_us = 0;
    uint64_t period_us = 0;
    if (!file_read(report, "/sys/fs/cgroup/cpu.max", text, sizeof(text)) ||
        sscanf(text, "%" SCNu64 " %" SCNu64, &quota_us, &period_us) != 2 || period_us == 0) {
        return; /* "max": no quota */
    }
    uint64_t cpus = (quota_us + period_us - 1) / period_us;
    if (cpus < machine->cpus_allowed) {
        report_finding(report, FINDING_ADVICE, "cpu.max", "%s - a quota worth %" PRIu64 " CPUs: more workers only wait",
                       text, cpus);
        report_advice(report, "in the configuration: process: {workers: %" PRIu64 "}", cpus);
    }
}

static void report_descriptors(struct report *report) {
    const struct rlimit *limit = &report->machine->descriptors;
    uint64_t sessions = sessions_allowed(report->machine);
    bool is_low = sessions < SESSIONS_WISHED;
    report_finding(report, is_low ? FINDING_ADVICE : FINDING_OK, "descriptors",
                   "%" PRIu64 ", raised at start to the hard limit of %" PRIu64 " - enough for %" PRIu64 " sessions",
                   (uint64_t)limit->rlim_cur, (uint64_t)limit->rlim_max, sessions);
    if (is_low) {
        report_advice(report, "ulimit -n 100000 (as root); in a systemd unit: LimitNOFILE=100000");
    }
}

/* Rings count for users without CAP_IPC_LOCK; a moonring that root starts for another user raises the limit itself. */
static void report_locked_memory(struct report *report) {
    const struct doctor_machine *machine = report->machine;
    rlim_t limit = machine->locked.rlim_cur;
    if (limit == RLIM_INFINITY) {
        report_finding(report, FINDING_OK, "locked memory", "unlimited");
        return;
    }
    rlim_t workers = limit / WORKER_LOCKED_BYTES;
    bool is_low = workers < machine->cpus_allowed;
    report_finding(report, is_low ? FINDING_ADVICE : FINDING_OK, "locked memory",
                   "%" PRIu64 " KiB - enough for the rings of %" PRIu64 " workers of a user who is not root",
                   (uint64_t)limit / 1024, (uint64_t)workers);
    if (is_low) {
        report_advice(report, "ulimit -l unlimited (as root); in a systemd unit: LimitMEMLOCK=infinity");
    }
}

static void report_pipes(struct report *report) {
    int64_t pages = 0;
    if (!number_read(report, "/proc/sys/fs/pipe-user-pages-soft", &pages)) {
        return;
    }
    if (pages == 0) {
        report_finding(report, FINDING_OK, "fs.pipe-user-pages-soft", "0 - no limit to the pipes that io.splice uses");
        return;
    }
    int64_t mebibytes = pages * sysconf(_SC_PAGESIZE) / (1024 * 1024);
    report_finding(report, FINDING_OK, "fs.pipe-user-pages-soft",
                   "%" PRId64 " - io.splice may use %" PRId64
                   " MiB of pipes per user; beyond that pipes get small and bulk transfers slower",
                   pages, mebibytes);
}

/* --- network ---------------------------------------------------------------------------------------------------- */

static void report_accept_queue(struct report *report) {
    int64_t longest = 0;
    if (!number_read(report, "/proc/sys/net/core/somaxconn", &longest)) {
        return;
    }
    report_finding(report, longest < BACKLOG ? FINDING_ADVICE : FINDING_OK, "net.core.somaxconn",
                   "%" PRId64 " - the most clients that wait to be accepted; tcp.backlog asks for %d", longest,
                   BACKLOG);
    if (longest < BACKLOG) {
        report_advice(report, "sysctl -w net.core.somaxconn=%d", BACKLOG);
    }
}

/* With SYN cookies the kernel ignores the limit: a full queue then answers by cookie. */
static void report_syn_queue(struct report *report) {
    int64_t longest = 0;
    int64_t cookies = 0;
    if (!number_read(report, "/proc/sys/net/ipv4/tcp_max_syn_backlog", &longest)) {
        return;
    }
    number_read(report, "/proc/sys/net/ipv4/tcp_syncookies", &cookies);
    bool is_short = cookies == 0 && longest < BACKLOG;
    report_finding(report, is_short ? FINDING_ADVICE : FINDING_OK, "net.ipv4.tcp_max_syn_backlog",
                   "%" PRId64 " - handshakes at once%s", longest,
                   cookies != 0 ? "; tcp_syncookies is on and answers beyond it" : "; tcp_syncookies is off");
    if (is_short) {
        report_advice(report, "sysctl -w net.ipv4.tcp_max_syn_backlog=%d net.ipv4.tcp_syncookies=1", BACKLOG);
    }
}

static void report_ports(struct report *report) {
    char range[TEXT_SIZE];
    int first = 0;
    int last = 0;
    int64_t reuse = 0;
    if (!file_read(report, "/proc/sys/net/ipv4/ip_local_port_range", range, sizeof(range)) ||
        sscanf(range, "%d %d", &first, &last) != 2) {
        return;
    }
    int ports = last - first + 1;
    report_finding(report, ports < PORTS_WISHED ? FINDING_ADVICE : FINDING_OK, "net.ipv4.ip_local_port_range",
                   "%d %d - at most %d connections to one server at a time", first, last, ports);
    if (ports < PORTS_WISHED) {
        report_advice(report, "sysctl -w net.ipv4.ip_local_port_range=\"10240 65535\"");
    }
    if (!number_read(report, "/proc/sys/net/ipv4/tcp_tw_reuse", &reuse)) {
        return;
    }
    if (reuse == 1) {
        report_finding(report, FINDING_OK, "net.ipv4.tcp_tw_reuse", "1 - ports of closed connections are used again");
        return;
    }
    report_finding(report, FINDING_ADVICE, "net.ipv4.tcp_tw_reuse",
                   "%" PRId64 " - the port of a connection that moonring closed first rests for %d s: more than %d "
                   "new ones a second to one server find none",
                   reuse, TIME_WAIT_S, ports / TIME_WAIT_S);
    report_advice(report, "sysctl -w net.ipv4.tcp_tw_reuse=1");
}

static void report_congestion(struct report *report) {
    char algorithm[TEXT_SIZE];
    char queue[TEXT_SIZE];
    if (!file_read(report, "/proc/sys/net/ipv4/tcp_congestion_control", algorithm, sizeof(algorithm))) {
        return;
    }
    report_finding(report, FINDING_OK, "net.ipv4.tcp_congestion_control", "%s", algorithm);
    if (!file_read(report, "/proc/sys/net/core/default_qdisc", queue, sizeof(queue))) {
        return;
    }
    if (strcmp(algorithm, "bbr") == 0 && strcmp(queue, "fq") != 0) {
        report_finding(report, FINDING_ADVICE, "net.core.default_qdisc",
                       "%s - bbr paces each connection with a timer of its own; fq does it cheaper", queue);
        report_advice(report, "sysctl -w net.core.default_qdisc=fq (for interfaces that come up later)");
        return;
    }
    report_finding(report, FINDING_OK, "net.core.default_qdisc", "%s", queue);
}

static void report_socket_buffer(struct report *report, const char *name, const char *path) {
    int64_t largest = 0;
    if (!last_number_read(report, path, &largest)) {
        return;
    }
    bool is_small = largest < SOCKET_BUFFER_WISHED;
    report_finding(report, is_small ? FINDING_ADVICE : FINDING_OK, name,
                   "at most %" PRId64 " KiB - one connection over a round trip of %d ms moves about %" PRId64
                   " MB/s at the most",
                   largest / 1024, ROUND_TRIP_MS, largest / ROUND_TRIP_MS / 1000);
    if (is_small) {
        report_advice(report, "sysctl -w %s=\"4096 131072 6291456\"", name);
    }
}

static void report_conntrack(struct report *report) {
    int64_t entries = 0;
    if (!number_read(report, "/proc/sys/net/netfilter/nf_conntrack_max", &entries)) {
        return;
    }
    uint64_t sessions = sessions_allowed(report->machine);
    bool is_small = entries / 2 < (int64_t)sessions;
    report_finding(report, is_small ? FINDING_ADVICE : FINDING_OK, "net.netfilter.nf_conntrack_max",
                   "%" PRId64 " - where the firewall tracks connections a session takes two entries: %" PRId64
                   " sessions",
                   entries, entries / 2);
    if (is_small) {
        report_advice(report, "sysctl -w net.netfilter.nf_conntrack_max=%" PRIu64, sessions * 3);
    }
}

static void report_migration(struct report *report) {
    int64_t migrates = 0;
    if (!number_read(report, "/proc/sys/net/ipv4/tcp_migrate_req", &migrates)) {
        return;
    }
    report_finding(report, FINDING_OK, "net.ipv4.tcp_migrate_req",
                   "%" PRId64 " - clients that still wait when a "
                   "listening socket closes are %s",
                   migrates,
                   migrates != 0 ? "given to another one on that address"
                                 : "reset; 1 gives them to another one on "
                                   "that address");
}

static void report_ipv6(struct report *report) {
    char text[TEXT_SIZE];
    int64_t disabled = 0;
    bool has_addresses = file_read(report, "/proc/net/if_inet6", text, sizeof(text));
    number_read(report, "/proc/sys/net/ipv6/conf/all/disable_ipv6", &disabled);
    bool is_on = has_addresses && disabled == 0;
    report_finding(report, FINDING_OK, "IPv6", "%s",
                   is_on ? "on - `:8080` accepts IPv6 and IPv4" : "off - `:8080` accepts IPv4 only");
}

static void report_network(struct report *report) {
    report_accept_queue(report);
    report_syn_queue(report);
    report_ports(report);
    report_congestion(report);
    report_socket_buffer(report, "net.ipv4.tcp_rmem", "/proc/sys/net/ipv4/tcp_rmem");
    report_socket_buffer(report, "net.ipv4.tcp_wmem", "/proc/sys/net/ipv4/tcp_wmem");
    report_conntrack(report);
    report_migration(report);
    report_ipv6(report);
}

/* --- the whole -------------------------------------------------------------------------------------------------- */

bool doctor_report(const struct doctor_machine *machine, FILE *out) {
    struct report report = {.machine = machine, .out = out};
    report_kernel(&report);
    report_ring(&report);
    report_ring_policy(&report);
    report_features(&report);
    report_cpus(&report);
    report_descriptors(&report);
    report_locked_memory(&report);
    report_pipes(&report);
    report_network(&report);

    unsigned problems = report.findings[FINDING_PROBLEM];
    unsigned advice = report.findings[FINDING_ADVICE];
    fprintf(out, "\n%u problem%s, %u piece%s of advice: moonring %s on this machine\n", problems,
            problems == 1 ? "" : "s", advice, advice == 1 ? "" : "s", problems == 0 ? "runs" : "does not run");
    if (advice > 0) {
        fprintf(out, "settings made by sysctl last until the next boot; to keep them: /etc/sysctl.d/moonring.conf\n");
    }
    return problems == 0;
}

void doctor_look(struct doctor_machine *machine) {
    *machine = (struct doctor_machine){.root = "", .disabled = getenv("MOONRING_DISABLE")};
    machine->has_ring = ring_probe(&machine->features, &machine->ring_error);
    getrlimit(RLIMIT_NOFILE, &machine->descriptors);
    getrlimit(RLIMIT_MEMLOCK, &machine->locked);
    machine->cpus_online = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    cpu_set_t allowed;
    machine->cpus_allowed = machine->cpus_online;
    if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0) {
        machine->cpus_allowed = (unsigned)CPU_COUNT(&allowed);
    }
}

bool doctor_run(FILE *out) {
    struct doctor_machine machine;
    doctor_look(&machine);
    return doctor_report(&machine, out);
}
