/* Any bytes as a configuration: there is a configuration or there are errors, never both and never neither; and what
 * was loaded can be written out and loaded again without a change. */
#include "base/check.h"
#include "config/load.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

static struct config *load(const char *text, size_t size) {
    struct config_report report;
    config_report_init(&report);
    struct config *config = config_load_text(text, size, "fuzz.yaml", &report);
    check((config == NULL) == (report.errors_count > 0));
    check((report.text.size > 0) == (report.errors_count + report.warnings_count > 0));
    config_report_finish(&report);
    return config;
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
    struct config *again = load(first.data, first.size);
    check(again != NULL);
    config_dump(again, &second);
    check(strcmp(first.data, second.data) == 0);
    config_destroy(again);
    config_destroy(config);
    bytes_finish(&first);
    bytes_finish(&second);
    return 0;
}
