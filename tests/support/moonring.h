/* The program under test: build/release/moonring, or what the environment variable MOONRING names. */
#ifndef MOONRING_TESTS_MOONRING_H
#define MOONRING_TESTS_MOONRING_H

#include "tests/support/peer.h"
#include "tests/support/process.h"
#include "tests/support/temporary.h"

#include <stdint.h>

struct moonring {
    struct process process;
    struct temporary folder;        /* holds the configuration, moonring.yaml */
    char address[ADDRESS_TEXT_MAX]; /* the first one that it listens on */
};

const char *moonring_program(void);

/* Starts it with a configuration and waits until it is ready to serve. */
void moonring_start(struct moonring *moonring, const char *yaml, ...) __attribute__((format(printf, 2, 3)));
/* Starts it with one listener, `web`, in front of a scripted server. `keys` are more keys of the listener and `rest` is
 * more of the configuration; both may be "". */
void moonring_start_web(struct moonring *moonring, struct peer_listener *server, const char *keys, const char *rest);
/* moonring_start after `prepare` ran in its process. */
void moonring_start_prepared(struct moonring *moonring, process_prepare_fn *prepare, const char *yaml, ...)
    __attribute__((format(printf, 3, 4)));
/* Starts it without waiting: for what is not to become ready. */
void moonring_launch(struct moonring *moonring, process_prepare_fn *prepare, const char *yaml, ...)
    __attribute__((format(printf, 3, 4)));
/* Waits until a launched one is ready. */
void moonring_wait_ready(struct moonring *moonring);
/* Waits for its end with this exit code and checks that its errors contain `text`. */
void moonring_expect_refusal(struct moonring *moonring, int exit_code, const char *text);
/* SIGTERM; it must end with 0. All its sessions should be over. */
void moonring_stop(struct moonring *moonring);

/* Writes another configuration, tells it to reload, and waits for its word. Fails the test unless it is applied;
 * returns the line that says so. */
const char *moonring_reload(struct moonring *moonring, const char *yaml, ...) __attribute__((format(printf, 2, 3)));
/* The same, and it must be refused, with a report that has `text`. */
void moonring_expect_reload_refused(struct moonring *moonring, const char *text, const char *yaml, ...)
    __attribute__((format(printf, 3, 4)));
/* The same configuration again; returns the line that says what became of it. */
const char *moonring_reload_again(struct moonring *moonring);

/* The address with this index (from 0) on which a listener says it listens. */
void moonring_listener_address(struct moonring *moonring, const char *listener, size_t index,
                               char address[ADDRESS_TEXT_MAX]);

/* The next line of the access log, waited for. The configuration must leave the log where it is, on stdout. */
const char *moonring_wait_session(struct moonring *moonring);
/* The same, and the line must contain each of the words: `reason=client_fin ended_by=client`. Returns the line. */
const char *moonring_expect_session(struct moonring *moonring, const char *words);
/* The value of a key of such a line as a number. */
uint64_t session_line_number(const char *line, const char *key);

/* Asks with SIGUSR2. What it tells of itself is valid until the next call that reads its errors. */
const char *moonring_report(struct moonring *moonring);
/* All counters of that name in a report, added up. */
double report_counter(const char *report, const char *name);
/* Asks with SIGUSR2 and adds up all counters of that name, or the one whose labels are given too. */
double moonring_counter(struct moonring *moonring, const char *name);
/* The same, waiting until it is at least `wanted`. */
void moonring_wait_counter(struct moonring *moonring, const char *name, double wanted);
/* Waits until it is `wanted`. */
void moonring_wait_counter_is(struct moonring *moonring, const char *name, double wanted);

#endif
