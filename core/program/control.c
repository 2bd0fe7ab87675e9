#include "program/control.h"

#include "base/log.h"
#include "engine/ring.h"
#include "program/arguments.h"
#include "program/program.h"
#include "program/reload.h"
#include "program/reload_watch.h"
#include "program/server_orders.h"
#include "program/service_manager.h"
#include "program/session_order.h"
#include "program/status.h"

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
    LAST_WORDS_MS = 1000,  /* for the answer to whoever has killed the last session */
};

struct control {
    const struct control_options *options;
    struct program program;
    struct file_watch watch;
    struct session_order session_orders[ADMIN_CLIENTS_MAX]; /* of each client of the admin socket */
    struct service_manager manager;
    int signal_fd;
    bool serves; /* the start is over, and it did not fail */
    bool stopping;
    bool attempting;      /* a reload, a plan or a rollback is under way */
    uint32_t signals;     /* bits, by number: those that came meanwhile, and wait */
    uint64_t tend_at_ms;  /* 0: at once; UINT64_MAX: when something gives a sign */
    uint64_t close_at_ms; /* when sessions are closed; UINT64_MAX: when the last has ended */
    uint64_t abort_at_ms;
};

static uint64_t now_ms(void) {
    return kernel_now_ns() / 1000000;
}

/* --- stopping --------------------------------------------------------------------------------------------------- */

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
        atomic_store(&control->program.stopping, true);
        log_info("stopping: no new clients%s", now ? "" : "; sessions may end by themselves");
        service_manager_stopping(&control->manager);
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

/* --- reloads ---------------------------------------------------------------------------------------------------- */

/* What is wrong comes as it is, over several lines; the rest is one. */
static void log_reload(const struct reload *reload) {
    struct bytes line;
    bytes_init(&line);
    reload_describe(reload, &line);
    log_raw(reload->report.text.data, reload->report.text.size);
    log_write(reload->result == RELOAD_REFUSED ? LOG_ERROR : LOG_INFO, "%s", line.data);
    bytes_finish(&line);
}

enum attempt { ATTEMPT_RELOAD, ATTEMPT_PLAN, ATTEMPT_BACK };

struct loading {
    const struct control_options *options;
    struct config_report *report;
    struct config *config;
};

static void errand_load(void *argument) {
    struct loading *loading = argument;
    loading->config = loading->options->load(loading->options->argument, loading->report);
}

static struct config *control_load(struct control *control, struct config_report *report) {
    struct loading loading = {.options = control->options, .report = report};
    errand_run_apart(&control->program.errand, errand_load, &loading);
    return loading.config;
}

/* (Not while it stops: READY would be a lie then.) */
static void control_tell_manager(struct control *control, const struct reload *reload) {
    if (!control->stopping) {
        service_manager_ready(
            &control->manager, "Generation %llu is serving%s", (unsigned long long)control->program.generation->number,
            reload->result == RELOAD_REFUSED ? "; the last reload was refused, the log says why" : "");
    }
}

/* The caller finishes the reload. */
static void control_attempt(struct control *control, enum attempt attempt, struct reload *reload) {
    const struct control_options *options = control->options;
    control->attempting = true;
    reload_init(reload);
    reload->is_plan = attempt == ATTEMPT_PLAN;
    if (attempt == ATTEMPT_RELOAD) {
        file_watch_know(&control->watch);
    }
    if (attempt != ATTEMPT_PLAN && !control->stopping) {
        service_manager_reloading(&control->manager);
    }
    if (control->stopping) {
        bytes_append_text(&reload->report.text, "moonring is stopping\n");
        reload->generation = control->program.generation->number;
    } else if (attempt == ATTEMPT_BACK) {
        reload_back(reload, &control->program);
    } else if (options->load == NULL) {
        bytes_append_text(&reload->report.text, "standard input cannot be read again\n");
        reload->generation = control->program.generation->number;
    } else {
        reload_run(reload, &control->program, control_load(control, &reload->report));
    }
    if (attempt != ATTEMPT_PLAN) {
        control_tell_manager(control, reload);
        if (reload->result != RELOAD_REFUSED) {
            log_set_level(control->program.generation->config->log.error_level); /* `ctl log-level` is over */
        }
        log_reload(reload);
        reload_watch_set(&control->watch, &control->program, reload);
    }
    control->attempting = false;
}

