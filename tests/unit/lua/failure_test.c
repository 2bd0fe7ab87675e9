#include "lua/failure.h"

#include "lua/place.h"
#include "lua/source.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { HOUR_S = 3600 };

struct sums {
    const char *place; /* of interest; NULL: all */
    uint64_t count;
    size_t rows;
};

static void add_up(void *argument, const char *place, enum failure failure, uint64_t count) {
    struct sums *sums = argument;
    cr_assert_eq(failure, FAILURE_ERROR);
    if (sums->place == NULL || strcmp(place, sums->place) == 0) {
        sums->count += count;
        sums->rows++;
    }
}

static struct sums sums_of(struct failures *failures, const char *place) {
    struct sums sums = {.place = place};
    failures_visit(failures, add_up, &sums);
    return sums;
}

static void fail_at_lines(struct failures *failures, int first, int count, uint64_t now_s) {
    for (int line = first; line < first + count; line++) {
        char place[32];
        snprintf(place, sizeof(place), "a.lua:%d", line);
        failures_count(failures, FAILURE_ERROR, place, now_s * 1000000);
    }
}

Test(failure, has_a_row_for_each_of_the_first_places, .timeout = 10) {
    struct failures failures;
    failures_init(&failures);
    fail_at_lines(&failures, 1, 1000, 5);
    fail_at_lines(&failures, 1, 1000, 6);
    cr_assert_eq(sums_of(&failures, NULL).rows, FAILURE_PLACES + 1);
    cr_assert_eq(sums_of(&failures, "a.lua:1").count, 2);
    cr_assert_eq(sums_of(&failures, "a.lua:32").count, 2);
    cr_assert_eq(sums_of(&failures, "a.lua:33").rows, 0);
    cr_assert_eq(sums_of(&failures, "other").count, 2 * (1000 - FAILURE_PLACES));
    failures_finish(&failures);
}

Test(failure, of_an_old_place_leaves_its_row_but_not_the_sum, .timeout = 10) {
    struct failures failures;
    failures_init(&failures);
    fail_at_lines(&failures, 1, FAILURE_PLACES, 1);
    fail_at_lines(&failures, 1, 1, HOUR_S);
    fail_at_lines(&failures, 100, 1, 1 + HOUR_S);
    cr_assert_eq(sums_of(&failures, "a.lua:1").count, 2, "it failed a moment ago");
    cr_assert_eq(sums_of(&failures, "a.lua:2").rows, 0);
    cr_assert_eq(sums_of(&failures, "a.lua:100").count, 1);
    cr_assert_eq(sums_of(&failures, "other").count, 1);
    cr_assert_eq(sums_of(&failures, NULL).count, FAILURE_PLACES + 2);
    failures_finish(&failures);
}

/* --- the place ---------------------------------------------------------------------------------------------------- */

static const char *place_in(const char *text, const char *folder) {
    static char place[FAILURE_PLACE_SIZE];
    char first[] = "/etc/moonring/filters/guard.lua", second[] = "/opt/lua/a-rather-long-name/of/a-library/words.lua";
    struct source_file files[] = {{.path = first}, {.path = second}};
    const struct source source = {.files = files, .files_count = 2};
    struct place found = place_of_text(text, &source);
    if (found.file == NULL) {
        return "none";
    }
    place_format(&found, folder, place, sizeof(place));
    return place;
}

Test(failure, is_where_the_message_says, .timeout = 10) {
    const char *folder = "/etc/moonring";
    cr_expect_str_eq(place_in("filters/guard.lua:12: no luck\nstack traceback:\n\t...", folder),
                     "filters/guard.lua:12");
    cr_expect_str_eq(place_in("/etc/moonring/filters/guard.lua:3: no luck", folder), "filters/guard.lua:3");
    cr_expect_str_eq(place_in("...ters/guard.lua:12: no luck", folder), "filters/guard.lua:12");
    cr_expect_str_eq(place_in("...ther-long-name/of/a-library/words.lua:7: x", folder),
                     "/opt/lua/a-rather-long-name/of/a-library/words.lua:7");
    cr_expect_str_eq(
        place_in("no place\nstack traceback:\n\t[C]: in function 'error'\n\tfilters/guard.lua:4: in f\n", folder),
        "filters/guard.lua:4", "then the traceback knows it");
}

/* What scripts put into their messages must not become names of rows. */
Test(failure, is_not_where_only_the_message_claims_it, .timeout = 10) {
    static const char *const texts[] = {"user bob:12: not allowed",
                                        "filters/guard.lua: 12",
                                        "filters/guard.lua:-1: x",
                                        "guard.lu:1: x",
                                        ":1: x",
                                        "",
                                        "x\nfilters/guard.lua:1: x",
                                        "filters/guard.lua:99999999999: x"};
    for (size_t index = 0; index < sizeof(texts) / sizeof(texts[0]); index++) {
        cr_expect_str_eq(place_in(texts[index], NULL), "none", "%s", texts[index]);
    }
}
