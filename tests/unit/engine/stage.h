/* A ring on the real kernel, pairs of sockets, and requests that note what became of them. */
#ifndef MOONRING_TESTS_UNIT_ENGINE_STAGE_H
#define MOONRING_TESTS_UNIT_ENGINE_STAGE_H

#include "base/bytes.h"
#include "engine/ring.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PATTERN = 1 }; /* the stream of bytes that tests send (tests/support/pattern.h) */

enum { BUFFERS = 16, BUFFER_SIZE = 4096 };

struct stage {
    struct ring *ring;
    struct owner owner;   /* of all requests */
    struct list requests; /* those that have not been finished */
    struct owner *released;
    uint64_t now_us;
};

/* Fails the test when the ring cannot be made. */
void stage_open(struct stage *stage, const struct ring_options *options);
/* With BUFFERS of BUFFER_SIZE. */
void stage_open_plain(struct stage *stage);
/* As stage_open_plain on a kernel that lacks these features: `recv_limit,send_vectored`. */
void stage_open_without(struct stage *stage, const char *features);
/* Finishes all requests. Nothing may be in flight. */
void stage_close(struct stage *stage);
/* A short turn. */
void stage_turn(struct stage *stage);
/* A turn for what is there, without waiting. */
void stage_look(struct stage *stage);

/* Turns until the condition holds; fails the test when it does not in good time. */
#define stage_wait(stage, condition)                                                                                   \
    do {                                                                                                               \
        uint64_t deadline_ms = deadline_after(DEADLINE_MS / 2);                                                        \
        while (!(condition)) {                                                                                         \
            cr_assert_gt(deadline_left_ms(deadline_ms), 0, "waited in vain for: %s", #condition);                      \
            stage_turn(stage);                                                                                         \
        }                                                                                                              \
    } while (0)

struct request {
    struct op op;
    struct stage *stage;
    struct link link; /* in stage->requests */
    uint32_t completions;
    int first_result;
    int result;            /* of the last completion */
    bool more;             /* the last completion said so */
    struct bytes received; /* copied from the buffers, which went back at once */
    bool keeps_buffers;    /* they do not go back */
    uint16_t kept[64];
    uint32_t kept_count;
};

void request_init(struct request *request, struct stage *stage);
/* Needed only for one that does not live as long as the stage is open. */
void request_finish(struct request *request);
/* Turns until its last completion has come. Returns its result. */
int request_wait(struct request *request);

/* Receive with one request after another until `size` bytes have come, `limit` at a time. */
void request_receive_all(struct request *request, int fd, size_t size, size_t limit);
/* Sends a message and waits until the kernel has let go of it. Returns the result. */
int request_send(struct stage *stage, int fd, struct ring_message *message, bool zero_copy);
/* Cancels it and waits until it is over. Returns its result. */
int request_cancel(struct request *request);

/* Two connected ends. */
void sockets_open_unix(int sockets[2]);
void sockets_open_tcp(int sockets[2]);
void sockets_close(const int sockets[2]);
/* A listening TCP socket on a free port of 127.0.0.1. */
int listener_open(struct address *address);
/* A listening unix socket with an abstract name. */
int listener_open_unix(struct address *address);
/* Connects to it, and waits until that is done. */
int client_open(const struct address *address);

/* Writes bytes of the pattern from `offset` on, all of them. */
void socket_write(int fd, uint64_t offset, size_t size);
/* Writes bytes of the pattern from `offset` on until the socket takes no more. Returns how many. */
size_t socket_fill(int fd, uint64_t offset);
/* Reads until nothing is there. Returns how many bytes. */
size_t socket_drain(int fd);
/* Waits for size bytes, which must be those of the pattern from `offset` on. */
void socket_expect(int fd, uint64_t offset, size_t size);
/* Reads once, waiting. What read() returns; -errno when it fails. */
int socket_read(int fd);
/* The bytes must be those of the pattern from `offset` on. */
void expect_pattern(const char *bytes, size_t size, uint64_t offset);

size_t descriptors_count(void);
/* From now on the process may open this many more descriptors. Criterion itself needs some when the test is over. */
void descriptors_limit(size_t more);
void descriptors_unlimit(void);

#endif
