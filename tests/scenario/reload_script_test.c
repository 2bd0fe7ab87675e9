/* Filters across reloads: who gets the new ones, who keeps the old, and what goes when. */
#include "tests/support/deadline.h"
#include "tests/support/moonring.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

/* A listener with a filter and one without, one worker: VMs are counted for each. */
struct stage {
    struct moonring moonring;
    struct peer_listener server;
    char filtered[ADDRESS_TEXT_MAX];
    char plain[ADDRESS_TEXT_MAX];
};

static void configure(const struct stage *stage, const char *params, const char *rest) {
    temporary_write(&stage->moonring.folder, "moonring.yaml",
                    "listeners:\n"
                    "  filtered: {bind: '%s', upstream: '%s', filters: [{lua: mark.lua, params: {%s}}]}\n"
                    "  plain: {bind: '%s', upstream: '%s'}\n"
                    "process: {workers: 1}\n"
                    "%s",
                    stage->filtered, stage->server.address, params, stage->plain, stage->server.address, rest);
}

/* The server gets the mark in front of what the client sends, and a number that the VM counts up. */
static void mark(const struct stage *stage, const char *text) {
    temporary_write(&stage->moonring.folder, "mark.lua",
                    "local mr = require 'moonring'\n"
                    "local p = mr.params { param = '' }\n"
                    "local count = 0\n"
                    "return { from_client = function(_, buf)\n"
                    "  count = count + 1\n"
                    "  buf:put('%s' .. p.param .. count .. ' ')\n"
                    "  buf:pass()\n"
                    "end }\n",
                    text);
}

static void stage_start(struct stage *stage, const char *rest) {
    char path[TEMPORARY_PATH_MAX];
    peer_listen(&stage->server, "127.0.0.1:0");
    snprintf(stage->filtered, sizeof(stage->filtered), "127.0.0.1:%u", peer_free_port());
    snprintf(stage->plain, sizeof(stage->plain), "127.0.0.1:%u", peer_free_port());
    temporary_create(&stage->moonring.folder);
    mark(stage, "a");
    configure(stage, "", rest);
    temporary_path(&stage->moonring.folder, "moonring.yaml", path);
    process_start(&stage->moonring.process, NULL, ARGUMENTS(moonring_program(), "run", "-c", path));
    moonring_wait_ready(&stage->moonring);
}

static void say(struct pair *pair, const char *marked) {
    peer_send(&pair->client, "x");
    peer_expect(&pair->server, marked);
}

static void reload_well(struct stage *stage) {
    const char *line = moonring_reload_again(&stage->moonring);
    cr_assert(strstr(line, " reloaded: ") != NULL, "%s", process_last_words(&stage->moonring.process));
}

Test(reload_script, gives_new_sessions_the_changed_one_and_leaves_live_ones_theirs, .timeout = 30) {
    struct stage stage;
    struct pair before, after;
    stage_start(&stage, "");
    pair_open(&before, stage.filtered, &stage.server);
    say(&before, "a1 x");
    mark(&stage, "b");
    reload_well(&stage);
    cr_assert(strstr(stage.moonring.process.errors.line, "files: ~mark.lua") != NULL, "%s",
              stage.moonring.process.errors.line);
    pair_open(&after, stage.filtered, &stage.server);
    say(&after, "b1 x");
    say(&before, "a2 x");
    say(&after, "b2 x");
    cr_assert(moonring_counter(&stage.moonring, "moonring_filters_retired") == 1);
    pair_close(&before);
    moonring_wait_counter_is(&stage.moonring, "moonring_filters_retired", 0);
    pair_close(&after);
    moonring_stop(&stage.moonring);
}

Test(reload_script, keeps_the_vm_while_nothing_of_it_changes, .timeout = 30) {
    struct stage stage;
    struct pair pair;
    stage_start(&stage, "");
    pair_open(&pair, stage.filtered, &stage.server);
    say(&pair, "a1 x");
    configure(&stage, "", "shutdown: {drain_timeout: 5s}\n");
    reload_well(&stage);
    say(&pair, "a2 x");
    pair_close(&pair);
    mark(&stage, "a"); /* written anew, with the same content */
    configure(&stage, "", "shutdown: {drain_timeout: 6s}\n");
    reload_well(&stage);
    pair_open(&pair, stage.filtered, &stage.server);
    say(&pair, "a3 x");
    configure(&stage, "param: p", "");
    reload_well(&stage);
    say(&pair, "a4 x");
    pair_close(&pair);
    pair_open(&pair, stage.filtered, &stage.server);
    say(&pair, "ap1 x");
    configure(&stage, "param: p", "lua: {memory: 32MiB}\n");
    reload_well(&stage);
    pair_close(&pair);
    pair_open(&pair, stage.filtered, &stage.server);
    say(&pair, "ap1 x");
}

