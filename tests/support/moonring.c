#include "tests/support/moonring.h"

#include "tests/support/deadline.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *moonring_program(void) {
    const char *program = getenv("MOONRING");
    return program == NULL ? "build/release/moonring" : program;
}

__attribute__((format(printf, 3, 0))) static void launch(struct moonring *moonring, process_prepare_fn *prepare,
                                                         const char *yaml, va_list arguments) {
    struct bytes text;
    bytes_init(&text);
    bytes_vprintf(&text, yaml, arguments);
    temporary_create(&moonring->folder);
    temporary_write(&moonring->folder, "moonring.yaml", "%s", text.data);
    bytes_finish(&text);
    char path[TEMPORARY_PATH_MAX];
    temporary_path(&moonring->folder, "moonring.yaml", path);
    process_start(&moonring->process, prepare, ARGUMENTS(moonring_program(), "run", "-c", path));
    moonring->address[0] = 0;
}

/* Copies what stands behind "listening on ". */
static void copy_address(const char *line, char address[ADDRESS_TEXT_MAX]) {
    static const char before[] = "listening on ";
    const char *start = strstr(line, before);
    cr_assert(start != NULL, "no address: %s", line);
    snprintf(address, ADDRESS_TEXT_MAX, "%s", start + strlen(before));
}

void moonring_wait_ready(struct moonring *moonring) {
    struct process *process = &moonring->process;
    copy_address(process_wait_line(process, &process->errors, "listening on "), moonring->address);
    process_wait_line(process, &process->errors, " info ready");
}

void moonring_launch(struct moonring *moonring, process_prepare_fn *prepare, const char *yaml, ...) {
    va_list arguments;
    va_start(arguments, yaml);
    launch(moonring, prepare, yaml, arguments);
    va_end(arguments);
}

void moonring_start_prepared(struct moonring *moonring, process_prepare_fn *prepare, const char *yaml, ...) {
    va_list arguments;
    va_start(arguments, yaml);
    launch(moonring, prepare, yaml, arguments);
    va_end(arguments);
    moonring_wait_ready(moonring);
}

void moonring_start(struct moonring *moonring, const char *yaml, ...) {
    va_list arguments;
    va_start(arguments, yaml);
    launch(moonring, NULL, yaml, arguments);
    va_end(arguments);
    moonring_wait_ready(moonring);
}

void moonring_start_web(struct moonring *moonring, struct peer_listener *server, const char *keys, const char *rest) {
    peer_listen(server, "127.0.0.1:0");
    moonring_start(moonring,
                   "listeners:\n"
                   "  web:\n"
                   "    bind: 127.0.0.1:0\n"
                   "    upstream: \"%s\"\n"
                   "    %s\n"
                   "%s",
                   server->address, keys, rest);
}

void moonring_expect_refusal(struct moonring *moonring, int exit_code, const char *text) {
    int code = process_wait(&moonring->process);
    const char *errors = process_text(&moonring->process.errors);
    cr_assert(code == exit_code, "exit code %d instead of %d; it wrote:\n%s", code, exit_code, errors);
    cr_assert(strstr(errors, text) != NULL, "it does not tell \"%s\"; it wrote:\n%s", text, errors);
}

void moonring_stop(struct moonring *moonring) {
    process_signal(&moonring->process, SIGTERM);
    int code = process_wait(&moonring->process);
    cr_assert(code == 0, "moonring ended with %d; its last words:\n%s", code, process_last_words(&moonring->process));
}

void moonring_listener_address(struct moonring *moonring, const char *listener, size_t index,
                               char address[ADDRESS_TEXT_MAX]) {
    char wanted[128];
    snprintf(wanted, sizeof(wanted), "listener %s: listening on ", listener);
    const char *line = strstr(process_text(&moonring->process.errors), wanted);
    for (; line != NULL && index > 0; index--) {
        line = strstr(line + 1, wanted);
    }
    cr_assert(line != NULL, "listener %s does not listen on that many addresses", listener);
    copy_address(line, address);
    address[strcspn(address, "\n")] = 0;
}

/* --- reloads ------------------------------------------------------------------------------------------------------ */

/* Each attempt ends with one line, before which its report stands. */
const char *moonring_reload_again(struct moonring *moonring) {
    struct process *process = &moonring->process;
    process_signal(process, SIGHUP);
    const char *line = process_wait_line(process, &process->errors, " ms");
    cr_assert(strstr(line, " reload") != NULL, "no answer to a reload: %s", line);
    return line;
}

__attribute__((format(printf, 2, 0))) static const char *reload(struct moonring *moonring, const char *yaml,
                                                                va_list arguments) {
    struct bytes text;
    bytes_init(&text);
    bytes_vprintf(&text, yaml, arguments);
    temporary_write(&moonring->folder, "moonring.yaml", "%s", text.data);
    bytes_finish(&text);
    return moonring_reload_again(moonring);
}

