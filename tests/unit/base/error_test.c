#include "base/error.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

enum { TEXT_LENGTH_MAX = sizeof(((struct error *)0)->text) - 1 };

/* A text of `length` times the character, in memory that the caller has. */
static void fill_text(char *text, char character, size_t length) {
    memset(text, character, length);
    text[length] = 0;
}

Test(error, set_formats_and_returns_false, .timeout = 10) {
    struct error error;
    cr_assert_not(error_set(&error, "port: %d is not a port (%s)", 70000, "1-65535"));
    cr_assert_str_eq(error.text, "port: 70000 is not a port (1-65535)");
}

Test(error, set_cuts_a_long_text_at_its_end, .timeout = 10) {
    char text[2 * TEXT_LENGTH_MAX];
    fill_text(text, 'x', sizeof(text) - 1);
    struct error error;
    error_set(&error, "a%s", text);
    cr_assert_eq(strlen(error.text), TEXT_LENGTH_MAX);
    cr_assert_eq(strncmp(error.text, "axxx", 4), 0);
}

Test(error, set_may_quote_the_text_it_replaces, .timeout = 10) {
    struct error error;
    error_set(&error, "refused");
    error_set(&error, "server a: %s", error.text);
    cr_assert_str_eq(error.text, "server a: refused");
}

Test(error, prefix_puts_words_in_front_and_returns_false, .timeout = 10) {
    struct error error;
    error_set(&error, "address in use");
    cr_assert_not(error_prefix(&error, "listener %s: ", "web"));
    cr_assert_not(error_prefix(&error, "moonring.yaml:%d: ", 14));
    cr_assert_str_eq(error.text, "moonring.yaml:14: listener web: address in use");
}

Test(error, prefix_keeps_what_fits_of_the_old_text, .timeout = 10) {
    char text[TEXT_LENGTH_MAX + 1];
    fill_text(text, 'x', TEXT_LENGTH_MAX - 1);
    struct error error;
    error_set(&error, "%s!", text);
    error_prefix(&error, "ab");
    cr_assert_eq(strlen(error.text), TEXT_LENGTH_MAX);
    cr_assert_eq(strncmp(error.text, "abxx", 4), 0);
    cr_assert_eq(error.text[TEXT_LENGTH_MAX - 1], 'x');
}

Test(error, prefix_that_fills_everything_leaves_nothing_of_the_old_text, .timeout = 10) {
    char text[2 * TEXT_LENGTH_MAX];
    fill_text(text, 'p', sizeof(text) - 1);
    struct error error;
    error_set(&error, "old");
    error_prefix(&error, "%s", text);
    cr_assert_eq(strlen(error.text), TEXT_LENGTH_MAX);
    cr_assert_eq(error.text[TEXT_LENGTH_MAX - 1], 'p');
}

Test(error, name_tells_the_meaning_of_an_errno, .timeout = 10) {
    cr_assert_str_eq(error_name(ENOENT), "No such file or directory");
    cr_assert_str_eq(error_name(ECONNREFUSED), "Connection refused");
}

Test(error, name_of_no_errno_is_still_a_text, .timeout = 10) {
    cr_assert_str_eq(error_name(99999), "unknown error");
    cr_assert_str_eq(error_name(-ENOENT), "unknown error");
}
