#include "tests/bench/ring_usage.h"

#include "base/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* All of them: one for each worker. */
static uint64_t counter_sum(const char *text, const char *name) {
    char begin[64];
    uint64_t sum = 0;
    size_t size = (size_t)snprintf(begin, sizeof begin, "\n%s{", name);
    for (const char *line = strstr(text, begin); line != NULL; line = strstr(line + size, begin)) {
        const char *value = strchr(line + size, ' ');
        sum += value == NULL ? 0 : strtoull(value, NULL, 10);
    }
    return sum;
}

static void answer_read(int fd, struct bytes *answer) {
    char piece[16384];
    ssize_t size;
    while ((size = recv(fd, piece, sizeof piece, 0)) > 0) {
        bytes_append(answer, piece, (size_t)size);
    }
}

struct ring_usage ring_usage_ask(const char *socket_path) {
    static const char order[] = "metrics\n";
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct bytes answer;
    bytes_init(&answer);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", socket_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) == 0 &&
        send(fd, order, sizeof order - 1, MSG_NOSIGNAL) == (ssize_t)sizeof order - 1) {
        answer_read(fd, &answer);
    }
    if (fd >= 0) {
        close(fd);
    }
    const struct ring_usage usage = {
        .system_calls = counter_sum(answer.data, "moonring_ring_system_calls_total"),
        .turns = counter_sum(answer.data, "moonring_ring_turns_total"),
        .submissions = counter_sum(answer.data, "moonring_ring_submissions_total"),
        .completions = counter_sum(answer.data, "moonring_ring_completions_total"),
        .receives = counter_sum(answer.data, "moonring_receives_total"),
        .receives_armed = counter_sum(answer.data, "moonring_receives_armed_total"),
        .accepts = counter_sum(answer.data, "moonring_sessions_opened_total"),
        .accepts_armed = counter_sum(answer.data, "moonring_accepts_armed_total"),
    };
    bytes_finish(&answer);
    return usage;
}
