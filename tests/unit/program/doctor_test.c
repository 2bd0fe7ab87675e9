#include "program/doctor.h"

#include "tests/support/temporary.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A machine made of files in a temporary folder. */
struct patient {
    struct temporary folder;
    struct doctor_machine machine;
    char *text; /* the last report; ours */
};

static void file_set(const struct patient *patient, const char *path, const char *content) {
    char folder[512];
    for (const char *end = strchr(path + 1, '/'); end != NULL; end = strchr(end + 1, '/')) {
        snprintf(folder, sizeof(folder), "%s%.*s", patient->folder.path, (int)(end - path), path);
        mkdir(folder, 0755);
    }
    temporary_write(&patient->folder, path + 1, "%s\n", content);
}

/* Everything as moonring likes it. */
static void patient_create(struct patient *patient) {
    static const struct {
        const char *path;
        const char *content;
    } files[] = {
        {"/proc/sys/kernel/osrelease", "6.18.1-test"},
        {"/proc/sys/kernel/io_uring_disabled", "0"},
        {"/proc/sys/kernel/io_uring_group", "-1"},
        {"/proc/self/status", "Name:\tmoonring\nSeccomp:\t0"},
        {"/proc/sys/fs/pipe-user-pages-soft", "16384"},
        {"/proc/sys/net/core/somaxconn", "4096"},
        {"/proc/sys/net/core/default_qdisc", "fq_codel"},
        {"/proc/sys/net/ipv4/tcp_max_syn_backlog", "1024"},
        {"/proc/sys/net/ipv4/tcp_syncookies", "1"},
        {"/proc/sys/net/ipv4/ip_local_port_range", "32768\t60999"},
        {"/proc/sys/net/ipv4/tcp_tw_reuse", "1"},
        {"/proc/sys/net/ipv4/tcp_congestion_control", "cubic"},
        {"/proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456"},
        {"/proc/sys/net/ipv4/tcp_wmem", "4096\t16384\t4194304"},
        {"/proc/sys/net/ipv4/tcp_migrate_req", "0"},
        {"/proc/sys/net/ipv6/conf/all/disable_ipv6", "0"},
        {"/proc/net/if_inet6", "00000000000000000000000000000001 01 80 10 80 lo"},
        {"/sys/fs/cgroup/cpu.max", "max 100000"},
    };
    temporary_create(&patient->folder);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        file_set(patient, files[i].path, files[i].content);
    }
    patient->text = NULL;
    patient->machine = (struct doctor_machine){
        .root = patient->folder.path,
        .has_ring = true,
        .features = {.recv_bundle = true, .recv_limit = true, .send_vectored = true, .send_zero_copy = true},
        .descriptors = {.rlim_cur = 1024, .rlim_max = 20064},
        .locked = {.rlim_cur = 8 * 1024 * 1024, .rlim_max = 8 * 1024 * 1024},
        .cpus_allowed = 4,
        .cpus_online = 8,
    };
}

static bool patient_report(struct patient *patient) {
    size_t size = 0;
    free(patient->text);
    FILE *out = open_memstream(&patient->text, &size);
    bool runs = doctor_report(&patient->machine, out);
    fclose(out);
    return runs;
}

static void patient_destroy(struct patient *patient) {
    free(patient->text);
}

/* The report has `wanted`, line breaks included. */
static void expect(struct patient *patient, const char *wanted) {
    patient_report(patient);
    cr_assert_not_null(strstr(patient->text, wanted), "no \"%s\" in:\n%s", wanted, patient->text);
}

static void expect_file(const char *path, const char *content, const char *wanted) {
    struct patient patient;
    patient_create(&patient);
    file_set(&patient, path, content);
    expect(&patient, wanted);
    patient_destroy(&patient);
}

/* --- the whole --------------------------------------------------------------------------------------------------- */

