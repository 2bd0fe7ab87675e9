#include "program/ctl.h"

#include "base/bytes.h"
#include "config/load.h"
#include "program/admin.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EXIT_WRONG = 2, EXIT_NOBODY = 3 };

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

static bool find_address(const struct ctl_request *request, struct address *address) {
    if (request->config_path != NULL) {
        return address_from_config(request->config_path, address);
    }
    return address_from_text(request->socket != NULL ? request->socket : ADMIN_ADDRESS_DEFAULT, address);
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

static bool receive_all(int fd, struct bytes *answer) {
    char piece[16 * 1024];
    ssize_t size;
    while ((size = recv(fd, piece, sizeof piece, 0)) > 0) {
        bytes_append(answer, piece, (size_t)size);
    }
    return size == 0 && !answer->failed;
}

/* The first line is the exit status. -1: it is none. */
static int answer_print(const struct bytes *answer) {
    char *rest;
    long status = strtol(answer->data, &rest, 10);
    if (rest == answer->data || *rest != '\n') {
        return -1;
    }
    fputs(rest + 1, status == 0 ? stdout : stderr);
    return (int)status;
}

static int ask(int fd, const char *order) {
    struct bytes line, answer;
    bytes_init(&line);
    bytes_init(&answer);
    bytes_printf(&line, "%s\n", order);
    bool heard = send_all(fd, line.data, line.size) && receive_all(fd, &answer);
    int status = heard ? answer_print(&answer) : -1;
    if (status < 0) {
        fprintf(stderr, "moonring: ctl: it went away without an answer\n");
    }
    bytes_finish(&line);
    bytes_finish(&answer);
    return status < 0 ? EXIT_NOBODY : status;
}

static int open_connection(const struct address *address) {
    char text[ADDRESS_TEXT_MAX];
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, &address->any, address->length) == 0) {
        return fd;
    }
    address_format(address, text, sizeof text);
    fprintf(stderr, "moonring: ctl: nobody answers at %s: %s (`admin: {bind: ...}` in the configuration says where)\n",
            text, error_name(errno));
    if (fd >= 0) {
        close(fd);
    }
    return -1;
}

int ctl_run(const struct ctl_request *request) {
    struct address address;
    if (!find_address(request, &address)) {
        return EXIT_WRONG;
    }
    int fd = open_connection(&address);
    if (fd < 0) {
        return EXIT_NOBODY;
    }
    int status = ask(fd, request->order);
    close(fd);
    return status;
}