static void control_reload(struct control *control) {
    struct reload reload;
    control_attempt(control, ATTEMPT_RELOAD, &reload);
    reload_finish(&reload);
}

/* --- the admin socket -------------------------------------------------------------------------------------------- */

static bool wants_json(const struct arguments *order) {
    return order->given[OPTION_JSON] != NULL;
}

static int answer_attempt(struct control *control, enum attempt attempt, const struct arguments *order,
                          struct bytes *answer) {
    struct reload reload;
    control_attempt(control, attempt, &reload);
    if (wants_json(order)) {
        reload_to_json(&reload, answer);
    } else {
        bytes_append(answer, reload.report.text.data, reload.report.text.size);
        reload_describe(&reload, answer);
        bytes_append_char(answer, '\n');
    }
    int status = reload.result == RELOAD_REFUSED ? ADMIN_REFUSED : ADMIN_DONE;
    reload_finish(&reload);
    return status;
}

static int answer_reload(struct control *control, const struct arguments *order, struct bytes *answer) {
    return answer_attempt(control, ATTEMPT_RELOAD, order, answer);
}

static int answer_plan(struct control *control, const struct arguments *order, struct bytes *answer) {
    return answer_attempt(control, ATTEMPT_PLAN, order, answer);
}

static int answer_rollback(struct control *control, const struct arguments *order, struct bytes *answer) {
    return answer_attempt(control, ATTEMPT_BACK, order, answer);
}

static int answer_status(struct control *control, const struct arguments *order, struct bytes *answer) {
    if (wants_json(order)) {
        status_to_json(&control->program, answer);
    } else {
        status_describe(&control->program, answer);
    }
    return ADMIN_DONE;
}

static int answer_generations(struct control *control, const struct arguments *order, struct bytes *answer) {
    if (wants_json(order)) {
        generations_to_json(&control->program, answer);
    } else {
        generations_describe(&control->program, answer);
    }
    return ADMIN_DONE;
}

static int answer_metrics(struct control *control, const struct arguments *order, struct bytes *answer) {
    (void)order;
    program_report(&control->program, REPORT_METRICS, answer);
    return ADMIN_DONE;
}

static int answer_log_level(struct control *control, const struct arguments *order, struct bytes *answer) {
    enum log_level configured = control->program.generation->config->log.error_level;
    enum log_level level = log_level();
    if (order->operands_count > 0 && !log_level_parse(order->operands[0], &level)) {
        bytes_printf(answer, "log-level: \"%s\" is none of error warn info debug trace\n", order->operands[0]);
        return ADMIN_REFUSED;
    }
    log_set_level(level);
    if (wants_json(order)) {
        bytes_printf(answer, "{\"level\": \"%s\", \"configured\": \"%s\"}\n", log_level_name(level),
                     log_level_name(configured));
    } else if (level == configured) {
        bytes_printf(answer, "log level: %s, as log.error.level says\n", log_level_name(level));
    } else {
        bytes_printf(answer, "log level: %s, until the next reload: log.error.level is %s\n", log_level_name(level),
                     log_level_name(configured));
    }
    return ADMIN_DONE;
}

static int answer_upstreams(struct control *control, const struct arguments *order, struct bytes *answer) {
    const char *upstream = order->operands_count > 0 ? order->operands[0] : NULL;
    bool found = wants_json(order) ? servers_to_json(&control->program, upstream, answer)
                                   : servers_describe(&control->program, upstream, answer);
    return found ? ADMIN_DONE : ADMIN_REFUSED;
}

static int answer_drain(struct control *control, const struct arguments *order, struct bytes *answer) {
    bool done = servers_order(&control->program, order->operands[0], HEALTH_DRAINED, answer);
    return done ? ADMIN_DONE : ADMIN_REFUSED;
}

static int answer_disable(struct control *control, const struct arguments *order, struct bytes *answer) {
    bool done = servers_order(&control->program, order->operands[0], HEALTH_DISABLED, answer);
    return done ? ADMIN_DONE : ADMIN_REFUSED;
}

