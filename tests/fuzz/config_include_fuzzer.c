/* Any bytes as two configurations of two files each, cut at bytes of 0: what is loaded stands in files that were read;
 * what is wrong is told in text and in JSON; and the difference of the two says nothing only when they are the same. */
#include "base/check.h"
#include "config/diff.h"
#include "config/load.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILES_COUNT = 4 };

static const char *const names[FILES_COUNT] = {"one.yaml", "one.d.yaml", "two.yaml", "two.d.yaml"};
static char folder[] = "/tmp/moonring-fuzz-XXXXXX";

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

static const char *path_of(const char *name, char path[static 64]) {
    snprintf(path, 64, "%s/%s", folder, name);
    return path;
}

static void folder_remove(void) {
    char path[64];
    for (size_t index = 0; index < FILES_COUNT; index++) {
        unlink(path_of(names[index], path));
    }
    rmdir(folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    check(mkdtemp(folder) != NULL);
    atexit(folder_remove);
    return 0;
}

static void file_write(const char *name, const uint8_t *bytes, size_t size) {
    char path[64];
    FILE *file = fopen(path_of(name, path), "wb");
    check(file != NULL);
    check(fwrite(bytes, 1, size, file) == size);
    fclose(file);
}

static bool was_read(const struct config *config, const char *path) {
    for (size_t index = 0; index < config->files_count; index++) {
        const struct config_file *file = &config->files[index];
        if (file->pattern == NULL && strcmp(file->path, path) == 0) {
            return true;
        }
    }
    return false;
}

static void places_check(const struct config *config) {
    for (size_t index = 0; index < config->listeners_count; index++) {
        check(was_read(config, config->listeners[index].place.file));
        check(config->listeners[index].place.line > 0);
    }
    for (size_t index = 0; index < config->upstreams_count; index++) {
        check(was_read(config, config->upstreams[index].place.file));
    }
}

static void report_check(const struct config_report *report, const char *path) {
    struct bytes json;
    bytes_init(&json);
    config_report_json(report, path, &json);
    check((report->json.size > 0) == (report->errors_count + report->warnings_count > 0));
    check((report->text.size > 0) == (report->json.size > 0));
    check(report->files_count > 0);
    bytes_finish(&json);
}

static struct config *load(const char *name) {
    char path[64];
    struct config_report report;
    config_report_init(&report);
    struct config *config = config_load_file(path_of(name, path), NULL, &report);
    check((config == NULL) == (report.errors_count > 0));
    report_check(&report, path);
    if (config != NULL) {
        places_check(config);
    }
    config_report_finish(&report);
    return config;
}

static void difference_check(const struct config *before, const struct config *after) {
    struct bytes text;
    struct bytes dumps[2];
    bytes_init(&text);
    bytes_init(&dumps[0]);
    bytes_init(&dumps[1]);
    config_dump(before, &dumps[0]);
    config_dump(after, &dumps[1]);
    bool differs = config_diff(before, after, &text);
    check(differs == (text.size > 0));
    check(!differs || strcmp(dumps[0].data, dumps[1].data) != 0);
    check(config_diff(after, before, &text) == differs);
    bytes_finish(&text);
    bytes_finish(&dumps[0]);
    bytes_finish(&dumps[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
    const uint8_t *end = input + size;
    for (size_t index = 0; index < FILES_COUNT; index++) {
        const uint8_t *cut = size > 0 ? memchr(input, 0, (size_t)(end - input)) : NULL;
        const uint8_t *piece_end = cut != NULL ? cut : end;
        file_write(names[index], input, (size_t)(piece_end - input));
        input = cut != NULL ? cut + 1 : end;
    }
    struct config *before = load(names[0]);
    struct config *after = load(names[2]);
    if (before != NULL && after != NULL) {
        difference_check(before, after);
    }
    config_destroy(before);
    config_destroy(after);
    return 0;
}
