/* Lines about sessions: one at the end of each, and more if wanted. A worker formats its lines into a bounded queue of
 * its own; one thread writes them all. When a queue is full lines are dropped, counted, and the number is logged once
 * there is room again: a full disk or a stuck pipe never stops a worker. */
#ifndef MOONRING_ENGINE_ACCESS_LOG_H
#define MOONRING_ENGINE_ACCESS_LOG_H

#include "base/bytes.h"
#include "base/error.h"
#include "config/config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct access_log;
struct access_queue;

/* Which lines a session gets, beside the one at its end. */
struct access_lines {
    bool at_open;
    bool not_at_close;
    uint64_t every_us; /* 0: off */
    bool skip_empty;   /* none about a session without a byte, unless moonring has ended it */
    bool tcp_info;
};

/* What the kernel knows of both connections; negative: nothing. */
struct access_tcp {
    int64_t client_rtt_us;
    int64_t client_retransmits;
    int64_t server_rtt_us;
    int64_t server_retransmits;
};

/* Texts may contain anything: they are escaped. NULL and negative times mean: there is none, and are shown as `-` in
 * text, null in JSON. */
struct access_record {
    uint64_t time_ms;  /* of the event, since 1970 */
    const char *event; /* open, live or close */
    uint64_t id;
    uint32_t worker;
    const char *listener;
    const char *client;
    const char *upstream;
    const char *server;
    const char *server_address;
    uint32_t tries;
    int64_t connect_us;    /* from accept to the server's connection */
    int64_t first_byte_us; /* from accept to the server's first byte */
    int64_t duration_us;   /* from accept to the end */
    uint64_t from_client_bytes;
    uint64_t from_server_bytes;
    const char *reason;           /* of close */
    const char *ended_by;         /* of close */
    const char *error;            /* NULL: none */
    const struct access_tcp *tcp; /* NULL: nobody wants to know */
};

/* Opens the target (stdout, stderr, a path, or `syslog:` and the path of a socket) and starts the writer thread, which
 * calls thread_begins (NULL: nothing) first: to give up rights that its maker has; it has done so when this returns. */
struct access_log *access_log_create(const char *target, void (*thread_begins)(void), struct error *error);
/* As it was given. */
const char *access_log_target(const struct access_log *log);
/* Writes out what is queued, for at most two seconds, then ends the thread. NULL is fine. */
void access_log_destroy(struct access_log *log);
/* Opens a file target again by its path. Any thread. */
void access_log_reopen(struct access_log *log);

/* A queue for one worker, which belongs to the log. One thread at a time makes them. NULL when memory is short. */
struct access_queue *access_queue_create(struct access_log *log, enum config_access_format format);
/* One more holder; the maker is the first. When the last of them has released it, nothing more will be appended, and it
 * goes when all of it is written. On the thread that makes and destroys the log. */
struct access_queue *access_queue_hold(struct access_queue *queue);
void access_queue_release(struct access_queue *queue);
enum config_access_format access_queue_format(const struct access_queue *queue);
/* Appends a line, or drops it: then false. Never waits. Only the worker's thread. */
bool access_queue_write(struct access_queue *queue, const struct access_record *record);
uint64_t access_queue_lost(const struct access_queue *queue);
/* Lines that the target refused, of every queue that there was. Any thread. */
uint64_t access_log_lost(const struct access_log *log);
/* Every queue that was released has been written. Any thread. */
bool access_log_has_no_queue(const struct access_log *log);

/* Appends the record as a line, with its newline. */
void access_record_format(const struct access_record *record, enum config_access_format format, struct bytes *line);

#endif
