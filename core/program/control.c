#include "program/control.h"

#include "base/log.h"
#include "engine/worker.h"
#include "program/privileges.h"
#include "program/report.h"
#include "program/resolve.h"
#include "program/sockets.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    DESCRIPTORS_RESERVED = 64, /* rings, listening sockets, logs, pipes */
    STOP_GRACE_MS = 10000,     /* from "close every session" until we stop waiting for it */
};

/* A worker's thread and what the control thread says to it. */
struct crew {
    struct control *control;
    struct worker worker;
    uint32_t number;
    pthread_t thread;
    bool started; /* the thread exists */
    bool made;    /* worker_init succeeded; set before `ready` is posted */
    struct error error;
    sem_t go; /* posted once: begin (or, when control->failed, end) */
    atomic_bool ended;
    struct message stop_message;
    struct message close_message;
    struct message report_message;
    struct worker_report report;
};

struct control {
    const struct config *config;
    struct upstream *upstreams; /* ours */
    struct listener *listeners; /* ours */
    struct quota process;
    struct ring_features features;
    struct sockets sockets;
    struct access_log *access_log;
    struct crew *crew; /* ours */
    uint32_t crew_count;
    sem_t ready;   /* posted by each worker when it has tried to make itself */
    sem_t reports; /* posted by each worker that has filled its report */
    bool failed;   /* workers end at once; written before `go` */
    int ended_fd;  /* eventfd: a worker has ended */
    int signal_fd;
    bool stopping;
    uint64_t close_at_ms; /* when sessions are closed; UINT64_MAX: when the last has ended */
    uint64_t abort_at_ms;
};

/* --- sizes ------------------------------------------------------------------------------------------------------ */

static uint32_t workers_count(const struct config *config) {
    if (config->process.workers != 0) {
        return config->process.workers;
    }
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return count > 0 ? (uint32_t)count : 1;
}

static uint64_t descriptors_raise(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        return 1024;
    }
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur;
}

/* A session needs two descriptors. */
static uint32_t connections_max(const struct config *config) {
    uint64_t descriptors = descriptors_raise();
    uint64_t reserved = descriptors / 4 < DESCRIPTORS_RESERVED ? descriptors / 4 : DESCRIPTORS_RESERVED;
    uint64_t possible = (descriptors - reserved) / 2;
    possible = possible < 1 ? 1 : possible > 10000000 ? 10000000 : possible;
    if (config->process.connections_max == 0) {
        log_info("max_connections: %lu, from the limit of %lu descriptors", (unsigned long)possible,
                 (unsigned long)descriptors);
        return (uint32_t)possible;
    }
    if (config->process.connections_max > possible) {
        log_warn(
            "process.max_connections is %u, but the limit of %lu descriptors allows only %lu, which is used: raise "
            "it (`ulimit -n`, systemd: LimitNOFILE=)",
            config->process.connections_max, (unsigned long)descriptors, (unsigned long)possible);
        return (uint32_t)possible;
    }
    return config->process.connections_max;
}

/* --- what workers call ------------------------------------------------------------------------------------------ */

static void control_room(void *argument, struct worker *worker) {
    struct control *control = argument;
    for (uint32_t i = 0; i < control->crew_count; i++) {
        if (&control->crew[i].worker != worker) {
            worker_post_resume(&control->crew[i].worker);
        }
    }
}

static void control_socket_done(void *argument, int fd) {
    struct control *control = argument;
    sockets_leave(&control->sockets, fd);
}

static void control_stopped(void *argument, struct worker *worker) {
    struct control *control = argument;
    struct crew *crew = container_of(worker, struct crew, worker);
    atomic_store(&crew->ended, true);
    kernel_event_signal(control->ended_fd);
}

/* --- the workers' threads --------------------------------------------------------------------------------------- */

static bool crew_make(struct crew *crew) {
    struct control *control = crew->control;
    const struct worker_options options = {.number = crew->number,
                                           .io = &control->config->io,
                                           .features = &control->features,
                                           .upstreams = control->upstreams,
                                           .upstreams_count = control->config->upstreams_count,
                                           .access_log = control->access_log,
                                           .room = control_room,
                                           .socket_done = control_socket_done,
                                           .stopped = control_stopped,
                                           .argument = control};
    return (control->config->process.user == NULL || privileges_drop_thread(&crew->error)) &&
           worker_init(&crew->worker, &options, &crew->error);
}

