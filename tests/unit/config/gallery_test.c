/* Every file of tests/gallery is a configuration and, behind the line `# expect:`, the exact report about it.
 * MOONRING_UPDATE=1 writes the reports anew: read the difference before you keep it. */
#include "loading.h"

#include "config/codes.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char gallery[] = "tests/gallery";
static const char marker[] = "# expect:\n";

struct exhibit {
    const char *name;
    char *text;
    size_t size;    /* of the configuration in front of the marker */
    char *expected; /* behind it */
};

static int is_yaml(const struct dirent *entry) {
    size_t length = strlen(entry->d_name);
    return length > 5 && strcmp(entry->d_name + length - 5, ".yaml") == 0;
}

/* Goes there, too: so that what an exhibit includes is found, and messages do not say where the gallery is. */
static size_t gallery_list(struct dirent ***entries) {
    cr_assert_eq(chdir(gallery), 0, "%s cannot be read: tests run in the root of the repository", gallery);
    int count = scandir(".", entries, is_yaml, alphasort);
    cr_assert_geq(count, 0);
    return (size_t)count;
}

static void gallery_free(struct dirent **entries, size_t count) {
    for (size_t index = 0; index < count; index++) {
        free(entries[index]);
    }
    free(entries);
}

static struct exhibit exhibit_open(const char *name) {
    struct exhibit exhibit;
    size_t size;
    exhibit.name = name;
    exhibit.text = loading_read_file(name, &size);
    char *found = memmem(exhibit.text, size, marker, strlen(marker));
    cr_assert_not_null(found, "%s has no line %s", exhibit.name, marker);
    exhibit.size = (size_t)(found - exhibit.text);
    exhibit.expected = found + strlen(marker);
    return exhibit;
}

/* The report as comment lines. */
static void comment_append(const char *text, struct bytes *out) {
    while (*text != 0) {
        const char *end = strchrnul(text, '\n');
        bytes_append_text(out, text == end ? "#" : "# ");
        bytes_append(out, text, (size_t)(end - text));
        bytes_append_char(out, '\n');
        text = *end != 0 ? end + 1 : end;
    }
}

static void exhibit_rewrite(const struct exhibit *exhibit, const char *report) {
    FILE *file = fopen(exhibit->name, "wb");
    cr_assert_not_null(file, "%s", exhibit->name);
    fwrite(exhibit->text, 1, exhibit->size, file);
    fprintf(file, "%s%s", marker, report);
    fclose(file);
}

static bool exhibit_is_right(const char *name) {
    struct exhibit exhibit = exhibit_open(name);
    struct config_report report;
    struct bytes comment;
    config_report_init(&report);
    bytes_init(&comment);
    struct config *config = config_load_text(exhibit.text, exhibit.size, name, &report);
    comment_append(report.text.data, &comment);
    bool right = strcmp(comment.data, exhibit.expected) == 0;
    if (!right && getenv("MOONRING_UPDATE") != NULL) {
        exhibit_rewrite(&exhibit, comment.data);
        right = true;
    } else if (!right) {
        fprintf(stderr, "%s expects:\n%sand gives:\n%s\n", exhibit.name, exhibit.expected, comment.data);
    }
    cr_expect_eq(config == NULL, report.errors_count > 0, "%s", name);
    cr_expect_gt(report.errors_count + report.warnings_count, 0, "nothing is wrong with %s", name);
    config_destroy(config);
    config_report_finish(&report);
    bytes_finish(&comment);
    free(exhibit.text);
    return right;
}

Test(gallery, every_wrong_file_gives_exactly_its_report, .timeout = 60) {
    struct dirent **entries;
    size_t count = gallery_list(&entries);
    size_t wrong = 0;
    for (size_t index = 0; index < count; index++) {
        wrong += !exhibit_is_right(entries[index]->d_name);
    }
    cr_expect_eq(wrong, 0, "%zu of %zu files", wrong, count);
    cr_expect_geq(count, 60);
    gallery_free(entries, count);
}

/* These need files that are too large to be read by people, too many or not there: load_test.c, include_test.c,
 * admission_test.c and hostile_test.c. */
static bool code_needs_no_exhibit(enum code code) {
    return code == CODE_MEMORY || code == CODE_FILE_SIZE || code == CODE_SCALAR_SIZE || code == CODE_ANCHORS ||
           code == CODE_INCLUDES || code == CODE_CIDR_FILE_SIZE;
}

static bool code_is_shown(enum code code, struct dirent **entries, size_t count) {
    char form[32];
    snprintf(form, sizeof(form), "[%s]", code_number(code));
    bool shown = false;
    for (size_t index = 0; index < count && !shown; index++) {
        struct exhibit exhibit = exhibit_open(entries[index]->d_name);
        shown = strstr(exhibit.expected, form) != NULL;
        free(exhibit.text);
    }
    return shown;
}

Test(gallery, shows_every_code, .timeout = 60) {
    struct dirent **entries;
    size_t count = gallery_list(&entries);
    for (enum code code = 0; code < CODES_COUNT; code++) {
        cr_expect(code_needs_no_exhibit(code) || code_is_shown(code, entries, count), "no file gives %s",
                  code_number(code));
    }
    gallery_free(entries, count);
}
