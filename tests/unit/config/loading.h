/* What the tests of the configuration share: a load from a text. */
#ifndef MOONRING_TESTS_CONFIG_LOADING_H
#define MOONRING_TESTS_CONFIG_LOADING_H

#include "config/load.h"

#include <stdbool.h>

struct loading_result {
    struct config *config; /* NULL when there were errors */
    struct config_report report;
};

/* `name` is "test.yaml". loading_finish frees all. */
struct loading_result loading_from(const char *text);
struct loading_result loading_from_bytes(const char *text, size_t size);
void loading_finish(struct loading_result *result);

/* Loads a text that must be right, and fails the test with the report when it is not. */
struct config *loading_good(const char *text);

/* One listener and one upstream, with more lines behind it. */
#define LOADING_SMALL                                                                                                  \
    "listeners:\n  web: {bind: ':8080', upstream: app}\nupstreams:\n  app: {servers: ['10.0.0.1:80']}\n"

/* Is there an error or a warning with this code, and does its message hold this text? */
bool loading_reports(const struct loading_result *result, const char *code, const char *message);
bool loading_fails_with(const char *text, const char *code, const char *message);

/* The whole file, with a 0 behind it; the caller frees it. The test fails when it cannot be read. */
char *loading_read_file(const char *path, size_t *size);

#endif
