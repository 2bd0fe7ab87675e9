#include "tests/support/residents.h"

#include "tests/support/deadline.h"
#include "tests/support/pattern.h"
#include "tests/support/peer.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PIECE = 700, TURN_MS = 5 };

static void resident_lose(struct residents *residents, struct resident *resident) {
    atomic_fetch_add(&residents->lost, 1);
    close(resident->fd);
    resident->fd = -1;
}

/* The next piece, when the last one has come back and its time has come. */
static void resident_send(struct residents *residents, struct resident *resident, uint64_t now_ms) {
    char bytes[PIECE];
    if (resident->fd < 0 || resident->received < resident->sent || resident->send_at_ms > now_ms) {
        return;
    }
    pattern_fill(resident->stream, resident->sent, bytes, PIECE);
    if (send(resident->fd, bytes, PIECE, MSG_NOSIGNAL | MSG_DONTWAIT) != PIECE) {
        resident_lose(residents, resident);
        return;
    }
    resident->sent += PIECE;
    resident->send_at_ms = now_ms + residents->pause_ms;
}

static void resident_receive(struct residents *residents, struct resident *resident) {
    char bytes[4 * PIECE];
    ssize_t size = recv(resident->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (size < 0 && errno == EAGAIN) {
        return;
    }
    if (size <= 0 || pattern_compare(resident->stream, resident->received, bytes, (size_t)size) != (size_t)size) {
        resident_lose(residents, resident);
        return;
    }
    resident->received += (uint64_t)size;
    atomic_fetch_add(&residents->bytes, (uint64_t)size);
}

static void residents_turn(struct residents *residents, struct pollfd *polls) {
    for (size_t index = 0; index < residents->count; index++) {
        polls[index] = (struct pollfd){.fd = residents->all[index].fd, .events = POLLIN};
    }
    poll(polls, residents->count, TURN_MS);
    for (size_t index = 0; index < residents->count; index++) {
        if (polls[index].revents != 0) {
            resident_receive(residents, &residents->all[index]);
        }
    }
}

static void *residents_run(void *argument) {
    struct residents *residents = argument;
    struct pollfd *polls = calloc(residents->count, sizeof(*polls));
    while (!atomic_load(&residents->stop)) {
        uint64_t now_ms = deadline_now_ms();
        for (size_t index = 0; index < residents->count; index++) {
            resident_send(residents, &residents->all[index], now_ms);
        }
        residents_turn(residents, polls);
    }
    free(polls);
    return NULL;
}

void residents_start(struct residents *residents, const char *address, size_t count, uint32_t pause_ms) {
    *residents = (struct residents){.count = count, .pause_ms = pause_ms};
    residents->all = calloc(count, sizeof(*residents->all));
    for (size_t index = 0; index < count; index++) {
        struct peer client;
        peer_connect(&client, address);
        residents->all[index] = (struct resident){
            .fd = client.fd, .stream = index + 1, .send_at_ms = deadline_now_ms() + index % (pause_ms + 1)};
    }
    cr_assert(pthread_create(&residents->thread, NULL, residents_run, residents) == 0);
}

static void residents_settle(struct residents *residents) {
    struct pollfd *polls = calloc(residents->count, sizeof(*polls));
    uint64_t deadline_ms = deadline_after(DEADLINE_MS);
    for (bool settled = false; !settled;) {
        residents_turn(residents, polls);
        settled = true;
        for (size_t index = 0; index < residents->count; index++) {
            const struct resident *resident = &residents->all[index];
            settled = settled && (resident->fd < 0 || resident->received == resident->sent);
        }
        cr_assert(deadline_left_ms(deadline_ms) > 0, "some bytes do not come back");
    }
    free(polls);
}

void residents_stop(struct residents *residents) {
    atomic_store(&residents->stop, true);
    pthread_join(residents->thread, NULL);
    residents_settle(residents);
    for (size_t index = 0; index < residents->count; index++) {
        struct peer client = {.fd = residents->all[index].fd, .name = "resident"};
        if (client.fd >= 0) {
            peer_end(&client);
            peer_expect_end(&client);
            peer_close(&client);
        }
    }
    free(residents->all);
}
