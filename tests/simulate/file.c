#include "file.h"

#include "base/check.h"
#include "world.h"

#include <stdlib.h>

enum { FIRST_FD = 3 };

const char *file_kind_name(enum file_kind kind) {
    switch (kind) {
    case FILE_SOCKET:
        return "socket";
    case FILE_LISTENER:
        return "listening socket";
    case FILE_PIPE_READ:
        return "reading end of a pipe";
    case FILE_PIPE_WRITE:
        return "writing end of a pipe";
    case FILE_EVENT:
        return "event";
    }
    return "?";
}

static uint32_t *count_of(struct world *world, enum file_kind kind) {
    switch (kind) {
    case FILE_SOCKET:
        return &world->counts.sockets;
    case FILE_LISTENER:
        return &world->counts.listeners;
    case FILE_PIPE_READ:
    case FILE_PIPE_WRITE:
        return &world->counts.pipe_ends;
    case FILE_EVENT:
        return &world->counts.events;
    }
    return NULL;
}

static void files_grow(struct world *world) {
    world->files_capacity = world->files_capacity == 0 ? 1024 : world->files_capacity * 2;
    world->files = realloc(world->files, (size_t)world->files_capacity * sizeof(world->files[0]));
    check(world->files != NULL);
}

/* The connection of a connecting socket stands, or could not be made. */
static void file_connected(void *holder) {
    struct file *file = holder;
    if (file->connect.result == 0) {
        file->stream = file->connect.stream;
        file->stream->news = file_news;
        file->stream->holder = file;
    }
    file_news(file);
}

struct file *file_make(struct world *world, enum file_kind kind) {
    struct file *file = calloc(1, sizeof(*file));
    check(file != NULL);
    file->world = world;
    file->kind = kind;
    file->fd = FIRST_FD + world->files_count;
    file->refused_at = UINT64_MAX;
    list_init(&file->requests);
    link_init(&file->place.link);
    connect_init(&file->connect, world, file_connected, file);
    if (world->files_count == world->files_capacity) {
        files_grow(world);
    }
    world->files[world->files_count++] = file;
    (*count_of(world, kind))++;
    return file;
}

static void file_trace_peer(const struct file *file) {
    char text[ADDRESS_TEXT_MAX];
    if (file->world->options.trace != NULL) {
        address_format(&file->stream->other->address, text, sizeof(text));
        world_trace(file->world, "kernel fd %d: the connection of %s", file->fd, text);
    }
}

struct file *file_open_stream(struct world *world, struct stream *stream) {
    struct file *file = file_make(world, FILE_SOCKET);
    file->family = address_family(&stream->address);
    file->stream = stream;
    stream->news = file_news;
    stream->holder = file;
    file_trace_peer(file);
    return file;
}

struct file *file_get(struct world *world, int fd, const char *caller) {
    int index = fd - FIRST_FD;
    if (index < 0 || index >= world->files_count) {
        world_violation("%s(%d): there never was such a descriptor", caller, fd);
    }
    if (world->files[index] == NULL) {
        world_violation("%s(%d): the descriptor is closed", caller, fd);
    }
    return world->files[index];
}

struct file *file_get_kind(struct world *world, int fd, enum file_kind kind, const char *caller) {
    struct file *file = file_get(world, fd, caller);
    if (file->kind != kind) {
        world_violation("%s(%d): the descriptor is a %s, not a %s", caller, fd, file_kind_name(file->kind),
                        file_kind_name(kind));
    }
    return file;
}

static void pipe_drop(struct pipe *pipe) {
    if (pipe != NULL && --pipe->ends == 0) {
        free(pipe->bytes);
        free(pipe);
    }
}

static void file_release(struct file *file) {
    struct world *world = file->world;
    connect_stop(&file->connect);
    if (file->bound) {
        place_close(world, &file->place);
    }
    pipe_drop(file->pipe);
    world->files[file->fd - FIRST_FD] = NULL;
    (*count_of(world, file->kind))--;
    free(file);
}

void file_close(struct file *file, bool with_reset, const char *caller) {
    if (file->requests_count > 0) {
        world_violation("%s(%d): %u requests are still in flight on it", caller, file->fd, file->requests_count);
    }
    if (file->stream != NULL && with_reset) {
        stream_reset(file->stream);
    } else if (file->stream != NULL) {
        stream_close(file->stream);
    }
    file_release(file);
}

void files_finish(struct world *world) {
    for (int i = 0; i < world->files_count; i++) {
        struct file *file = world->files[i];
        if (file != NULL) {
            file_forget_requests(file);
            if (file->stream != NULL) {
                stream_close(file->stream);
            }
            file_release(file);
        }
    }
    free(world->files);
}
