/* The engine's descriptors in the fake: sockets, listening sockets, the ends of pipes, and events. */
#ifndef MOONRING_SIMULATE_FILE_H
#define MOONRING_SIMULATE_FILE_H

#include "base/list.h"
#include "place.h"
#include "stream.h"

#include <stdbool.h>
#include <stdint.h>

struct world;

enum file_kind { FILE_SOCKET, FILE_LISTENER, FILE_PIPE_READ, FILE_PIPE_WRITE, FILE_EVENT };

/* The bytes between the two ends of a pipe. Freed with the second of them. */
struct pipe {
    char *bytes; /* ours; a circle of `capacity` */
    uint32_t capacity;
    uint32_t head;
    uint32_t size;
    uint32_t ends;
};

struct file {
    struct world *world;
    enum file_kind kind;
    int fd;
    int family; /* of sockets */
    bool nonblocking;
    bool bound;
    struct list requests; /* struct request: the ones in flight */
    uint32_t requests_count;
    uint64_t posted_ns;     /* when the last completion of its requests comes: none made later comes before */
    uint64_t refused_at;    /* of a receive that found no buffer: how many had been given back by then */
    uint32_t refused_times; /* in a row, without one given back in between */
    struct stream *stream;  /* ours, of a connected socket */
    struct connect connect; /* of a socket */
    struct place place;     /* of a bound socket */
    struct pipe *pipe;
    uint64_t signals; /* of an event, not read yet */
};

/* A new descriptor. */
struct file *file_make(struct world *world, enum file_kind kind);
/* An open one of that kind, or a violation that names the caller. */
struct file *file_get(struct world *world, int fd, const char *caller);
struct file *file_get_kind(struct world *world, int fd, enum file_kind kind, const char *caller);
/* A socket for one end of a connection. */
struct file *file_open_stream(struct world *world, struct stream *stream);
/* Ends it for good. Nothing may be in flight. */
void file_close(struct file *file, bool with_reset, const char *caller);
/* Frees whatever is still open. */
void files_finish(struct world *world);
const char *file_kind_name(enum file_kind kind);

/* A send or a receive on it has not completed. Implemented by ring_fake.c, as are the next three. */
bool file_is_sending(struct file *file);
bool file_is_receiving(struct file *file);
/* Something that a request on the file may wait for has come. */
void file_news(void *file);
/* Forgets the requests that are still in flight, at the end of a world. */
void file_forget_requests(struct file *file);

#endif
