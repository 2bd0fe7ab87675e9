#include "program/ctl.h"

#include "base/bytes.h"
#include "config/load.h"
#include "program/admin.h"
#include "program/table.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { EXIT_FAILED = 1, EXIT_WRONG = 2, EXIT_NOBODY = 3 };

/* How long it may be silent. A reload with many scripts on a busy machine takes its time. */
enum { SILENCE_S = 10, RELOAD_S = 120 };

/* --- where ------------------------------------------------------------------------------------------------------ */

static bool address_from_text(const char *text, struct address *address) {
    struct error error;
    if (!address_parse(address, text, false, &error)) {
        fprintf(stderr, "moonring: ctl: %s: %s\n", text, error.text);
        return false;
    }
    if (!address_is_unix(address)) {
        fprintf(stderr, "moonring: ctl: %s is no unix socket\n", text);
        return false;
    }
    return true;
}

static bool address_from_config(const char *path, struct address *address) {
    struct config_report report;
    config_report_init(&report);
    struct config *config = config_load_file(path, NULL, &report);
    bool found = config != NULL && config->admin.binds_count > 0;
    if (found) {
        *address = config->admin.binds[0].address;
    } else if (config == NULL) {
        fputs(report.text.data, stderr);
    } else {
        fprintf(stderr, "moonring: ctl: %s has no admin.bind\n", path);
    }
    config_destroy(config);
    config_report_finish(&report);
    return found;
}

static bool find_address(const struct arguments *arguments, struct address *address) {
    if (arguments->config_path != NULL) {
        return address_from_config(arguments->config_path, address);
    }
    return address_from_text(arguments->socket != NULL ? arguments->socket : ADMIN_ADDRESS_DEFAULT, address);
}

/* --- connecting ------------------------------------------------------------------------------------------------- */

/* What to do about it. */
static const char *connect_advice(int number) {
    if (number == ECONNREFUSED) {
        return "moonring has ended, or something else has left this file behind";
    }
    if (number == EACCES || number == EPERM) {
        return "you may not; ask as its owner, or as a member of its group (`admin: {bind: {address, mode, group}}`)";
    }
    if (number == EAGAIN || number == EINTR) {
        return "too many clients wait there already; try again";
    }
    return "is moonring running, and does its configuration have `admin: {bind: ...}`? -c FILE or --socket ADDR say "
           "where it listens";
}

static int patience_s(enum command order) {
    bool reloads = order == COMMAND_CTL_RELOAD || order == COMMAND_CTL_PLAN || order == COMMAND_CTL_ROLLBACK;
    return reloads ? RELOAD_S : SILENCE_S;
}

static int open_connection(const struct address *address, const char *text, enum command order) {
    const struct timeval patience = {.tv_sec = patience_s(order)};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience); /* connect(2) goes by this one, too */
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    }
    if (fd >= 0 && connect(fd, &address->any, address->length) == 0) {
        return fd;
    }
    int number = errno;
    fprintf(stderr, "moonring: ctl: nobody answers at %s: %s: %s\n", text, error_name(number), connect_advice(number));
    if (fd >= 0) {
        close(fd);
    }
    return -1;
}

/* --- asking ----------------------------------------------------------------------------------------------------- */

static bool send_all(int fd, const char *text, size_t size) {
    while (size > 0) {
        ssize_t sent = send(fd, text, size, MSG_NOSIGNAL);
        if (sent < 0) {
            return false;
        }
        text += sent;
        size -= (size_t)sent;
    }
    return true;
}

/* Whether it can be moonring that says this. */
static bool is_ours(const struct bytes *answer) {
    size_t size = strlen(ADMIN_BEGIN);
    return memcmp(answer->data, ADMIN_BEGIN, answer->size < size ? answer->size : size) == 0;
}

/* Up to the end, or as far as it is moonring's. Returns 0 or errno. */
static int receive_all(int fd, struct bytes *answer) {
    char piece[16 * 1024];
    for (;;) {
        ssize_t size = recv(fd, piece, sizeof piece, 0);
        if (size <= 0) {
            return size == 0 ? 0 : errno;
        }
        bytes_append(answer, piece, (size_t)size);
        if (answer->failed) {
            return ENOMEM;
        }
        if (!is_ours(answer)) {
            return 0;
        }
    }
}

/* --- answers ---------------------------------------------------------------------------------------------------- */

/* Takes the last line off. -1: it is not the one that ends an answer. */
static int answer_take_status(struct bytes *answer) {
    char *line = answer->data + answer->size;
    if (answer->size == 0 || line[-1] != '\n') {
        return -1;
    }
    do {
        line--;
    } while (line > answer->data && line[-1] != '\n');
    if (strncmp(line, ADMIN_END, strlen(ADMIN_END)) != 0) {
        return -1;
    }
    *line = 0;
    answer->size = (size_t)(line - answer->data);
    return atoi(line + strlen(ADMIN_END));
}

static int answer_print(const char *text, int status, bool json) {
    FILE *stream = status == 0 ? stdout : stderr;
    struct bytes aligned;
    bytes_init(&aligned);
    if (!json) {
        table_align(text, &aligned);
    }
    bool printed = fputs(json ? text : aligned.data, stream) >= 0 && fflush(stream) == 0;
    bytes_finish(&aligned);
    return printed || status != 0 ? status : EXIT_FAILED;
}

/* It was not an answer, or not all of one. */
static int answer_refuse(const struct bytes *answer, int failure, enum command order, const char *where) {
    char heard[64] = "";
    for (size_t i = 0, used = 0; i < answer->size && i < 10; i++) {
        used += bytes_escape(answer->data[i], heard + used);
        heard[used] = 0;
    }
    if (!is_ours(answer)) {
        fprintf(stderr, "moonring: ctl: who answers at %s is not moonring; it says \"%s...\"\n", where, heard);
    } else if (failure == EAGAIN) {
        fprintf(stderr,
                "moonring: ctl: %s takes the order and is silent for %d s: it is stopped, very busy (with a reload?), "
                "or not moonring\n",
                where, patience_s(order));
    } else {
        fprintf(stderr, "moonring: ctl: %s went away before the end of its answer: %s\n", where,
                failure == 0 ? "it has ended, does not know this order (another version?), or had too many clients"
                             : error_name(failure));
    }
    return EXIT_NOBODY;
}

static int ask(int fd, const struct arguments *arguments, const char *where) {
    struct bytes line, answer;
    bytes_init(&line);
    bytes_init(&answer);
    arguments_to_order(arguments, &line);
    bytes_append_char(&line, '\n');
    int failure = send_all(fd, line.data, line.size) ? receive_all(fd, &answer) : errno;
    int status = failure == 0 && is_ours(&answer) ? answer_take_status(&answer) : -1;
    if (status >= 0) {
        const char *text = strchr(answer.data, '\n');
        status = answer_print(text == NULL ? "" : text + 1, status, arguments->given[OPTION_JSON] != NULL);
    } else {
        status = answer_refuse(&answer, failure, arguments->command, where);
    }
    bytes_finish(&line);
    bytes_finish(&answer);
    return status;
}

int ctl_run(const struct arguments *arguments) {
    struct address address;
    char where[ADDRESS_TEXT_MAX];
    if (!find_address(arguments, &address)) {
        return EXIT_WRONG;
    }
    address_format(&address, where, sizeof where);
    int fd = open_connection(&address, where, arguments->command);
    if (fd < 0) {
        return EXIT_NOBODY;
    }
    int status = ask(fd, arguments, where);
    close(fd);
    return status;
}