static void crew_accept(struct crew *crew) {
    struct sockets *sockets = &crew->control->sockets;
    for (size_t i = 0; i < sockets->count; i++) {
        struct listening_socket *socket = &sockets->items[i];
        if (socket->worker == crew->number || socket->worker == SOCKET_OF_ALL) {
            if (!worker_accept(&crew->worker, &crew->control->listeners[socket->listener], socket->fd)) {
                log_error("no memory to accept with");
                sockets_leave(sockets, socket->fd);
            }
        }
    }
}

static void *crew_thread(void *argument) {
    struct crew *crew = argument;
    crew->made = crew_make(crew);
    sem_post(&crew->control->ready);
    while (sem_wait(&crew->go) < 0 && errno == EINTR) {
    }
    if (!crew->made) {
        return NULL;
    }
    if (crew->control->failed) {
        worker_stop(&crew->worker);
    } else {
        crew_accept(crew);
    }
    worker_run(&crew->worker);
    return NULL;
}

static void crew_join(struct control *control) {
    for (uint32_t i = 0; i < control->crew_count; i++) {
        if (control->crew[i].started) {
            pthread_join(control->crew[i].thread, NULL);
        }
    }
    /* Only now: until the last one had ended, others posted into its mailbox. */
    for (uint32_t i = 0; i < control->crew_count; i++) {
        struct crew *crew = &control->crew[i];
        if (crew->made) {
            worker_finish(&crew->worker);
        }
        worker_report_finish(&crew->report);
        sem_destroy(&crew->go);
    }
}

static void crew_go(struct control *control, bool failed) {
    control->failed = failed;
    for (uint32_t i = 0; i < control->crew_count; i++) {
        sem_post(&control->crew[i].go);
    }
}

/* Every worker makes itself on its own thread: a ring belongs to the thread that made it. */
static bool crew_start(struct control *control, struct error *error) {
    bool started = true;
    for (uint32_t i = 0; i < control->crew_count; i++) {
        struct crew *crew = &control->crew[i];
        *crew = (struct crew){.control = control, .number = i};
        check(sem_init(&crew->go, 0, 0) == 0);
        worker_report_init(&crew->report);
    }
    for (uint32_t i = 0; i < control->crew_count && started; i++) {
        struct crew *crew = &control->crew[i];
        int number = pthread_create(&crew->thread, NULL, crew_thread, crew);
        started = number == 0 || error_set(error, "cannot start a worker's thread: %s", strerror(number));
        crew->started = number == 0;
    }
    for (uint32_t i = 0; i < control->crew_count; i++) {
        struct crew *crew = &control->crew[i];
        while (crew->started && sem_wait(&control->ready) < 0 && errno == EINTR) {
        }
    }
    for (uint32_t i = 0; i < control->crew_count && started; i++) {
        if (!control->crew[i].made) {
            *error = control->crew[i].error;
            started = false;
        }
    }
    return started;
}

/* --- signals ---------------------------------------------------------------------------------------------------- */

static void message_stop(struct worker *worker, struct message *message) {
    (void)message;
    worker_stop(worker);
}

static void message_close(struct worker *worker, struct message *message) {
    (void)message;
    worker_close_sessions(worker);
}

static void message_report(struct worker *worker, struct message *message) {
    struct crew *crew = container_of(message, struct crew, report_message);
    worker_report_fill(&crew->report, worker);
    sem_post(&crew->control->reports);
}

static uint64_t now_ms(void) {
    return kernel_now_ns() / 1000000;
}

static void control_close_sessions(struct control *control) {
    control->close_at_ms = UINT64_MAX;
    if (control->abort_at_ms != UINT64_MAX) {
        return; /* said already */
    }
    control->abort_at_ms = now_ms() + STOP_GRACE_MS;
    for (uint32_t i = 0; i < control->crew_count; i++) {
        control->crew[i].close_message.run = message_close;
        worker_post(&control->crew[i].worker, &control->crew[i].close_message);
    }
}

