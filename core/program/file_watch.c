#include "program/file_watch.h"

#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

enum {
    QUIET_MS = 100,     /* so long after the last event */
    WRITING_MS = 1000,  /* the same while somebody writes: he will close the file */
    LATEST_MS = 2000,   /* but not longer after the first one */
    LINKS_MAX = 40,     /* symbolic links on the way to a file, as in the kernel */
    NAMES_MAX = 100000, /* a bound, not an aim */
};

#define FOLDER_EVENTS (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO)
#define FILE_EVENTS (IN_MODIFY | IN_CLOSE_WRITE)

/* --- what is watched -------------------------------------------------------------------------------------------- */

static bool names_have(const struct file_watch *watch, int folder, const char *name) {
    for (size_t i = 0; i < watch->names_count; i++) {
        if (watch->names[i].folder == folder && strcmp(watch->names[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* A folder that is not there is watched for where it would be: by its own folder. */
static bool watch_name(struct file_watch *watch, const char *folder, const char *name, bool is_pattern, bool is_last) {
    uint32_t events = FOLDER_EVENTS | (is_last ? FILE_EVENTS : 0) | IN_ONLYDIR | IN_MASK_ADD;
    int number = inotify_add_watch(watch->fd, folder[0] == 0 ? "/" : folder, events);
    if (number < 0) {
        return errno == ENOENT || errno == ENOTDIR || errno == EACCES;
    }
    if (names_have(watch, number, name)) {
        return true;
    }
    struct watched_name *names = reallocarray(watch->names, watch->names_count + 1, sizeof *names);
    char *copy = strdup(name);
    if (names != NULL) {
        watch->names = names;
    }
    if (names == NULL || copy == NULL || watch->names_count == NAMES_MAX) {
        free(copy);
        errno = ENOMEM;
        return false;
    }
    names[watch->names_count++] = (struct watched_name){.folder = number, .name = copy, .is_pattern = is_pattern};
    return true;
}

static bool watch_path(struct file_watch *watch, const char *path, int links);

/* Where a link leads, there is more to watch: the target, and from there the rest of the path. */
static bool watch_link(struct file_watch *watch, const char *folder, const char *link, const char *rest, int links) {
    char target[PATH_MAX], whole[2 * PATH_MAX];
    ssize_t size = readlink(link, target, sizeof target - 1);
    if (size < 0 || links == LINKS_MAX) {
        return true; /* it is no link */
    }
    target[size] = 0;
    bool absolute = target[0] == '/';
    int length = snprintf(whole, sizeof whole, "%s%s%s%s", absolute ? "" : folder, absolute ? "" : "/", target, rest);
    return length >= (int)sizeof whole || watch_path(watch, whole, links + 1);
}

/* Every name on the way may be replaced. */
static bool watch_path(struct file_watch *watch, const char *path, int links) {
    char folder[2 * PATH_MAX] = "";
    char prefix[2 * PATH_MAX] = "";
    const char *at = path;
    while (*at == '/') {
        size_t size = strcspn(++at, "/");
        size_t end = (size_t)(at - path) + size;
        if (size == 0 || end >= sizeof prefix) {
            return true;
        }
        snprintf(prefix, sizeof prefix, "%.*s", (int)end, path);
        const char *name = strrchr(prefix, '/') + 1;
        bool is_last = path[end] == 0;
        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
            (!watch_name(watch, folder, name, false, is_last) ||
             !watch_link(watch, folder, prefix, path + end, links))) {
            return false;
        }
        memcpy(folder, prefix, end + 1);
        at += size;
    }
    return true;
}

static bool watch_file(struct file_watch *watch, const struct config_file *file) {
    return watch_path(watch, file->path, 0) &&
           (file->pattern == NULL || watch_name(watch, file->path, file->pattern, true, true));
}

/* --- what is in them -------------------------------------------------------------------------------------------- */

static bool add_file(struct fingerprints *fingerprints, const char *folder, const char *path) {
    char whole[PATH_MAX];
    int length = snprintf(whole, sizeof whole, "%s%s%s", folder, folder[0] == 0 ? "" : "/", path);
    return length >= (int)sizeof whole || fingerprints_add(fingerprints, "", whole, fingerprint_of(whole));
}

static bool add_matches(struct fingerprints *fingerprints, const struct config_file *file) {
    DIR *folder = opendir(file->path);
    bool added = true;
    for (struct dirent *entry = folder == NULL ? NULL : readdir(folder); entry != NULL && added;
         entry = readdir(folder)) {
        if (fnmatch(file->pattern, entry->d_name, FNM_PERIOD) == 0) {
            added = add_file(fingerprints, file->path, entry->d_name);
        }
    }
    if (folder != NULL) {
        closedir(folder);
    }
    return added;
}

static bool add_files(struct fingerprints *fingerprints, const struct config_file *files, size_t count) {
    bool added = true;
    for (size_t i = 0; i < count && added; i++) {
        added =
            files[i].pattern == NULL ? add_file(fingerprints, "", files[i].path) : add_matches(fingerprints, &files[i]);
    }
    return added;
}

/* A file of `now` that was not there before, or was another one; NULL: none. */
static const struct fingerprint *find_news(const struct fingerprints *before, const struct fingerprints *now) {
    for (size_t i = 0; i < now->count; i++) {
        const struct fingerprint *old = fingerprints_find(before, now->items[i].path);
        if (old == NULL || old->value != now->items[i].value) {
            return &now->items[i];
        }
    }
    return NULL;
}

/* --- public ----------------------------------------------------------------------------------------------------- */

static void forget_names(struct file_watch *watch) {
    for (size_t i = 0; i < watch->names_count; i++) {
        free(watch->names[i].name);
    }
    free(watch->names);
    watch->names = NULL;
    watch->names_count = 0;
    if (watch->fd >= 0) {
        close(watch->fd);
        watch->fd = -1;
    }
}

static void forget_files(struct config_file *files, size_t count) {
    for (size_t i = 0; i < count; i++) {
        free((void *)(uintptr_t)files[i].path);
        free((void *)(uintptr_t)files[i].pattern);
    }
    free(files);
}

void file_watch_init(struct file_watch *watch) {
    *watch = (struct file_watch){.fd = -1, .due_ms = UINT64_MAX};
}

void file_watch_finish(struct file_watch *watch) {
    forget_names(watch);
    forget_files(watch->files, watch->files_count);
    fingerprints_finish(&watch->known);
    free(watch->news);
    file_watch_init(watch);
}

static bool files_have(const struct file_watch *watch, const struct config_file *file) {
    for (size_t i = 0; i < watch->files_count; i++) {
        const struct config_file *other = &watch->files[i];
        bool same_pattern = file->pattern == NULL || other->pattern == NULL
                                ? file->pattern == other->pattern
                                : strcmp(file->pattern, other->pattern) == 0;
        if (same_pattern && strcmp(file->path, other->path) == 0) {
            return true;
        }
    }
    return false;
}

static bool files_append(struct file_watch *watch, const struct config_file *file) {
    if (files_have(watch, file)) {
        return true;
    }
    struct config_file *files = reallocarray(watch->files, watch->files_count + 1, sizeof *files);
    if (files == NULL) {
        return false;
    }
    watch->files = files;
    files[watch->files_count] = (struct config_file){.path = strdup(file->path),
                                                     .pattern = file->pattern == NULL ? NULL : strdup(file->pattern)};
    const struct config_file *added = &files[watch->files_count++];
    return added->path != NULL && (added->pattern != NULL) == (file->pattern != NULL);
}

static bool files_replace(struct file_watch *watch, const struct config_file *files, size_t files_count, bool more) {
    struct config_file *before = watch->files;
    size_t before_count = watch->files_count;
    bool taken = true;
    watch->files = NULL;
    watch->files_count = 0;
    for (size_t i = 0; i < files_count && taken; i++) {
        taken = files_append(watch, &files[i]);
    }
    for (size_t i = 0; i < before_count && taken && more; i++) {
        taken = files_append(watch, &before[i]);
    }
    forget_files(before, before_count);
    return taken;
}

/* Not only found by a pattern: whoever has read files names each of them. */
static bool files_name(const struct file_watch *watch, const char *path) {
    for (size_t i = 0; i < watch->files_count; i++) {
        if (watch->files[i].pattern == NULL && strcmp(watch->files[i].path, path) == 0) {
            return true;
        }
    }
    return false;
}

/* What is known of files stays known. Those that have changed since they were read, or came to a folder since then, are
 * looked at soon: what happened to them before they were watched gave no sign. */
static bool know_new_files(struct file_watch *watch, uint64_t now_ms) {
    struct fingerprints now = {.items = NULL};
    bool added = add_files(&now, watch->files, watch->files_count);
    for (size_t i = 0; i < now.count; i++) {
        struct fingerprint *file = &now.items[i];
        const struct fingerprint *old = fingerprints_find(&watch->known, file->path);
        bool was_read = old != NULL || files_name(watch, file->path);
        uint64_t known = old != NULL ? old->value : was_read ? file->value : FINGERPRINT_MISSING;
        if (known != file->value) {
            file->value = known;
            watch->first_event_ms = now_ms;
            watch->due_ms = now_ms + QUIET_MS;
        }
    }
    fingerprints_finish(&watch->known);
    watch->known = now;
    return added;
}

static bool watch_files(struct file_watch *watch) {
    bool watched = true;
    forget_names(watch);
    watch->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    for (size_t i = 0; i < watch->files_count && watch->fd >= 0 && watched; i++) {
        watched = watch_file(watch, &watch->files[i]);
    }
    return watch->fd >= 0 && watched;
}

bool file_watch_set(struct file_watch *watch, const struct config_file *files, size_t files_count, bool more,
                    uint64_t now_ms, struct error *error) {
    errno = ENOMEM;
    if (files_replace(watch, files, files_count, more) && watch_files(watch) && know_new_files(watch, now_ms)) {
        return true;
    }
    error_set(error, "reload.watch: files cannot be watched: %s%s", error_name(errno),
              errno == ENOSPC || errno == EMFILE ? " (`sysctl fs.inotify.max_user_watches` and `max_user_instances`)"
                                                 : "");
    file_watch_finish(watch);
    return false;
}

void file_watch_know(struct file_watch *watch) {
    fingerprints_finish(&watch->known);
    add_files(&watch->known, watch->files, watch->files_count);
    watch->first_event_ms = 0;
    watch->due_ms = UINT64_MAX;
}

void file_watch_learn(struct file_watch *watch, const struct fingerprints *files) {
    fingerprints_copy(&watch->known, files); /* what memory is short for is learned late */
}

static bool is_interesting(const struct file_watch *watch, const struct inotify_event *event) {
    if ((event->mask & IN_Q_OVERFLOW) != 0) {
        return true;
    }
    for (size_t i = 0; i < watch->names_count && event->len > 0; i++) {
        const struct watched_name *name = &watch->names[i];
        if (name->folder == event->wd && (name->is_pattern ? fnmatch(name->name, event->name, FNM_PERIOD) == 0
                                                           : strcmp(name->name, event->name) == 0)) {
            return true;
        }
    }
    return false;
}

static void note_event(struct file_watch *watch, const struct inotify_event *event, uint64_t now_ms) {
    uint64_t first_ms = watch->first_event_ms == 0 ? now_ms : watch->first_event_ms;
    uint64_t due_ms = now_ms + ((event->mask & IN_MODIFY) != 0 ? WRITING_MS : QUIET_MS);
    watch->first_event_ms = first_ms;
    watch->due_ms = due_ms < first_ms + LATEST_MS ? due_ms : first_ms + LATEST_MS;
}

void file_watch_read(struct file_watch *watch, uint64_t now_ms) {
    _Alignas(struct inotify_event) char events[16 * 1024];
    ssize_t size;
    while ((size = read(watch->fd, events, sizeof events)) > 0) {
        for (const char *at = events; at < events + size;) {
            const struct inotify_event *event = (const struct inotify_event *)(const void *)at;
            if (is_interesting(watch, event)) {
                note_event(watch, event, now_ms);
            }
            at += sizeof *event + event->len;
        }
    }
}

const char *file_watch_news(struct file_watch *watch, uint64_t now_ms) {
    struct fingerprints now = {.items = NULL};
    if (watch->due_ms > now_ms) {
        return NULL;
    }
    watch->first_event_ms = 0;
    watch->due_ms = UINT64_MAX;
    if (!watch_files(watch)) { /* anew, and before the look: links may lead elsewhere, and folders may be others */
        log_error("reload.watch: files are not watched any more: %s", error_name(errno));
    }
    add_files(&now, watch->files, watch->files_count);
    const struct fingerprint *news = find_news(&watch->known, &now);
    const struct fingerprint *gone = find_news(&now, &watch->known);
    const struct fingerprint *found = news != NULL ? news : gone;
    free(watch->news);
    watch->news = found == NULL ? NULL : strdup(found->path);
    fingerprints_finish(&now);
    return watch->news;
}
