#include "config/nearest.h"

#include <criterion/criterion.h>

static const char *nearest_of(const char *text) {
    static const char *const words[] = {"upstream", "upstreams", "bind", "timeouts", "least_conn", "tcp"};
    struct nearest nearest;
    nearest_init(&nearest, text);
    for (size_t index = 0; index < sizeof(words) / sizeof(words[0]); index++) {
        nearest_offer(&nearest, words[index]);
    }
    return nearest.best != NULL ? nearest.best : "";
}

Test(nearest, finds_words_with_letters_swapped_dropped_added_and_replaced, .timeout = 10) {
    cr_expect_str_eq(nearest_of("upstraem"), "upstream");
    cr_expect_str_eq(nearest_of("upstrem"), "upstream");
    cr_expect_str_eq(nearest_of("upsttream"), "upstream");
    cr_expect_str_eq(nearest_of("bond"), "bind");
    cr_expect_str_eq(nearest_of("leastconn"), "least_conn");
    cr_expect_str_eq(nearest_of("pct"), "");
}

Test(nearest, finds_what_was_abbreviated, .timeout = 10) {
    cr_expect_str_eq(nearest_of("time"), "timeouts");
}

Test(nearest, proposes_nothing_for_another_word, .timeout = 10) {
    cr_expect_str_eq(nearest_of("filters"), "");
    cr_expect_str_eq(nearest_of(""), "");
    cr_expect_str_eq(nearest_of("x"), "");
    cr_expect_str_eq(nearest_of("a_text_that_is_longer_than_any_key_and_longer_than_what_is_looked_at_here"), "");
}