static void control_stop(struct control *control, bool now) {
    if (!control->stopping) {
        control->stopping = true;
        log_info("stopping: no new clients%s", now ? "" : "; sessions may end by themselves");
        for (uint32_t i = 0; i < control->crew_count; i++) {
            control->crew[i].stop_message.run = message_stop;
            worker_post(&control->crew[i].worker, &control->crew[i].stop_message);
        }
        uint64_t drain_ms = control->config->drain_timeout_ms;
        control->close_at_ms = drain_ms == 0 ? UINT64_MAX : now_ms() + drain_ms;
    } else {
        now = true;
    }
    if (now) {
        log_info("stopping now: every session is closed");
        control_close_sessions(control);
    }
}

static void control_reopen_logs(struct control *control) {
    struct error error;
    if (log_reopen(&error)) {
        log_info("error log: opened again");
    } else {
        log_error("%s", error.text);
    }
    if (control->access_log != NULL) {
        access_log_reopen(control->access_log);
    }
}

static void control_report(struct control *control) {
    struct bytes text;
    bytes_init(&text);
    for (uint32_t i = 0; i < control->crew_count; i++) {
        struct crew *crew = &control->crew[i];
        bytes_clear(&crew->report.sessions);
        crew->report_message.run = message_report;
        worker_post(&crew->worker, &crew->report_message);
    }
    for (uint32_t i = 0; i < control->crew_count; i++) {
        while (sem_wait(&control->reports) < 0 && errno == EINTR) {
        }
    }
    struct worker_report *reports = calloc(control->crew_count, sizeof *reports);
    for (uint32_t i = 0; reports != NULL && i < control->crew_count; i++) {
        reports[i] = control->crew[i].report;
    }
    if (reports != NULL) {
        const struct report_scope scope = {.listeners = control->listeners,
                                           .listeners_count = control->config->listeners_count,
                                           .upstreams = control->upstreams,
                                           .upstreams_count = control->config->upstreams_count};
        report_write(&scope, reports, control->crew_count, &text);
        log_raw(text.data, text.size);
    }
    free(reports);
    bytes_finish(&text);
}

static void control_obey(struct control *control, uint32_t signal_number) {
    if (signal_number == SIGTERM) {
        control_stop(control, false);
    } else if (signal_number == SIGINT) {
        control_stop(control, true);
    } else if (signal_number == SIGUSR1) {
        control_reopen_logs(control);
    } else if (signal_number == SIGUSR2) {
        if (control->stopping) {
            log_info("no report while stopping");
        } else {
            control_report(control);
        }
    } else if (signal_number == SIGHUP) {
        log_warn("SIGHUP: this version cannot reload its configuration; restart it instead");
    }
}

/* Before any thread is made, so that every one inherits it: signals are read from signal_fd only. */
static int signals_open(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGPIPE); /* splice(2) to a closed socket would raise it; it is never read */
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    sigdelset(&set, SIGPIPE);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

/* --- the loop --------------------------------------------------------------------------------------------------- */

static bool crew_has_ended(const struct control *control) {
    for (uint32_t i = 0; i < control->crew_count; i++) {
        if (!atomic_load(&control->crew[i].ended)) {
            return false;
        }
    }
    return true;
}

static int control_wait_ms(const struct control *control) {
    uint64_t at_ms = control->close_at_ms < control->abort_at_ms ? control->close_at_ms : control->abort_at_ms;
    if (at_ms == UINT64_MAX) {
        return -1;
    }
    uint64_t now = now_ms();
    uint64_t wait_ms = at_ms > now ? at_ms - now : 0;
    return wait_ms > 3600000 ? 3600000 : (int)wait_ms;
}

static void control_read_signal(struct control *control) {
    struct signalfd_siginfo signal;
    if (read(control->signal_fd, &signal, sizeof signal) == (ssize_t)sizeof signal) {
        control_obey(control, signal.ssi_signo);
    }
}

/* False: sessions did not end although they were closed. That is a bug, but it must not keep the process for ever. */
static bool control_loop(struct control *control) {
    while (!crew_has_ended(control)) {
        struct pollfd wanted[2] = {{.fd = control->signal_fd, .events = POLLIN},
                                   {.fd = control->ended_fd, .events = POLLIN}};
        int count = poll(wanted, 2, control_wait_ms(control));
        if (count > 0 && wanted[0].revents != 0) {
            control_read_signal(control);
        }
        if (count > 0 && wanted[1].revents != 0) {
            uint64_t value;
            ssize_t size = read(control->ended_fd, &value, sizeof value);
            (void)size; /* it says only "look again" */
        }
        if (control->close_at_ms <= now_ms()) {
            log_info("shutdown.drain_timeout is over: every session is closed");
            control_close_sessions(control);
        }
        if (control->abort_at_ms <= now_ms()) {
            log_error("some sessions do not end; leaving without them");
            return false;
        }
    }
    return true;
}