Test(doctor, has_nothing_to_say_about_a_machine_that_is_well, .timeout = 10) {
    struct patient patient;
    patient_create(&patient);
    cr_assert(patient_report(&patient));
    cr_assert_null(strstr(patient.text, "[advice]"), "%s", patient.text);
    cr_assert_null(strstr(patient.text, "[problem]"), "%s", patient.text);
    expect(&patient, "0 problems, 0 pieces of advice: moonring runs on this machine\n");
    patient_destroy(&patient);
}

Test(doctor, skips_what_a_machine_does_not_tell, .timeout = 10) {
    struct patient patient;
    patient_create(&patient);
    patient.machine.root = "/nonexistent";
    cr_assert(patient_report(&patient));
    cr_assert_null(strstr(patient.text, "net.core"), "%s", patient.text);
    expect(&patient, "kernel: unknown");
    patient_destroy(&patient);
}

Test(doctor, looks_at_this_machine_and_finds_its_ring_and_limits, .timeout = 10) {
    struct doctor_machine machine;
    struct rlimit descriptors;
    doctor_look(&machine);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &descriptors), 0);
    cr_assert_eq(machine.descriptors.rlim_cur, descriptors.rlim_cur);
    cr_assert_geq(machine.cpus_allowed, 1);
    cr_assert_leq(machine.cpus_allowed, machine.cpus_online);
    cr_assert(machine.has_ring, "%s", machine.ring_error.text);
}

/* --- problems ---------------------------------------------------------------------------------------------------- */

Test(doctor, refuses_a_kernel_that_is_too_old, .timeout = 10) {
    struct patient patient;
    patient_create(&patient);
    file_set(&patient, "/proc/sys/kernel/osrelease", "5.15.0-91-generic");
    cr_assert_not(patient_report(&patient));
    expect(&patient, "[problem] kernel: 5.15.0-91-generic - too old: 6.1 or newer is needed\n          -> install");
    expect(&patient, "1 problem, 0 pieces of advice: moonring does not run on this machine\n");
    file_set(&patient, "/proc/sys/kernel/osrelease", "6.0.19");
    cr_assert_not(patient_report(&patient));
    file_set(&patient, "/proc/sys/kernel/osrelease", "6.1.0-13-amd64");
    cr_assert(patient_report(&patient));
    file_set(&patient, "/proc/sys/kernel/osrelease", "10.0.0");
    cr_assert(patient_report(&patient));
    patient_destroy(&patient);
}

Test(doctor, recognises_a_sandbox_that_hides_the_kernel, .timeout = 10) {
    expect_file("/proc/sys/kernel/osrelease", "4.4.0", "-> this looks like gVisor");
    expect_file("/proc/sys/kernel/osrelease", "4.19.0-gvisor", "-> this looks like gVisor");
}

Test(doctor, passes_on_why_no_ring_could_be_made, .timeout = 10) {
    struct patient patient;
    patient_create(&patient);
    patient.machine.has_ring = false;
    error_set(&patient.machine.ring_error, "this kernel has no io_uring (ENOSYS)");
    cr_assert_not(patient_report(&patient));
    expect(&patient, "[problem] io_uring: refused - this kernel has no io_uring (ENOSYS)\n[ok]");
    cr_assert_null(strstr(patient.text, "recv_bundle"), "%s", patient.text);
    patient_destroy(&patient);
}

Test(doctor, blames_the_seccomp_filter_of_a_container, .timeout = 10) {
    struct patient patient;
    patient_create(&patient);
    patient.machine.has_ring = false;
    file_set(&patient, "/proc/self/status", "Name:\tmoonring\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1");
    expect(&patient, "-> a seccomp filter is active here: docker run --security-opt seccomp=");
    patient_destroy(&patient);
}

Test(doctor, tells_how_to_switch_io_uring_on, .timeout = 10) {
    struct patient patient;
    patient_create(&patient);
    patient.machine.has_ring = false;
    file_set(&patient, "/proc/sys/kernel/io_uring_disabled", "2");
    expect(&patient, "[problem] kernel.io_uring_disabled: 2 - nobody may make rings\n"
                     "          -> sysctl -w kernel.io_uring_disabled=0\n");
    patient_destroy(&patient);
}

