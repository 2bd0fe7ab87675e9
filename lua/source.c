#include "lua/source.h"

#include "base/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void source_init(struct source *source) {
    *source = (struct source){.identity = HASH_START};
    bytes_init(&source->text);
    bytes_init(&source->path);
}

void source_finish(struct source *source) {
    for (size_t index = 0; index < source->files_count; index++) {
        free(source->files[index].path);
    }
    free(source->files);
    bytes_finish(&source->text);
    bytes_finish(&source->path);
}

/* The path as it will be opened. */
static const char *source_resolve(struct source *source, const char *folder, const char *path) {
    bytes_clear(&source->path);
    if (folder != NULL && folder[0] != 0 && path[0] != '/') {
        bytes_append_text(&source->path, folder);
        bytes_append_char(&source->path, '/');
    }
    bytes_append_text(&source->path, path);
    return source->path.data;
}

bool source_exists(struct source *source, const char *folder, const char *path) {
    struct stat status;
    return stat(source_resolve(source, folder, path), &status) == 0 && S_ISREG(status.st_mode);
}

static bool source_read_all(struct source *source, int fd, const char *path, struct error *error) {
    char piece[16 * 1024];
    ssize_t got;
    bytes_clear(&source->text);
    while ((got = read(fd, piece, sizeof(piece))) > 0 && source->text.size <= SOURCE_FILE_MAX) {
        bytes_append(&source->text, piece, (size_t)got);
    }
    if (got < 0) {
        return error_set(error, "%s: cannot be read: %s", path, error_name(errno));
    }
    if (source->text.size > SOURCE_FILE_MAX) {
        return error_set(error, "%s: is larger than %d MiB", path, SOURCE_FILE_MAX / (1024 * 1024));
    }
    return !source->text.failed || error_set(error, "%s: not enough memory to read it", path);
}

static bool source_remember(struct source *source, const char *path, struct error *error) {
    size_t count = source->files_count;
    struct source_file *files = reallocarray(source->files, count + 1, sizeof(*files));
    source->files = files != NULL ? files : source->files;
    char *copy = strdup(path);
    if (files == NULL || copy == NULL) {
        free(copy);
        return error_set(error, "%s: not enough memory to read it", path);
    }
    uint64_t hash = hash_add(HASH_START, source->text.data, source->text.size);
    files[count] = (struct source_file){.path = copy, .hash = hash};
    source->files_count++;
    source->identity = hash_add(source->identity, &hash, sizeof(hash));
    return true;
}

bool source_read(struct source *source, const char *folder, const char *path, struct error *error) {
    const char *resolved = source_resolve(source, folder, path);
    /* Not blocking: a path that names a pipe without a writer would make us wait for one. */
    int fd = open(resolved, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return error_set(error, "%s: cannot be opened: %s", path, error_name(errno));
    }
    struct stat status;
    bool good = fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
    good = good ? source_read_all(source, fd, path, error) : error_set(error, "%s: is not a regular file", path);
    close(fd);
    return good && source_remember(source, resolved, error);
}