/* --- putting together ------------------------------------------------------------------------------------------- */

/* Of a process that changed its user: only the control thread keeps a right. */
static void drop_rights(void) {
    struct error error;
    if (!privileges_drop_thread(&error)) {
        log_error("%s", error.text);
    }
}

static bool logs_open(struct control *control, struct error *error) {
    const struct config_log *config = &control->config->log;
    log_set_level(config->error_level);
    if (!log_open(config->error_target, error)) {
        return false;
    }
    if (config->access_target == NULL) {
        return true;
    }
    control->access_log = access_log_create(config->access_target, config->access_format,
                                            control->config->process.user == NULL ? NULL : drop_rights, error);
    return control->access_log != NULL;
}

static bool listeners_create(struct control *control, struct error *error) {
    const struct config *config = control->config;
    control->process.max = connections_max(config);
    control->listeners = calloc(config->listeners_count, sizeof *control->listeners);
    if (control->listeners == NULL) {
        return error_set(error, "no memory for the listeners");
    }
    for (size_t i = 0; i < config->listeners_count; i++) {
        struct listener *listener = &control->listeners[i];
        settings_init(&listener->settings, &config->listeners[i], control->upstreams);
        listener->quota.max = config->listeners[i].connections_max;
        listener->process = &control->process;
        listener->backlog = config->listeners[i].tcp.backlog;
    }
    return true;
}

/* In this order: who we are, before anything is opened with our rights; then everything that can fail, before the
 * first client can connect. */
static bool control_prepare(struct control *control, struct error *error) {
    const struct config *config = control->config;
    if (config->process.user != NULL && !privileges_drop(config->process.user, error)) {
        return false;
    }
    if (!logs_open(control, error)) {
        return false;
    }
    if (config->process.user == NULL && privileges_warning() != NULL) {
        log_warn("%s", privileges_warning());
    }
    control->upstreams = upstreams_create(config, error);
    return control->upstreams != NULL && ring_probe(&control->features, error) && listeners_create(control, error) &&
           sockets_bind(&control->sockets, config, control->crew_count, error);
}

static bool control_start(struct control *control, struct error *error) {
    if (!control_prepare(control, error)) {
        return false;
    }
    control->crew = calloc(control->crew_count, sizeof *control->crew);
    if (control->crew == NULL) {
        return error_set(error, "no memory for %u workers", control->crew_count);
    }
    bool started = crew_start(control, error) && sockets_listen(&control->sockets, control->config, error);
    crew_go(control, !started);
    if (!started) {
        crew_join(control);
    }
    return started;
}

static void control_finish(struct control *control) {
    sockets_finish(&control->sockets);
    access_log_destroy(control->access_log);
    upstreams_destroy(control->upstreams, control->config->upstreams_count);
    free(control->listeners);
    free(control->crew);
    sem_destroy(&control->ready);
    sem_destroy(&control->reports);
    close(control->ended_fd);
    close(control->signal_fd);
}

int control_run(const struct config *config) {
    struct control control = {.config = config,
                              .crew_count = workers_count(config),
                              .close_at_ms = UINT64_MAX,
                              .abort_at_ms = UINT64_MAX,
                              .signal_fd = signals_open(),
                              .ended_fd = kernel_event_open()};
    struct error error;
    if (control.signal_fd < 0 || control.ended_fd < 0) {
        log_error("no file descriptor left to begin with: raise `ulimit -n` (systemd: LimitNOFILE=)");
        return 1;
    }
    check(sem_init(&control.ready, 0, 0) == 0);
    check(sem_init(&control.reports, 0, 0) == 0);
    if (!control_start(&control, &error)) {
        log_error("%s", error.text);
        if (strcmp(config->log.error_target, "stderr") != 0) {
            fprintf(stderr, "moonring: %s\n", error.text);
        }
        control_finish(&control);
        return 1;
    }
    log_info("ready");
    if (!control_loop(&control)) {
        _exit(1);
    }
    crew_join(&control);
    control_finish(&control);
    log_info("stopped");
    return 0;
}
