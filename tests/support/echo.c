#include "tests/support/echo.h"

#include "tests/support/deadline.h"
#include "tests/support/pattern.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define COMMAND_HEAD "*2\r\n$4\r\nECHO\r\n$4000\r\n"
#define REPLY_HEAD "$4000\r\n"

enum {
    PAYLOAD = 4000,
    TAIL = 2, /* \r\n */
    COMMAND_SIZE = sizeof(COMMAND_HEAD) - 1 + PAYLOAD + TAIL,
    REPLY_SIZE = sizeof(REPLY_HEAD) - 1 + PAYLOAD + TAIL,
    ECHOES_MAX = 64,
};

void echo_open(struct echo *echo, const char *address, uint64_t stream, uint64_t ahead_max) {
    peer_connect(&echo->peer, address);
    echo->peer.send_stream = echo->peer.receive_stream = stream;
    echo->ahead_max = ahead_max;
}

bool echo_has_ended(const struct echo *echo) {
    return echo->peer.fd < 0;
}

static uint64_t echo_asked(const struct echo *echo) {
    return (echo->peer.sent + COMMAND_SIZE - 1) / COMMAND_SIZE;
}

uint64_t echo_answers(const struct echo *echo) {
    return echo->peer.received / REPLY_SIZE;
}

static bool echo_is_at_an_end(const struct echo *echo) {
    return echo->peer.sent % COMMAND_SIZE == 0;
}

bool echo_is_answered(const struct echo *echo) {
    return echo_is_at_an_end(echo) && echo->peer.received == echo_asked(echo) * REPLY_SIZE;
}

/* Writes the message with this number; returns its size. */
static size_t message_write(char message[COMMAND_SIZE], const char *head, uint64_t stream, uint64_t number) {
    size_t head_size = strlen(head);
    memcpy(message, head, head_size);
    pattern_fill(stream, number * PAYLOAD, message + head_size, PAYLOAD);
    memcpy(message + head_size + PAYLOAD, "\r\n", TAIL);
    return head_size + PAYLOAD + TAIL;
}

static void echo_end(struct echo *echo) {
    cr_assert(errno == 0 || errno == ECONNRESET || errno == EPIPE, "client: %m");
    peer_close(&echo->peer);
}

static void echo_ask(struct echo *echo) {
    char message[COMMAND_SIZE];
    struct peer *peer = &echo->peer;
    size_t size = message_write(message, COMMAND_HEAD, peer->send_stream, peer->sent / COMMAND_SIZE);
    size_t done = peer->sent % COMMAND_SIZE;
    ssize_t sent = send(peer->fd, message + done, size - done, MSG_NOSIGNAL);
    if (sent > 0) {
        peer->sent += (uint64_t)sent;
    } else if (errno != EAGAIN) {
        echo_end(echo);
    }
}

static void echo_check(struct echo *echo, const char *bytes, size_t size) {
    char message[COMMAND_SIZE];
    struct peer *peer = &echo->peer;
    cr_assert(peer->received + size <= echo_asked(echo) * REPLY_SIZE, "more answers than questions");
    for (size_t done = 0; done < size;) {
        size_t message_size = message_write(message, REPLY_HEAD, peer->receive_stream, echo_answers(echo));
        size_t at = peer->received % REPLY_SIZE;
        size_t part = message_size - at < size - done ? message_size - at : size - done;
        cr_assert(memcmp(message + at, bytes + done, part) == 0, "answer %lu to client %lu is wrong",
                  echo_answers(echo), peer->receive_stream);
        peer->received += part;
        done += part;
    }
}

static void echo_hear(struct echo *echo) {
    char bytes[65536];
    errno = 0;
    ssize_t size = recv(echo->peer.fd, bytes, sizeof(bytes), 0);
    if (size > 0) {
        echo_check(echo, bytes, (size_t)size);
    } else if (size == 0 || errno != EAGAIN) {
        echo_end(echo);
    }
}

static bool echo_may_ask(const struct echo *echo, bool settles) {
    uint64_t answered = echo_answers(echo) * COMMAND_SIZE;
    return settles ? !echo_is_at_an_end(echo) : echo->peer.sent < answered + echo->ahead_max;
}

/* True when something moved. */
static bool echoes_turn(struct echo *echoes, size_t count, bool settles, int milliseconds) {
    struct pollfd polls[ECHOES_MAX];
    cr_assert(count <= ECHOES_MAX);
    for (size_t index = 0; index < count; index++) {
        short events = (short)(POLLIN | (echo_may_ask(&echoes[index], settles) ? POLLOUT : 0));
        polls[index] = (struct pollfd){.fd = echoes[index].peer.fd, .events = events};
    }
    bool moved = poll(polls, count, milliseconds) > 0;
    for (size_t index = 0; index < count && moved; index++) {
        if ((polls[index].revents & (POLLIN | POLLERR | POLLHUP)) != 0) {
            echo_hear(&echoes[index]);
        }
        if ((polls[index].revents & POLLOUT) != 0 && !echo_has_ended(&echoes[index])) {
            echo_ask(&echoes[index]);
        }
    }
    return moved;
}

void echoes_run(struct echo *echoes, size_t count, int milliseconds) {
    for (uint64_t deadline_ms = deadline_after(milliseconds); deadline_left_ms(deadline_ms) > 0;) {
        echoes_turn(echoes, count, false, deadline_left_ms(deadline_ms));
    }
}

static size_t echoes_waiting(const struct echo *echoes, size_t count) {
    size_t waiting = 0;
    for (size_t index = 0; index < count; index++) {
        waiting += !echo_has_ended(&echoes[index]) && !echo_is_answered(&echoes[index]);
    }
    return waiting;
}

void echoes_settle(struct echo *echoes, size_t count) {
    while (echoes_waiting(echoes, count) > 0) {
        cr_assert(echoes_turn(echoes, count, true, DEADLINE_MS), "%zu clients get no more answers",
                  echoes_waiting(echoes, count));
    }
}
