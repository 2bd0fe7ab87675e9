#include "program/control.h"

#include "base/log.h"
#include "engine/ring.h"
#include "program/program.h"
#include "program/reload.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum {
    STOP_GRACE_MS = 10000, /* from "close every session" until we stop waiting for it */
    TEND_AGAIN_MS = 50,    /* what ends without a sign is looked at so often */
};

struct control {
    const struct control_options *options;
    struct program program;
    int signal_fd;
    bool stopping;
    uint64_t tend_at_ms;  /* UINT64_MAX: when something gives a sign */
    uint64_t close_at_ms; /* when sessions are closed; UINT64_MAX: when the last has ended */
    uint64_t abort_at_ms;
};

static uint64_t now_ms(void) {
    return kernel_now_ns() / 1000000;
}

/* --- signals ---------------------------------------------------------------------------------------------------- */

static void control_close_sessions(struct control *control) {
    control->close_at_ms = UINT64_MAX;
    if (control->abort_at_ms != UINT64_MAX) {
        return; /* said already */
    }
    control->abort_at_ms = now_ms() + STOP_GRACE_MS;
    crew_close_sessions(&control->program.crew);
}

static void control_stop(struct control *control, bool now) {
    if (!control->stopping) {
        control->stopping = true;
        log_info("stopping: no new clients%s", now ? "" : "; sessions may end by themselves");
        crew_stop(&control->program.crew);
        uint64_t drain_ms = control->program.generation->config->drain_timeout_ms;
        control->close_at_ms = drain_ms == 0 ? UINT64_MAX : now_ms() + drain_ms;
    } else {
        now = true;
    }
    if (now) {
        log_info("stopping now: every session is closed");
        control_close_sessions(control);
    }
}

static void control_report(struct control *control) {
    struct bytes text;
    bytes_init(&text);
    program_report(&control->program, true, &text);
    log_raw(text.data, text.size);
    bytes_finish(&text);
}

/* What is wrong comes as it is, over several lines; the rest is one. */
static void log_reload(const struct reload *reload) {
    struct bytes line;
    bytes_init(&line);
    reload_describe(reload, &line);
    log_raw(reload->report.text.data, reload->report.text.size);
    log_write(reload->result == RELOAD_REFUSED ? LOG_ERROR : LOG_INFO, "%s", line.data);
    bytes_finish(&line);
}

static void control_reload(struct control *control) {
    const struct control_options *options = control->options;
    struct reload reload;
    if (options->load == NULL) {
        log_warn("reload: there is no file to read again");
        return;
    }
    reload_init(&reload);
    struct config *config = options->load(options->argument, &reload.report);
    reload_run(&reload, &control->program, config);
    log_reload(&reload);
    reload_finish(&reload);
}

static void control_obey(struct control *control, uint32_t signal_number) {
    if (signal_number == SIGTERM) {
        control_stop(control, false);
    } else if (signal_number == SIGINT) {
        control_stop(control, true);
    } else if (signal_number == SIGUSR1) {
        logs_reopen(&control->program.logs);
    } else if (control->stopping) {
        log_info("%s while stopping", signal_number == SIGHUP ? "no reload" : "no report");
    } else if (signal_number == SIGUSR2) {
        control_report(control);
    } else if (signal_number == SIGHUP) {
        control_reload(control);
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

static uint64_t earlier(uint64_t a_ms, uint64_t b_ms) {
    return a_ms < b_ms ? a_ms : b_ms;
}

static int control_wait_ms(const struct control *control) {
    uint64_t at_ms = earlier(control->tend_at_ms, earlier(control->close_at_ms, control->abort_at_ms));
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

/* Says only "look again". */
static void read_event(int fd) {
    uint64_t value;
    ssize_t size = read(fd, &value, sizeof value);
    (void)size;
}

static void control_turn(struct control *control) {
    struct pollfd wanted[2] = {{.fd = control->signal_fd, .events = POLLIN},
                               {.fd = control->program.crew.event_fd, .events = POLLIN}};
    int count = poll(wanted, 2, control_wait_ms(control));
    if (count > 0 && wanted[1].revents != 0) {
        read_event(wanted[1].fd);
    }
    if (count > 0 && wanted[0].revents != 0) {
        control_read_signal(control);
    }
    bool more = program_tend(&control->program);
    control->tend_at_ms = more ? now_ms() + TEND_AGAIN_MS : UINT64_MAX;
}

/* False: sessions did not end although they were closed. That is a bug, but it must not keep the process for ever. */
static bool control_loop(struct control *control) {
    while (!crew_has_ended(&control->program.crew)) {
        control_turn(control);
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

static void tell_failure(const char *why, bool logs_to_stderr) {
    size_t size = strlen(why);
    while (size > 0 && why[size - 1] == '\n') {
        size--;
    }
    log_error("%.*s", (int)size, why);
    if (!logs_to_stderr) {
        fprintf(stderr, "moonring: %.*s\n", (int)size, why);
    }
}

/* Up to the first client. Takes over config. Returns the exit status: 0 when it serves. */
static int control_start(struct control *control, struct config *config) {
    struct config_report report;
    bool logs_to_stderr = strcmp(config->log.error_target, "stderr") == 0;
    config_report_init(&report);
    bool started = program_start(&control->program, config, &report);
    if (!started) {
        tell_failure(report.text.data, logs_to_stderr);
    }
    int status = started ? 0 : report.errors_count > 0 ? 2 : 1;
    config_report_finish(&report);
    return status;
}

int control_run(const struct control_options *options, struct config *config) {
    struct control control = {.options = options,
                              .tend_at_ms = UINT64_MAX,
                              .close_at_ms = UINT64_MAX,
                              .abort_at_ms = UINT64_MAX,
                              .signal_fd = signals_open()};
    program_init(&control.program, options->trace);
    if (control.signal_fd < 0) {
        log_error("no file descriptor left to begin with: raise `ulimit -n` (systemd: LimitNOFILE=)");
        config_destroy(config);
        return 1;
    }
    int status = control_start(&control, config);
    if (status == 0) {
        log_info("ready");
        if (!control_loop(&control)) {
            _exit(1);
        }
    }
    program_finish(&control.program);
    close(control.signal_fd);
    if (status == 0) {
        log_info("stopped");
    }
    return status;
}
