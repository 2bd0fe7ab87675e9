#include "tests/support/crowd.h"

#include "tests/support/deadline.h"
#include "tests/support/pattern.h"
#include "tests/support/random.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SIZE_MAX_BYTES = 64 * 1024 };

const char *mishap_name(enum mishap mishap) {
    switch (mishap) {
    case MISHAP_REFUSED:
        return "refused";
    case MISHAP_RESET:
        return "reset";
    case MISHAP_LOST:
        return "cut short";
    case MISHAP_WRONG:
        return "with wrong bytes";
    case MISHAP_STUCK:
        return "stuck";
    case MISHAPS:
        break;
    }
    return "unknown";
}

/* Members come from addresses of their own: one has only 28,000 ports, and each session keeps one for a while. */
static int member_socket(const struct crowd_member *member) {
    const struct timeval limit = {.tv_sec = DEADLINE_MS / 1000};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f010000 + member->number)};
    int yes = 1;
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof(yes));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    bind(fd, (const struct sockaddr *)&from, sizeof(from));
    return fd;
}

/* What became of a call that failed. */
static enum mishap mishap_of(int number) {
    return number == EAGAIN || number == EINPROGRESS ? MISHAP_STUCK : MISHAP_RESET;
}

static bool exchange(int fd, uint64_t stream, size_t size, enum mishap *mishap) {
    char bytes[SIZE_MAX_BYTES];
    pattern_fill(stream, 0, bytes, size);
    if (send(fd, bytes, size, MSG_NOSIGNAL) != (ssize_t)size) {
        *mishap = mishap_of(errno);
        return false;
    }
    for (size_t received = 0; received < size;) {
        ssize_t part = recv(fd, bytes, size - received, 0);
        if (part <= 0) {
            *mishap = part == 0 ? MISHAP_LOST : mishap_of(errno);
            return false;
        }
        if (pattern_compare(stream, received, bytes, (size_t)part) != (size_t)part) {
            *mishap = MISHAP_WRONG;
            return false;
        }
        received += (size_t)part;
    }
    return true;
}

static bool end_in_order(int fd, enum mishap *mishap) {
    char byte;
    shutdown(fd, SHUT_WR);
    ssize_t size = recv(fd, &byte, 1, 0);
    *mishap = size > 0 ? MISHAP_WRONG : mishap_of(errno);
    return size == 0;
}

static bool session(const struct crowd_member *member, int fd, uint64_t stream, size_t size, enum mishap *mishap) {
    const struct address *address = &member->crowd->address;
    if (connect(fd, &address->any, address->length) < 0) {
        *mishap = errno == EINPROGRESS ? MISHAP_STUCK : MISHAP_REFUSED;
        return false;
    }
    return exchange(fd, stream, size, mishap) && end_in_order(fd, mishap);
}

static void *member_run(void *argument) {
    const struct crowd_member *member = argument;
    struct crowd *crowd = member->crowd;
    struct random random = {.state = member->number};
    while (!atomic_load(&crowd->stop)) {
        size_t size = random_between(&random, 1, crowd->size_max);
        enum mishap mishap = MISHAP_RESET;
        int fd = member_socket(member);
        if (session(member, fd, random_next(&random), size, &mishap)) {
            atomic_fetch_add(&crowd->sessions, 1);
            atomic_fetch_add(&crowd->bytes, size);
        } else {
            atomic_fetch_add(&crowd->mishaps[mishap], 1);
        }
        close(fd);
        deadline_pause((int)crowd->pause_ms);
    }
    return NULL;
}

void crowd_start(struct crowd *crowd, const char *address, size_t count, uint32_t size_max, uint32_t pause_ms) {
    struct error error;
    *crowd = (struct crowd){.size_max = size_max, .pause_ms = pause_ms, .count = count};
    cr_assert(size_max <= SIZE_MAX_BYTES);
    cr_assert(address_parse(&crowd->address, address, false, &error), "%s", error.text);
    crowd->members = calloc(count, sizeof(*crowd->members));
    for (size_t index = 0; index < count; index++) {
        struct crowd_member *member = &crowd->members[index];
        *member = (struct crowd_member){.crowd = crowd, .number = (uint32_t)index + 1};
        cr_assert(pthread_create(&member->thread, NULL, member_run, member) == 0);
    }
}

void crowd_stop(struct crowd *crowd) {
    atomic_store(&crowd->stop, true);
    for (size_t index = 0; index < crowd->count; index++) {
        pthread_join(crowd->members[index].thread, NULL);
    }
    free(crowd->members);
}

uint64_t crowd_mishaps(const struct crowd *crowd) {
    uint64_t sum = 0;
    for (int mishap = 0; mishap < MISHAPS; mishap++) {
        sum += atomic_load(&crowd->mishaps[mishap]);
    }
    return sum;
}