Test(reload_script, keeps_the_vm_when_listeners_come_and_go_around_it, .timeout = 30) {
    struct stage stage;
    struct pair pair;
    char more[512];
    stage_start(&stage, "");
    pair_open(&pair, stage.filtered, &stage.server);
    for (int round = 1; round <= 6; round++) {
        char marked[16];
        snprintf(marked, sizeof(marked), "a%d x", round);
        say(&pair, marked);
        snprintf(more, sizeof(more),
                 "listeners:\n"
                 "%s"
                 "  filtered: {bind: '%s', upstream: '%s', filters: [mark.lua]}\n"
                 "process: {workers: 1}\n",
                 round % 2 == 0 ? "  another: {bind: '127.0.0.1:0', upstream: '127.0.0.1:9'}\n" : "", stage.filtered,
                 stage.server.address);
        moonring_reload(&stage.moonring, "%s", more);
        pair_close(&pair);
        pair_open(&pair, stage.filtered, &stage.server);
    }
}

Test(reload_script, sees_a_change_in_what_it_requires_and_reads, .timeout = 30) {
    struct stage stage;
    struct pair pair;
    const struct temporary *folder = &stage.moonring.folder;
    stage_start(&stage, "lua: {path: '?.lua'}\n");
    temporary_write(folder, "mark.lua",
                    "local mr = require 'moonring'\n"
                    "local name = require 'name'\n"
                    "local word = mr.read_file 'word.txt'\n"
                    "return { from_client = function(_, buf) buf:put(name .. word) buf:pass() end }\n");
    temporary_write(folder, "name.lua", "return 'n1'");
    temporary_write(folder, "word.txt", "w1");
    reload_well(&stage);
    pair_open(&pair, stage.filtered, &stage.server);
    say(&pair, "n1w1x");
    temporary_write(folder, "name.lua", "return 'n2'");
    reload_well(&stage);
    pair_close(&pair);
    pair_open(&pair, stage.filtered, &stage.server);
    say(&pair, "n2w1x");
    temporary_write(folder, "word.txt", "w2");
    reload_well(&stage);
    pair_close(&pair);
    pair_open(&pair, stage.filtered, &stage.server);
    say(&pair, "n2w2x");
}

Test(reload_script, ends_what_the_old_one_did_beside_its_sessions, .timeout = 30) {
    struct stage stage;
    struct pair pair;
    static const char ticking[] = "local mr = require 'moonring'\n"
                                  "mr.every(0.02, function() mr.log.info('tick %s') end)\n"
                                  "return { from_client = function(_, buf) buf:pass() end }\n";
    stage_start(&stage, "");
    temporary_write(&stage.moonring.folder, "mark.lua", ticking, "one");
    reload_well(&stage);
    process_wait_line(&stage.moonring.process, &stage.moonring.process.errors, "tick one");
    pair_open(&pair, stage.filtered, &stage.server);
    temporary_write(&stage.moonring.folder, "mark.lua", ticking, "two");
    reload_well(&stage);
    size_t ticks = process_count_lines(&stage.moonring.process.errors, "tick one");
    for (int tick = 0; tick < 5; tick++) {
        process_wait_line(&stage.moonring.process, &stage.moonring.process.errors, "tick two");
    }
    cr_assert(process_count_lines(&stage.moonring.process.errors, "tick one") <= ticks + 1);
    pair_exchange(&pair, 1000);
}

Test(reload_script, closes_the_sessions_of_the_oldest_when_too_many_are_kept, .timeout = 30) {
    struct stage stage;
    struct pair filtered[4], plain;
    static const char *const marks[] = {"a", "b", "c", "d"};
    stage_start(&stage, "lua: {retired_max: 2}\n");
    pair_open(&plain, stage.plain, &stage.server);
    for (size_t index = 0; index < 4; index++) {
        char marked[16];
        pair_open(&filtered[index], stage.filtered, &stage.server);
        snprintf(marked, sizeof(marked), "%s1 x", marks[index]);
        say(&filtered[index], marked);
        if (index < 3) {
            mark(&stage, marks[index + 1]);
            reload_well(&stage);
        }
    }
    moonring_expect_session(&stage.moonring, "reason=retired ended_by=moonring");
    peer_expect_closed(&filtered[0].client);
    for (size_t index = 1; index < 4; index++) {
        char marked[16];
        snprintf(marked, sizeof(marked), "%s2 x", marks[index]);
        say(&filtered[index], marked);
    }
    pair_exchange(&plain, 1000);
    cr_assert(moonring_counter(&stage.moonring, "moonring_filters_retired") == 2);
}

Test(reload_script, closes_sessions_that_stay_too_long_in_an_old_one, .timeout = 30) {
    struct stage stage;
    struct pair filtered, plain;
    stage_start(&stage, "lua: {retire_timeout: 3s}\n");
    pair_open(&filtered, stage.filtered, &stage.server);
    pair_open(&plain, stage.plain, &stage.server);
    say(&filtered, "a1 x");
    mark(&stage, "b");
    uint64_t start_ms = deadline_now_ms();
    reload_well(&stage);
    say(&filtered, "a2 x");
    moonring_expect_session(&stage.moonring, "reason=retired ended_by=moonring");
    cr_assert(deadline_now_ms() - start_ms >= 3000);
    pair_exchange(&plain, 1000);
    moonring_wait_counter_is(&stage.moonring, "moonring_filters_retired", 0);
}
