#include "program/difference.h"

#include "config/diff.h"

#include <string.h>

/* --- files ------------------------------------------------------------------------------------------------------ */

/* Below the folder of the configuration a path is told from there. */
static void append_path(struct bytes *out, const char *folder, char sign, const char *path) {
    size_t size = strlen(folder);
    bool below = strncmp(path, folder, size) == 0 && path[size] == '/';
    const char *rest = below ? path + size + 1 : path;
    bytes_append_char(out, ' ');
    bytes_append_char(out, sign);
    bytes_append_escaped(out, rest, strlen(rest));
}

static const struct config_address_file *find_address_file(const struct config *config, const char *path) {
    for (size_t i = 0; i < config->address_files_count; i++) {
        if (strcmp(config->address_files[i].path, path) == 0) {
            return &config->address_files[i];
        }
    }
    return NULL;
}

/* Which files there are stands in the listeners' rules. */
static void compare_address_files(const struct config *before, const struct config *next, struct bytes *out) {
    for (size_t i = 0; i < next->address_files_count; i++) {
        const struct config_address_file *file = &next->address_files[i];
        const struct config_address_file *old = find_address_file(before, file->path);
        if (old != NULL && old->hash != file->hash) {
            append_path(out, next->folder, '~', file->path);
        }
    }
}

static void compare_files(const struct generation *before, const struct generation *next, struct bytes *out) {
    const char *folder = next->config->folder;
    for (size_t i = 0; i < next->files.count; i++) {
        const struct fingerprint *file = &next->files.items[i];
        const struct fingerprint *old = fingerprints_find(&before->files, file->path);
        if (old == NULL || old->value != file->value) {
            append_path(out, folder, old == NULL ? '+' : '~', file->path);
        }
    }
    for (size_t i = 0; i < before->files.count; i++) {
        const struct fingerprint *old = &before->files.items[i];
        if (fingerprints_find(&next->files, old->path) == NULL) {
            append_path(out, folder, '-', old->path);
        }
    }
}

/* --- addresses -------------------------------------------------------------------------------------------------- */

static const struct upstream *find_upstream(const struct generation *generation, const char *name) {
    for (size_t i = 0; i < generation->config->upstreams_count; i++) {
        if (strcmp(generation->upstreams[i].name, name) == 0) {
            return &generation->upstreams[i];
        }
    }
    return NULL;
}

static bool has_address(const struct upstream *upstream, const struct address *address) {
    for (size_t i = 0; i < upstream->servers_count; i++) {
        if (address_equal(&upstream->servers[i].address, address)) {
            return true;
        }
    }
    return false;
}

static bool has_names(const struct config_upstream *config) {
    for (size_t i = 0; i < config->servers_count; i++) {
        if (config->servers[i].host != NULL) {
            return true;
        }
    }
    return false;
}

/* Those of `from` that `to` lacks. */
static void append_missing(struct bytes *out, const struct upstream *from, const struct upstream *to, char sign) {
    for (size_t i = 0; i < from->servers_count; i++) {
        if (!has_address(to, &from->servers[i].address)) {
            bytes_append_text(out, out->size > 0 ? " " : "");
            bytes_append_char(out, sign);
            bytes_append_text(out, from->servers[i].address_text);
        }
    }
}

static void compare_upstream(const struct upstream *before, const struct upstream *next, struct bytes *out) {
    struct bytes changes;
    bytes_init(&changes);
    append_missing(&changes, next, before, '+');
    append_missing(&changes, before, next, '-');
    if (changes.size > 0) {
        bytes_printf(out, " %s(%s)", next->name, changes.data);
    }
    bytes_finish(&changes);
}

static void compare_addresses(const struct generation *before, const struct generation *next, struct bytes *out) {
    for (size_t i = 0; i < next->config->upstreams_count; i++) {
        const struct upstream *old = find_upstream(before, next->upstreams[i].name);
        if (old != NULL && has_names(&next->config->upstreams[i])) {
            compare_upstream(old, &next->upstreams[i], out);
        }
    }
}

/* --- public ----------------------------------------------------------------------------------------------------- */

static void append_kind(struct bytes *out, size_t begin, const char *name, struct bytes *changes) {
    if (changes->size > 0) {
        bytes_printf(out, "%s%s:%s", out->size > begin ? "; " : "", name, changes->data);
        bytes_clear(changes);
    }
}

bool generation_differs(const struct generation *before, const struct generation *next, struct bytes *out) {
    size_t begin = out->size;
    struct bytes changes;
    bytes_init(&changes);
    config_diff(before->config, next->config, out);
    compare_files(before, next, &changes);
    compare_address_files(before->config, next->config, &changes);
    append_kind(out, begin, "files", &changes);
    compare_addresses(before, next, &changes);
    append_kind(out, begin, "addresses", &changes);
    if (before->workers != next->workers && before->config->process.workers == next->config->process.workers) {
        bytes_printf(&changes, " %u->%u", before->workers, next->workers); /* the machine has changed */
        append_kind(out, begin, "workers", &changes);
    }
    bytes_finish(&changes);
    return out->size > begin;
}