Test(doctor, warns_root_that_process_user_may_not_make_rings, .timeout = 10) {
    struct patient patient;
    patient_create(&patient);
    file_set(&patient, "/proc/sys/kernel/io_uring_disabled", "1");
    cr_assert(patient_report(&patient));
    expect(&patient, "[advice]  kernel.io_uring_disabled: 1 - only root and members of kernel.io_uring_group (now -1)");
    expect(&patient, "-> sysctl -w kernel.io_uring_group=$(id -g moonring)\n");
    patient_destroy(&patient);
}

/* --- advice ------------------------------------------------------------------------------------------------------ */

Test(doctor, tells_what_a_missing_feature_is_for_and_which_kernel_has_it, .timeout = 10) {
    struct patient patient;
    patient_create(&patient);
    patient.machine.features.send_vectored = false;
    cr_assert(patient_report(&patient));
    expect(&patient, "[advice]  io_uring send_vectored: no - queued chunks are sent without a message header; now ");
    expect(&patient, "-> Linux 6.17 has it; moonring works without\n");
    patient_destroy(&patient);
}

Test(doctor, tells_features_that_were_switched_off_from_missing_ones, .timeout = 10) {
    struct patient patient;
    patient_create(&patient);
    patient.machine.features = (struct ring_features){.send_zero_copy = true};
    patient.machine.disabled = "recv_bundle";
    expect(&patient, "[advice]  io_uring recv_bundle: off by MOONRING_DISABLE - ");
    expect(&patient, "[advice]  io_uring recv_limit: off by MOONRING_DISABLE - "); /* it needs the other one */
    expect(&patient, "[advice]  io_uring send_vectored: no - ");
    expect(&patient, "[ok]      io_uring send_zero_copy: yes - ");
    patient_destroy(&patient);
}

Test(doctor, counts_the_sessions_that_the_hard_descriptor_limit_allows, .timeout = 10) {
    struct patient patient;
    patient_create(&patient);
    expect(&patient, "[ok]      descriptors: 1024, raised at start to the hard limit of 20064 - enough for 10000 "
                     "sessions\n");
    patient.machine.descriptors.rlim_max = 1024;
    cr_assert(patient_report(&patient));
    expect(&patient,
           "[advice]  descriptors: 1024, raised at start to the hard limit of 1024 - enough for 480 sessions\n"
           "          -> ulimit -n 100000 (as root); in a systemd unit: LimitNOFILE=100000\n");
    patient_destroy(&patient);
}

Test(doctor, compares_the_affinity_with_the_quota_of_the_container, .timeout = 10) {
    struct patient patient;
    patient_create(&patient);
    expect(&patient, "[ok]      cpus: 4 of 8 may be used - process.workers: auto starts 4\n");
    file_set(&patient, "/sys/fs/cgroup/cpu.max", "150000 100000");
    expect(&patient, "[advice]  cpu.max: 150000 100000 - a quota worth 2 CPUs: more workers only wait\n"
                     "          -> in the configuration: process: {workers: 2}\n");
    file_set(&patient, "/sys/fs/cgroup/cpu.max", "400000 100000");
    patient_report(&patient);
    cr_assert_null(strstr(patient.text, "cpu.max"), "%s", patient.text);
    patient_destroy(&patient);
}

Test(doctor, tells_the_pipes_that_splice_may_use, .timeout = 10) {
    expect_file("/proc/sys/fs/pipe-user-pages-soft", "16384", "16384 - io.splice may use 64 MiB of pipes per user");
    expect_file("/proc/sys/fs/pipe-user-pages-soft", "0", "0 - no limit to the pipes");
}

Test(doctor, counts_the_workers_whose_rings_may_be_locked, .timeout = 10) {
    struct patient patient;
    patient_create(&patient);
    expect(&patient,
           "[ok]      locked memory: 8192 KiB - enough for the rings of 32 workers of a user who is not root\n");
    patient.machine.cpus_allowed = 64;
    expect(&patient,
           "[advice]  locked memory: 8192 KiB - enough for the rings of 32 workers of a user who is not root\n"
           "          -> ulimit -l unlimited (as root); in a systemd unit: LimitMEMLOCK=infinity\n");
    patient.machine.locked.rlim_cur = RLIM_INFINITY;
    expect(&patient, "[ok]      locked memory: unlimited\n");
    patient_destroy(&patient);
}

