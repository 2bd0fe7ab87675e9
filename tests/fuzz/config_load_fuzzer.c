/* Any bytes as a configuration: there is a configuration or there are errors, never both and never neither; and what
 * was loaded can be written out and loaded again without a change, parameters of filters included. What aliases made
 * too large for a file is left alone. Some variables are set: MOONRING_A, MOONRING_B, MOONRING_EMPTY. */
#include "base/check.h"
#include "config/diff.h"
#include "config/load.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_SIZE_MAX = 4 << 20 };

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    setenv("MOONRING_A", "10", 1);
    setenv("MOONRING_B", "x: [y] # $$ ${z} \" \\", 1);
    setenv("MOONRING_EMPTY", "", 1);
    return 0;
}

static struct config *load(const char *text, size_t size) {
    struct config_report report;
    config_report_init(&report);
    struct config *config = config_load_text(text, size, "/nowhere/fuzz.yaml", &report);
    check((config == NULL) == (report.errors_count > 0));
    check((report.text.size > 0) == (report.errors_count + report.warnings_count > 0));
    config_report_finish(&report);
    return config;
}

/* The same says that nothing differs. */
static void differences_compare(const struct config *one, const struct config *other) {
    struct bytes text;
    bytes_init(&text);
    check(!config_diff(one, other, &text));
    check(!config_diff_fixed(one, other, &text));
    check(text.size == 0);
    bytes_finish(&text);
}

static void values_compare(const struct config_value *one, const struct config_value *other) {
    check(one->kind == other->kind);
    check(one->items_count == other->items_count);
    check((one->key == NULL) == (other->key == NULL));
    check(one->key == NULL || strcmp(one->key, other->key) == 0);
    if (one->kind == CONFIG_VALUE_TEXT) {
        check(strcmp(one->text, other->text) == 0);
        check(one->quoted == other->quoted);
    }
    for (size_t index = 0; index < one->items_count; index++) {
        check(one->items[index].place.line > 0);
        values_compare(&one->items[index], &other->items[index]);
    }
}

static void filters_compare(const struct config *one, const struct config *other) {
    check(one->listeners_count == other->listeners_count);
    for (size_t index = 0; index < one->listeners_count; index++) {
        const struct config_listener *listener = &one->listeners[index];
        check(listener->filters_count == other->listeners[index].filters_count);
        check(listener->filters_count > 0 || listener->upstream != CONFIG_NO_UPSTREAM);
        for (size_t filter = 0; filter < listener->filters_count; filter++) {
            values_compare(&listener->filters[filter].params, &other->listeners[index].filters[filter].params);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
    struct config *config = load((const char *)input, size);
    if (config == NULL) {
        return 0;
    }
    struct bytes first;
    struct bytes second;
    bytes_init(&first);
    bytes_init(&second);
    config_dump(config, &first);
    if (first.size <= FILE_SIZE_MAX) {
        struct config *again = load(first.data, first.size);
        check(again != NULL);
        config_dump(again, &second);
        check(strcmp(first.data, second.data) == 0);
        filters_compare(config, again);
        differences_compare(config, again);
        config_destroy(again);
    }
    config_destroy(config);
    bytes_finish(&first);
    bytes_finish(&second);
    return 0;
}
