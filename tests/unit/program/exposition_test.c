#include "program/exposition.h"

#include <criterion/criterion.h>

static void expect(struct bytes *out, const char *text) {
    cr_assert_str_eq(out->data, text);
    bytes_finish(out);
}

Test(exposition, begins_a_family_with_its_two_lines, .timeout = 10) {
    struct bytes out;
    struct exposition page = {.out = &out};
    bytes_init(&out);
    exposition_family(&page, "turns_total", "counter", "Turns.");
    exposition_sample(&page, "");
    exposition_integer(&page, UINT64_MAX);
    expect(&out, "# HELP turns_total Turns.\n"
                 "# TYPE turns_total counter\n"
                 "turns_total 18446744073709551615\n");
}

Test(exposition, separates_labels_and_ends_them, .timeout = 10) {
    struct bytes out;
    struct exposition page = {.out = &out, .name = "took_seconds"};
    bytes_init(&out);
    exposition_sample(&page, "_sum");
    exposition_label(&page, "who", "a");
    exposition_label_number(&page, "worker", 7);
    exposition_seconds(&page, 12000034);
    exposition_sample(&page, "_count");
    exposition_integer(&page, 0);
    expect(&out, "took_seconds_sum{who=\"a\",worker=\"7\"} 12.000034\n"
                 "took_seconds_count 0\n");
}

Test(exposition, escapes_what_the_format_escapes_and_nothing_else, .timeout = 10) {
    struct bytes out;
    struct exposition page = {.out = &out, .name = "a"};
    bytes_init(&out);
    exposition_sample(&page, "");
    exposition_label(&page, "b", "q\"s\\n\nt\t\x01\xc3\xa9");
    exposition_integer(&page, 1);
    expect(&out, "a{b=\"q\\\"s\\\\n\\nt\t\x01\xc3\xa9\"} 1\n");
}

Test(exposition, replaces_what_is_no_utf8, .timeout = 10) {
    struct bytes out;
    struct exposition page = {.out = &out, .name = "a"};
    bytes_init(&out);
    exposition_sample(&page, "");
    exposition_label(&page, "b", "\xff(\xc3");
    exposition_integer(&page, 1);
    expect(&out, "a{b=\"\xef\xbf\xbd(\xef\xbf\xbd\"} 1\n");
}