static int answer_enable(struct control *control, const struct arguments *order, struct bytes *answer) {
    bool done = servers_order(&control->program, order->operands[0], 0, answer);
    return done ? ADMIN_DONE : ADMIN_REFUSED;
}

static int answer_weight(struct control *control, const struct arguments *order, struct bytes *answer) {
    const char *weight = order->operands_count > 1 ? order->operands[1] : NULL;
    bool done = servers_weigh(&control->program, order->operands[0], weight, answer);
    return done ? ADMIN_DONE : ADMIN_REFUSED;
}

struct order {
    int (*answer)(struct control *control, const struct arguments *order, struct bytes *answer);
    bool changes; /* something: the log tells who wanted it */
};

static const struct order orders[COMMANDS_COUNT] = {
    [COMMAND_CTL_STATUS] = {answer_status, false},
    [COMMAND_CTL_GENERATIONS] = {answer_generations, false},
    [COMMAND_CTL_SESSIONS] = {NULL, false}, /* these two are obeyed bit by bit */
    [COMMAND_CTL_KILL] = {NULL, true},
    [COMMAND_CTL_METRICS] = {answer_metrics, false},
    [COMMAND_CTL_RELOAD] = {answer_reload, true},
    [COMMAND_CTL_PLAN] = {answer_plan, false},
    [COMMAND_CTL_ROLLBACK] = {answer_rollback, true},
    [COMMAND_CTL_LOG_LEVEL] = {answer_log_level, true},
    [COMMAND_CTL_UPSTREAMS] = {answer_upstreams, false},
    [COMMAND_CTL_DRAIN] = {answer_drain, true},
    [COMMAND_CTL_DISABLE] = {answer_disable, true},
    [COMMAND_CTL_ENABLE] = {answer_enable, true},
    [COMMAND_CTL_WEIGHT] = {answer_weight, true},
};

/* Of these there is one at a time. */
static bool is_attempt(enum command command) {
    return command == COMMAND_CTL_RELOAD || command == COMMAND_CTL_PLAN || command == COMMAND_CTL_ROLLBACK;
}

/* The words as they were typed. */
static void log_order(const struct arguments *arguments, const struct admin_peer *peer) {
    const struct order *order = &orders[arguments->command];
    struct bytes line;
    bytes_init(&line);
    arguments_to_order(arguments, &line);
    for (char *tab = strchr(line.data, '\t'); tab != NULL; tab = strchr(tab, '\t')) {
        *tab = ' ';
    }
    log_write(order->changes ? LOG_INFO : LOG_DEBUG, "admin: %s, for user %u, process %u", line.data, peer->user,
              peer->process);
    bytes_finish(&line);
}

static int control_obey_line(void *argument, size_t client, char *line, const struct admin_peer *peer,
                             struct bytes *answer) {
    struct control *control = argument;
    struct arguments arguments;
    struct error error;
    if (!arguments_parse_order(&arguments, line, &error)) {
        bytes_printf(answer, "%s\n", error.text);
        return ADMIN_REFUSED;
    }
    if (control->attempting && is_attempt(arguments.command)) {
        return ADMIN_LATER;
    }
    log_order(&arguments, peer);
    if (arguments.command == COMMAND_CTL_SESSIONS || arguments.command == COMMAND_CTL_KILL) {
        return session_order_obey(&control->session_orders[client], &control->program.crew, (uint32_t)client,
                                  &arguments, answer);
    }
    return orders[arguments.command].answer(control, &arguments, answer);
}

static int control_go_on(void *argument, size_t client, struct bytes *answer) {
    struct control *control = argument;
    return session_order_go_on(&control->session_orders[client], answer);
}

static void control_forget(void *argument, size_t client) {
    struct control *control = argument;
    session_order_end(&control->session_orders[client]);
}

/* --- signals ---------------------------------------------------------------------------------------------------- */

static void control_report(struct control *control) {
    struct bytes text;
    bytes_init(&text);
    program_report(&control->program, REPORT_ALL, &text);
    log_raw(text.data, text.size);
    bytes_finish(&text);
}