Test(doctor, proposes_a_longer_accept_queue, .timeout = 10) {
    expect_file("/proc/sys/net/core/somaxconn", "128",
                "[advice]  net.core.somaxconn: 128 - the most clients that wait to be accepted; tcp.backlog asks for "
                "4096\n          -> sysctl -w net.core.somaxconn=4096\n");
}

Test(doctor, minds_the_syn_queue_only_without_cookies, .timeout = 10) {
    expect_file("/proc/sys/net/ipv4/tcp_syncookies", "0",
                "[advice]  net.ipv4.tcp_max_syn_backlog: 1024 - handshakes at once; tcp_syncookies is off\n"
                "          -> sysctl -w net.ipv4.tcp_max_syn_backlog=4096 net.ipv4.tcp_syncookies=1\n");
}

Test(doctor, counts_the_ports_towards_one_server, .timeout = 10) {
    expect_file("/proc/sys/net/ipv4/ip_local_port_range", "10000 19999",
                "[advice]  net.ipv4.ip_local_port_range: 10000 19999 - at most 10000 connections to one server at a "
                "time\n          -> sysctl -w net.ipv4.ip_local_port_range=\"10240 65535\"\n");
    expect_file("/proc/sys/net/ipv4/tcp_tw_reuse", "2", "rests for 60 s: more than 470 new ones a second");
    expect_file("/proc/sys/net/ipv4/tcp_tw_reuse", "0", "-> sysctl -w net.ipv4.tcp_tw_reuse=1\n");
}

Test(doctor, proposes_the_queue_that_bbr_likes, .timeout = 10) {
    expect_file("/proc/sys/net/ipv4/tcp_congestion_control", "bbr",
                "[advice]  net.core.default_qdisc: fq_codel - bbr paces each connection with a timer");
    expect_file("/proc/sys/net/ipv4/tcp_congestion_control", "cubic", "tcp_congestion_control: cubic\n");
}

Test(doctor, tells_what_a_socket_buffer_means_over_a_distance, .timeout = 10) {
    expect_file("/proc/sys/net/ipv4/tcp_wmem", "4096 16384 5000000",
                "[ok]      net.ipv4.tcp_wmem: at most 4882 KiB - one connection over a round trip of 50 ms moves about "
                "100 MB/s at the most\n");
    expect_file("/proc/sys/net/ipv4/tcp_rmem", "4096 16384 500000", "[advice]  net.ipv4.tcp_rmem: at most 488 KiB");
}

Test(doctor, compares_the_firewalls_table_with_the_sessions, .timeout = 10) {
    expect_file("/proc/sys/net/netfilter/nf_conntrack_max", "262144",
                "[ok]      net.netfilter.nf_conntrack_max: 262144 - where the firewall tracks connections a session "
                "takes two entries: 131072 sessions\n");
    expect_file("/proc/sys/net/netfilter/nf_conntrack_max", "8192",
                "-> sysctl -w net.netfilter.nf_conntrack_max=30000\n");
}

Test(doctor, tells_what_happens_to_clients_of_a_socket_that_closes, .timeout = 10) {
    expect_file("/proc/sys/net/ipv4/tcp_migrate_req", "0", "when a listening socket closes are reset;");
    expect_file("/proc/sys/net/ipv4/tcp_migrate_req", "1", "closes are given to another one on that address\n");
}

Test(doctor, tells_what_a_port_alone_means_where_ipv6_is_off, .timeout = 10) {
    expect_file("/proc/net/if_inet6", "0001 01 80 10 80 lo", "IPv6: on - `:8080` accepts IPv6 and IPv4\n");
    expect_file("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1", "IPv6: off - `:8080` accepts IPv4 only\n");
}
