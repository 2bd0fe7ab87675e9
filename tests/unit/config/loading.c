#include "loading.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct loading_result loading_from_bytes(const char *text, size_t size) {
    struct loading_result result;
    config_report_init(&result.report);
    /* From memory of exactly this size: a sanitizer sees a read beyond it. */
    char *exact = malloc(size);
    memcpy(exact, text, size);
    result.config = config_load_text(exact, size, "test.yaml", &result.report);
    free(exact);
    cr_assert_eq(result.config == NULL, result.report.errors_count > 0, "%s", result.report.text.data);
    return result;
}

struct loading_result loading_from(const char *text) {
    return loading_from_bytes(text, strlen(text));
}

void loading_finish(struct loading_result *result) {
    config_destroy(result->config);
    config_report_finish(&result->report);
}

struct config *loading_good(const char *text) {
    struct loading_result result = loading_from(text);
    cr_assert_not_null(result.config, "%s", result.report.text.data);
    config_report_finish(&result.report);
    return result.config;
}

bool loading_reports(const struct loading_result *result, const char *code, const char *message) {
    for (const char *line = result->report.text.data; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        const char *end = strchrnul(line, '\n');
        const char *found_code = memmem(line, (size_t)(end - line), code, strlen(code));
        if (found_code != NULL && memmem(found_code, (size_t)(end - found_code), message, strlen(message)) != NULL) {
            return true;
        }
    }
    return false;
}

bool loading_fails_with(const char *text, const char *code, const char *message) {
    struct loading_result result = loading_from(text);
    bool found = result.config == NULL && loading_reports(&result, code, message);
    if (!found) {
        fprintf(stderr, "%s\ngave:\n%s\n", text, result.report.text.data);
    }
    loading_finish(&result);
    return found;
}

char *loading_read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s", path);
    struct bytes bytes;
    bytes_init(&bytes);
    char part[4096];
    for (size_t count; (count = fread(part, 1, sizeof(part), file)) > 0;) {
        bytes_append(&bytes, part, count);
    }
    fclose(file);
    char *text = malloc(bytes.size + 1);
    memcpy(text, bytes.data, bytes.size + 1);
    *size = bytes.size;
    bytes_finish(&bytes);
    return text;
}