const char *moonring_reload(struct moonring *moonring, const char *yaml, ...) {
    va_list arguments;
    va_start(arguments, yaml);
    const char *line = reload(moonring, yaml, arguments);
    va_end(arguments);
    cr_assert(strstr(line, " reloaded: generation ") != NULL, "%s", process_last_words(&moonring->process));
    return line;
}

void moonring_expect_reload_refused(struct moonring *moonring, const char *wanted, const char *yaml, ...) {
    struct process_stream *errors = &moonring->process.errors;
    size_t begin = errors->next;
    va_list arguments;
    va_start(arguments, yaml);
    const char *line = reload(moonring, yaml, arguments);
    va_end(arguments);
    cr_assert(strstr(line, " reload refused; ") != NULL, "%s", line);
    cr_assert(strstr(process_text(errors) + begin, wanted) != NULL, "it does not tell \"%s\":\n%s", wanted,
              process_text(errors) + begin);
}

/* --- the access log ---------------------------------------------------------------------------------------------- */

const char *moonring_wait_session(struct moonring *moonring) {
    return process_wait_line(&moonring->process, &moonring->process.output, "reason=");
}

/* A word ends at a blank or with the line. */
static bool line_has_word(const char *line, const char *word, size_t size) {
    for (const char *found = strstr(line, " "); found != NULL; found = strstr(found, " ")) {
        found++;
        if (strncmp(found, word, size) == 0 && (found[size] == ' ' || found[size] == 0)) {
            return true;
        }
    }
    return false;
}

const char *moonring_expect_session(struct moonring *moonring, const char *words) {
    const char *line = moonring_wait_session(moonring);
    while (*words != 0) {
        size_t size = strcspn(words, " ");
        cr_assert(line_has_word(line, words, size), "wants %.*s in the access log: %s", (int)size, words, line);
        words += size + strspn(words + size, " ");
    }
    return line;
}

uint64_t session_line_number(const char *line, const char *key) {
    char wanted[64];
    snprintf(wanted, sizeof(wanted), " %s=", key);
    const char *found = strstr(line, wanted);
    cr_assert(found != NULL, "no %s in: %s", key, line);
    return strtoull(found + strlen(wanted), NULL, 10);
}

/* --- counters ---------------------------------------------------------------------------------------------------- */

/* `name 3` and `name{labels} 3` count for `name`; no label has a blank. */
static double line_value(const char *line, const char *name) {
    size_t size = strlen(name);
    bool same = strncmp(line, name, size) == 0 && (line[size] == ' ' || line[size] == '{');
    return same ? strtod(line + strcspn(line, " "), NULL) : 0;
}

const char *moonring_report(struct moonring *moonring) {
    struct process *process = &moonring->process;
    size_t begin = process->errors.next;
    process_signal(process, SIGUSR2);
    process_wait_line(process, &process->errors, "# end");
    return process_text(&process->errors) + begin;
}

double report_counter(const char *report, const char *name) {
    double sum = 0;
    for (const char *line = report; *line != 0; line += strcspn(line, "\n"), line += *line != 0) {
        sum += line_value(line, name);
    }
    return sum;
}

double moonring_counter(struct moonring *moonring, const char *name) {
    return report_counter(moonring_report(moonring), name);
}

/* The last session that was told of: usually it explains why a counter is not what it should be. */
static const char *last_session(struct moonring *moonring) {
    const char *last = "";
    const char *found = strstr(process_text(&moonring->process.errors), "\nsession ");
    for (; found != NULL; found = strstr(found + 1, "\nsession ")) {
        last = found;
    }
    return last;
}

static void counter_pause(struct moonring *moonring, uint64_t deadline_ms, const char *name, double value,
                          double wanted) {
    cr_assert(deadline_left_ms(deadline_ms) > 0, "%s is %g, not %g%.500s", name, value, wanted, last_session(moonring));
    deadline_pause(20);
}

void moonring_wait_counter(struct moonring *moonring, const char *name, double wanted) {
    double value = moonring_counter(moonring, name);
    for (uint64_t deadline_ms = deadline_after(DEADLINE_MS); value < wanted;) {
        counter_pause(moonring, deadline_ms, name, value, wanted);
        value = moonring_counter(moonring, name);
    }
}

void moonring_wait_counter_is(struct moonring *moonring, const char *name, double wanted) {
    double value = moonring_counter(moonring, name);
    for (uint64_t deadline_ms = deadline_after(DEADLINE_MS); value != wanted;) {
        counter_pause(moonring, deadline_ms, name, value, wanted);
        value = moonring_counter(moonring, name);
    }
}
