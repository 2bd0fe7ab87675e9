/* Any bytes as two files of addresses, cut at the first byte of 0: one is allowed, one denied. They are loaded if and
 * only if each line is good, and then they mean what the plainest reading of them means. */
#include "base/admission.h"
#include "base/check.h"
#include "config/load.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RULES_MAX = 200, LINE_MAX = 100 };

static const char *const names[] = {"allow.txt", "deny.txt"};
static char folder[] = "/tmp/moonring-fuzz-XXXXXX";
static char yaml[512];

/* What the files say, a rule for each line that says something. */
struct model {
    struct admission_rule rules[RULES_MAX];
    size_t count;
    bool is_good; /* every line is */
    bool is_full;
};

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

static const char *path_of(const char *name, char path[static 64]) {
    snprintf(path, 64, "%s/%s", folder, name);
    return path;
}

static void folder_remove(void) {
    char path[64];
    unlink(path_of(names[0], path));
    unlink(path_of(names[1], path));
    rmdir(folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    check(mkdtemp(folder) != NULL);
    atexit(folder_remove);
    snprintf(yaml, sizeof(yaml),
             "listeners:\n"
             "  both: {bind: ':1', upstream: '10.0.0.1:80', allow: 'file:%s/allow.txt', deny: 'file:%s/deny.txt'}\n"
             "  deny: {bind: ':2', upstream: '10.0.0.1:80', deny: 'file:%s/deny.txt'}\n",
             folder, folder, folder);
    return 0;
}

static void file_write(const char *name, const uint8_t *bytes, size_t size) {
    char path[64];
    FILE *file = fopen(path_of(name, path), "wb");
    check(file != NULL);
    check(fwrite(bytes, 1, size, file) == size);
    fclose(file);
}

/* ---- the model ---- */

static void model_add_line(struct model *model, const char *line, size_t size, bool allows) {
    char text[LINE_MAX + 1] = "";
    struct error error;
    size_t used = 0;
    bool is_behind = false; /* a blank behind the address */
    for (size_t index = 0; index < size && line[index] != '#'; index++) {
        bool is_blank = line[index] == ' ' || line[index] == '\t' || line[index] == '\r';
        if (!is_blank && (is_behind || line[index] == 0 || used == LINE_MAX)) {
            model->is_good = false;
            return;
        }
        is_behind = is_blank && used > 0;
        text[used] = is_blank ? 0 : line[index];
        used += !is_blank;
    }
    text[used] = 0;
    if (used == 0) {
        return;
    }
    struct admission_rule rule = {.allows = allows};
    model->is_good = model->is_good && cidr_parse(&rule.cidr, text, &error);
    model->is_full = model->count == RULES_MAX;
    if (!model->is_full) {
        model->rules[model->count++] = rule;
    }
}

static void model_add(struct model *model, const uint8_t *bytes, size_t size, bool allows) {
    const char *at = (const char *)bytes;
    const char *end = at + size;
    while (at < end && !model->is_full) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *line_end = newline != NULL ? newline : end;
        model_add_line(model, at, (size_t)(line_end - at), allows);
        at = line_end + (newline != NULL);
    }
}

static bool holds(const struct cidr *cidr, const struct cidr_ip *ip) {
    return cidr_compare_ip(&cidr->first, ip) <= 0 && cidr_compare_ip(ip, &cidr->last) <= 0;
}

/* Of two blocks that hold one address: the smaller one lies in the other. */
static bool is_smaller(const struct cidr *one, const struct cidr *other) {
    return cidr_compare_ip(&one->first, &other->first) > 0 || cidr_compare_ip(&one->last, &other->last) < 0;
}

static bool model_allows(const struct model *model, bool with_allow, const struct cidr_ip *ip) {
    const struct admission_rule *best = NULL;
    for (size_t index = 0; index < model->count; index++) {
        const struct admission_rule *rule = &model->rules[index];
        if ((rule->allows && !with_allow) || !holds(&rule->cidr, ip)) {
            continue;
        }
        bool wins = best == NULL || is_smaller(&rule->cidr, &best->cidr) ||
                    (!rule->allows && !is_smaller(&best->cidr, &rule->cidr));
        best = wins ? rule : best;
    }
    return best != NULL ? best->allows : !with_allow;
}

/* ---- the comparison ---- */

static void compare_at(const struct config *config, const struct model *model, const struct cidr_ip *ip) {
    check(admission_allows(config->listeners[0].admission, ip) == model_allows(model, true, ip));
    check(admission_allows(config->listeners[1].admission, ip) == model_allows(model, false, ip));
}

/* At each end of a block, and right behind it. */
static void compare(const struct config *config, const struct model *model) {
    for (size_t index = 0; index < model->count; index++) {
        struct cidr_ip behind = model->rules[index].cidr.last;
        compare_at(config, model, &model->rules[index].cidr.first);
        compare_at(config, model, &model->rules[index].cidr.last);
        if (cidr_next_ip(&behind)) {
            compare_at(config, model, &behind);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
    static struct model model;
    const uint8_t *cut = size > 0 ? memchr(input, 0, size) : NULL;
    size_t first_size = cut != NULL ? (size_t)(cut - input) : size;
    const uint8_t *second = cut != NULL ? cut + 1 : input + size;
    size_t second_size = (size_t)(input + size - second);
    struct config_report report;
    file_write(names[0], input, first_size);
    file_write(names[1], second, second_size);
    model.count = 0;
    model.is_good = true;
    model.is_full = false;
    model_add(&model, input, first_size, true);
    model_add(&model, second, second_size, false);
    config_report_init(&report);
    struct config *config = config_load_text(yaml, strlen(yaml), "/nowhere/fuzz.yaml", &report);
    check((config == NULL) == (report.errors_count > 0));
    check(model.is_full || (config != NULL) == model.is_good);
    if (config != NULL && !model.is_full) {
        compare(config, &model);
    }
    config_report_finish(&report);
    config_destroy(config);
    return 0;
}