static void control_obey(struct control *control, uint32_t signal_number) {
    if (signal_number == SIGTERM) {
        control_stop(control, false);
    } else if (signal_number == SIGINT) {
        control_stop(control, true);
    } else if (signal_number == SIGUSR1) {
        logs_reopen(&control->program.logs);
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

static uint64_t control_due_ms(const struct control *control) {
    if (control->signals != 0) {
        return 0;
    }
    uint64_t due_ms = earlier(control->manager.watch_at_ms, earlier(control->close_at_ms, control->abort_at_ms));
    return earlier(control->watch.due_ms, earlier(control->tend_at_ms, due_ms));
}

static int wait_until(uint64_t at_ms) {
    enum { WAIT_MAX_MS = 3600000 };
    uint64_t now = now_ms();
    if (at_ms == UINT64_MAX) {
        return -1;
    }
    return at_ms <= now ? 0 : at_ms - now > WAIT_MAX_MS ? WAIT_MAX_MS : (int)(at_ms - now);
}

/* 0: none. */
static uint32_t control_read_signal(const struct control *control) {
    struct signalfd_siginfo signal;
    return read(control->signal_fd, &signal, sizeof signal) == (ssize_t)sizeof signal ? signal.ssi_signo : 0;
}

static void control_obey_waiting(struct control *control) {
    uint32_t waiting = control->signals;
    control->signals = 0;
    for (uint32_t number = 1; number < 32; number++) {
        if ((waiting & UINT32_C(1) << number) != 0) {
            control_obey(control, number);
        }
    }
}

/* Says only "look again". */
static void read_event(int fd) {
    uint64_t value;
    ssize_t size = read(fd, &value, sizeof value);
    (void)size;
}

static void control_look_at_files(struct control *control, bool readable) {
    if (readable) {
        file_watch_read(&control->watch, now_ms());
    }
    const char *news = control->stopping ? NULL : file_watch_news(&control->watch, now_ms());
    if (news != NULL) {
        log_info("%s has changed", news);
        control_reload(control);
    }
}

/* systemd restarts us when it hears nothing for a while: it hears something only while every worker turns. */
static void control_show_life(struct control *control) {
    uint32_t worker;
    if (!service_manager_is_watch_due(&control->manager, now_ms())) {
        return;
    }
    if (crew_has_pulse(&control->program.crew, &worker)) {
        service_manager_live(&control->manager);
    } else {
        log_error("worker %u does not turn: systemd's watchdog is not told that all is well", worker);
    }
}

static void control_close_if_due(struct control *control) {
    if (control->close_at_ms <= now_ms()) {
        log_info("shutdown.drain_timeout is over: every session is closed");
        control_close_sessions(control);
    }
}

/* The signals that end it are obeyed, the others wait. */
static void control_turn_signals_apart(struct control *control) {
    uint32_t number = control_read_signal(control);
    if (number == SIGTERM || number == SIGINT) {
        control_obey(control, number);
    } else if (number != 0) {
        control->signals |= UINT32_C(1) << number;
    }
}

/* While a configuration is read and made, as long as a slow name server takes: operators, signals and checks of servers
 * do not wait for that. */
static void control_turn_apart(struct control *control) {
    struct program *program = &control->program;
    struct pollfd wanted[1 + ADMIN_POLLS_MAX] = {{.fd = control->signal_fd, .events = POLLIN}};
    uint64_t until_ms = UINT64_MAX;
    size_t admins = admin_poll(&program->admin, wanted + 1, &until_ms);
    int count = poll(wanted, 1 + admins, 0);
    if (count > 0 && wanted[0].revents != 0) {
        control_turn_signals_apart(control);
    }
    admin_turn(&program->admin, wanted + 1, admins, now_ms());
    keeper_turn(&program->keeper, now_ms());
    control_close_if_due(control);
}

/* Many times a second while an errand takes long. */
static void control_wait_for_errand(void *argument, bool apart) {
    struct control *control = argument;
    control_show_life(control);
    if (apart) {
        control_turn_apart(control);
    }
}

static void control_turn(struct control *control) {
    struct program *program = &control->program;
    enum { OTHERS = 4 };
    struct pollfd wanted[OTHERS + ADMIN_POLLS_MAX] = {{.fd = control->signal_fd, .events = POLLIN},
                                                      {.fd = program->crew.event_fd, .events = POLLIN},
                                                      {.fd = control->watch.fd, .events = POLLIN},
                                                      {.fd = program->keeper.poll_fd, .events = POLLIN}};
    uint64_t until_ms = control_due_ms(control);
    size_t admins = admin_poll(&program->admin, wanted + OTHERS, &until_ms);
    courtesy_end(&program->courtesy);
    int count = poll(wanted, OTHERS + admins, wait_until(until_ms));
    courtesy_begin(&program->courtesy);
    if (count > 0 && wanted[1].revents != 0) {
        read_event(wanted[1].fd);
    }
    if (count > 0 && wanted[0].revents != 0) {
        control_obey(control, control_read_signal(control));
    }
    control_obey_waiting(control);
    admin_turn(&program->admin, wanted + OTHERS, admins, now_ms());
    control_look_at_files(control, count > 0 && wanted[2].revents != 0);
    control->tend_at_ms = program_tend(program);
    control_show_life(control);
}

static void control_say_last(struct control *control) {
    control->abort_at_ms = now_ms() + LAST_WORDS_MS;
    while (admin_is_answering(&control->program.admin) && now_ms() < control->abort_at_ms) {
        control_turn(control);
    }
}

/* False: sessions did not end although they were closed. That is a bug, but it must not keep the process for ever. */
static bool control_loop(struct control *control) {
    while (!crew_has_ended(&control->program.crew)) {
        control_turn(control);
        control_close_if_due(control);
        if (control->abort_at_ms <= now_ms()) {
            log_error("some sessions do not end; leaving without them");
            return false;
        }
    }
    control_say_last(control);
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

/* While the first configuration is made, as long as a slow name server takes. Other signals wait until it serves. */
static void control_wait_at_start(void *argument, bool apart) {
    struct control *control = argument;
    struct pollfd wanted = {.fd = control->signal_fd, .events = POLLIN};
    (void)apart;
    if (poll(&wanted, 1, 0) <= 0) {
        return;
    }
    uint32_t number = control_read_signal(control);
    if (number == SIGTERM || number == SIGINT) {
        atomic_store(&control->program.stopping, true);
    } else if (number != 0) {
        control->signals |= UINT32_C(1) << number;
    }
}

/* Up to the first client. Takes over config. Returns the exit status: 0 when it serves, or when it was told to stop. */
static int control_start(struct control *control, struct config *config) {
    struct config_report report;
    bool logs_to_stderr = strcmp(config->log.error_target, "stderr") == 0;
    config_report_init(&report);
    errand_set_meanwhile(&control->program.errand, control_wait_at_start, control);
    control->serves = program_start(&control->program, config, &report);
    int status = 0;
    if (!control->serves && atomic_load(&control->program.stopping)) {
        log_info("told to stop before it was ready");
    } else if (!control->serves) {
        tell_failure(report.text.data, logs_to_stderr);
        status = report.errors_count > 0 ? 2 : 1;
    }
    config_report_finish(&report);
    return status;
}

int control_run(const struct control_options *options, struct config *config) {
    struct control control = {.options = options,
                              .tend_at_ms = 0,
                              .close_at_ms = UINT64_MAX,
                              .abort_at_ms = UINT64_MAX,
                              .signal_fd = signals_open()};
    file_watch_init(&control.watch);
    service_manager_init(&control.manager);
    const struct admin_service service = {
        .obey = control_obey_line, .go_on = control_go_on, .forget = control_forget, .argument = &control};
    program_init(&control.program, options->trace, &service);
    if (control.signal_fd < 0) {
        log_error("no file descriptor left to begin with: raise `ulimit -n` (systemd: LimitNOFILE=)");
        config_destroy(config);
        return 1;
    }
    int status = control_start(&control, config);
    if (control.serves) {
        reload_watch_set(&control.watch, &control.program, NULL);
        log_info("ready");
        service_manager_ready(&control.manager, "Generation 1 is serving");
        errand_set_meanwhile(&control.program.errand, control_wait_for_errand, &control);
        if (!control_loop(&control)) {
            _exit(1);
        }
        errand_set_meanwhile(&control.program.errand, NULL, NULL);
    }
    file_watch_finish(&control.watch);
    service_manager_finish(&control.manager);
    program_finish(&control.program);
    close(control.signal_fd);
    if (status == 0) {
        log_info("stopped");
    }
    return status;
}
