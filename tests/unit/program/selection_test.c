#include "program/selection.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* As it comes over the socket: words separated by tabs. */
static bool parse(struct selection *selection, const char *words, struct error *error) {
    char line[1024];
    struct arguments order;
    snprintf(line, sizeof(line), "sessions\t%s", words);
    cr_assert(arguments_parse_order(&order, line, error), "%s", error->text);
    return selection_parse(selection, &order, error);
}

static struct selection expect_read(const char *words) {
    struct selection selection;
    struct error error;
    cr_assert(parse(&selection, words, &error), "%s: %s", words, error.text);
    cr_assert_not(selection_is_everything(&selection), "%s", words);
    return selection;
}

static void expect_refused(const char *words, const char *wanted) {
    struct selection selection;
    struct error error;
    cr_assert_not(parse(&selection, words, &error), "%s", words);
    cr_assert_not_null(strstr(error.text, wanted), "%s: %s", words, error.text);
}

Test(selection, of_nothing_is_everything, .timeout = 10) {
    struct selection selection;
    struct arguments order = {.command = COMMAND_CTL_SESSIONS};
    struct error error;
    cr_assert(selection_parse(&selection, &order, &error));
    cr_assert(selection_is_everything(&selection));
}

Test(selection, reads_each_filter, .timeout = 10) {
    cr_expect_str_eq(expect_read("--listener=web").listener, "web");
    cr_expect_eq(expect_read("--older=5m").older_us, 300000000);
    cr_expect_eq(expect_read("--state=lingering").state, SESSION_LINGERING);
    cr_expect_eq(expect_read("--id=4711").id, 4711);
    struct selection client = expect_read("--client=10.0.0.0/8");
    cr_expect_eq(client.client.first.low, 0x0a000000);
    cr_expect_eq(client.client.last.low, 0x0affffff);
}

Test(selection, reads_a_server_with_and_without_its_upstream, .timeout = 10) {
    struct selection server = expect_read("--server=10.0.0.1:80");
    cr_expect_str_eq(server.server, "10.0.0.1:80");
    cr_expect_str_eq(server.upstream, "");
    server = expect_read("--server=cache/one/10.0.0.1");
    cr_expect_str_eq(server.upstream, "cache");
    cr_expect_str_eq(server.server, "one/10.0.0.1");
    server = expect_read("--server=unix:/run/app.sock");
    cr_expect_str_eq(server.upstream, "");
    cr_expect_str_eq(server.server, "unix:/run/app.sock");
}

static void expect_generations(const char *text, uint64_t min, uint64_t max) {
    char words[64];
    snprintf(words, sizeof(words), "--generation=%s", text);
    struct selection selection = expect_read(words);
    cr_expect_eq(selection.generation_min, min, "%s", text);
    cr_expect_eq(selection.generation_max, max, "%s", text);
}

Test(selection, reads_generations_from_one_side_and_from_both, .timeout = 10) {
    expect_generations("41", 41, 41);
    expect_generations("<41", 0, 40);
    expect_generations("<=41", 0, 41);
    expect_generations(">41", 42, UINT64_MAX);
    expect_generations(">=41", 41, UINT64_MAX);
    expect_generations("<1", 0, 0);
}

Test(selection, says_what_a_filter_may_be, .timeout = 10) {
    expect_refused("--older=5", "--older: ");
    expect_refused("--client=10.0.0.1/8", "write 10.0.0.0/8");
    expect_refused("--client=web", "--client: ");
    expect_refused("--state=relayin", "did you mean \"relaying\"?");
    expect_refused("--state=x",
                   "there are: introducing, routing, connecting, greeting, relaying, resetting, lingering, closing");
    expect_refused("--id=0/4711", "--id: ");
    expect_refused("--id=0", "--id: ");
    expect_refused("--id=99999999999999999999/1", "--id");
    expect_refused("--generation=<", "--generation: ");
    expect_refused("--generation=x", "--generation: ");
    expect_refused("--server=/x", "a name has 1 to 255 bytes");
    expect_refused("--server=x/", "a name has 1 to 255 bytes");
}

Test(selection, refuses_names_that_are_too_long, .timeout = 10) {
    char words[400] = "--listener=";
    memset(words + strlen(words), 'x', 255);
    cr_expect_eq(strlen(expect_read(words).listener), 255);
    words[strlen(words)] = 'x';
    expect_refused(words, "--listener: a name has 1 to 255 bytes");
}
