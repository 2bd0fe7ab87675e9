/* `reload: {watch: true}`: files are noticed to be others in all the ways in which editors, scripts and orchestrators
 * change them, and nothing happens when they are as they were. */
#include "tests/support/deadline.h"
#include "tests/support/moonring.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct stage {
    struct moonring moonring;
    struct peer_listener server;
    char address[ADDRESS_TEXT_MAX];
    unsigned idle_s; /* what the next version says: each is another one */
};

static const char *path_of(const struct stage *stage, const char *name) {
    static char paths[4][TEMPORARY_PATH_MAX];
    static size_t next;
    return temporary_path(&stage->moonring.folder, name, paths[next++ % 4]);
}

/* Another version of the configuration. */
static const char *version(struct stage *stage, const char *rest) {
    static char text[1024];
    stage->idle_s++;
    snprintf(text, sizeof(text),
             "listeners: {web: {bind: '%s', upstream: '%s', timeouts: {idle: %us}}}\n"
             "reload: {watch: true}\n"
             "%s",
             stage->address, stage->server.address, stage->idle_s, rest);
    return text;
}

static void stage_init(struct stage *stage) {
    *stage = (struct stage){.idle_s = 1000};
    peer_listen(&stage->server, "127.0.0.1:0");
    snprintf(stage->address, sizeof(stage->address), "127.0.0.1:%u", peer_free_port());
    temporary_create(&stage->moonring.folder);
}

static void stage_run(struct stage *stage, const char *path) {
    process_start(&stage->moonring.process, NULL, ARGUMENTS(moonring_program(), "run", "-c", path));
    moonring_wait_ready(&stage->moonring);
}

static void stage_start(struct stage *stage) {
    stage_init(stage);
    temporary_write(&stage->moonring.folder, "moonring.yaml", "%s", version(stage, ""));
    stage_run(stage, path_of(stage, "moonring.yaml"));
}

static void expect_line(struct stage *stage, const char *text) {
    process_wait_line(&stage->moonring.process, &stage->moonring.process.errors, text);
}

/* It has seen the version that was written last. */
static void expect_reload(struct stage *stage) {
    char wanted[32];
    snprintf(wanted, sizeof(wanted), "->%us", stage->idle_s);
    expect_line(stage, wanted);
}

static void run(const char *const arguments[]) {
    struct process process;
    process_run(&process, arguments);
}

Test(watch, notices_a_file_that_is_written_in_place, .timeout = 30) {
    struct stage stage;
    stage_start(&stage);
    for (int round = 0; round < 3; round++) {
        temporary_write(&stage.moonring.folder, "moonring.yaml", "%s", version(&stage, ""));
        expect_reload(&stage);
    }
    moonring_stop(&stage.moonring);
}

/* Returns how long it took. */
static uint64_t write_bit_by_bit(struct stage *stage) {
    const char *text = version(stage, "");
    uint64_t begin_ms = deadline_now_ms();
    int fd = open(path_of(stage, "moonring.yaml"), O_WRONLY | O_TRUNC | O_CLOEXEC);
    for (size_t at = 0; text[at] != 0; at += 20) {
        size_t left = strlen(text + at);
        cr_assert(write(fd, text + at, left < 20 ? left : 20) > 0);
        deadline_pause(20);
        if (left < 20) {
            break;
        }
    }
    close(fd);
    return deadline_now_ms() - begin_ms;
}

/* Whoever writes on for a second without a bit is not waited for: it is tried again where the machine was that slow. */
Test(watch, waits_for_the_end_of_what_is_written_bit_by_bit, .timeout = 60) {
    enum { TRIES = 10, TOO_SLOW_MS = 1000 };
    struct stage stage;
    size_t refused = 0;
    uint64_t took_ms = TOO_SLOW_MS;
    stage_start(&stage);
    for (int try = 0; try < TRIES && took_ms >= TOO_SLOW_MS; try++) {
        size_t before = process_count_lines(&stage.moonring.process.errors, "refused");
        took_ms = write_bit_by_bit(&stage);
        expect_reload(&stage);
        refused = process_count_lines(&stage.moonring.process.errors, "refused") - before;
    }
    cr_assert(refused == 0);
}

Test(watch, notices_a_file_that_is_replaced_by_a_rename, .timeout = 30) {
    struct stage stage;
    stage_start(&stage);
    for (int round = 0; round < 3; round++) {
        temporary_write(&stage.moonring.folder, ".moonring.yaml.swp", "%s", version(&stage, ""));
        cr_assert(rename(path_of(&stage, ".moonring.yaml.swp"), path_of(&stage, "moonring.yaml")) == 0);
        expect_reload(&stage);
    }
    /* As some editors do it: the old one goes first. */
    cr_assert(rename(path_of(&stage, "moonring.yaml"), path_of(&stage, "moonring.yaml~")) == 0);
    temporary_write(&stage.moonring.folder, "moonring.yaml", "%s", version(&stage, ""));
    expect_reload(&stage);
}

Test(watch, notices_sed_and_cp, .timeout = 30) {
    struct stage stage;
    stage_start(&stage);
    stage.idle_s++;
    run(ARGUMENTS("sed", "-i", "s/idle: 1001s/idle: 1002s/", path_of(&stage, "moonring.yaml")));
    expect_reload(&stage);
    temporary_write(&stage.moonring.folder, "other.yaml", "%s", version(&stage, ""));
    run(ARGUMENTS("cp", path_of(&stage, "other.yaml"), path_of(&stage, "moonring.yaml")));
    expect_reload(&stage);
}

/* A volume of Kubernetes: file -> ..data/file, ..data -> ..1, and an update makes ..2 and moves ..data. */
Test(watch, notices_that_a_link_on_the_way_leads_elsewhere, .timeout = 30) {
    struct stage stage;
    stage_init(&stage);
    for (int round = 0; round < 4; round++) {
        char folder[32], file[64];
        snprintf(folder, sizeof(folder), "..%d", round);
        snprintf(file, sizeof(file), "..%d/moonring.yaml", round);
        cr_assert(mkdir(path_of(&stage, folder), 0755) == 0);
        temporary_write(&stage.moonring.folder, file, "%s", version(&stage, ""));
        cr_assert(symlink(folder, path_of(&stage, "..data_tmp")) == 0);
        cr_assert(rename(path_of(&stage, "..data_tmp"), path_of(&stage, "..data")) == 0);
        if (round == 0) {
            cr_assert(symlink("..data/moonring.yaml", path_of(&stage, "moonring.yaml")) == 0);
            stage_run(&stage, path_of(&stage, "moonring.yaml"));
        } else {
            expect_reload(&stage);
        }
    }
}

Test(watch, notices_that_a_whole_folder_is_replaced, .timeout = 30) {
    struct stage stage;
    stage_init(&stage);
    cr_assert(mkdir(path_of(&stage, "etc"), 0755) == 0);
    temporary_write(&stage.moonring.folder, "etc/moonring.yaml", "%s", version(&stage, ""));
    stage_run(&stage, path_of(&stage, "etc/moonring.yaml"));
    for (int round = 0; round < 3; round++) {
        char old[32];
        snprintf(old, sizeof(old), "etc.%d", round);
        cr_assert(mkdir(path_of(&stage, "new"), 0755) == 0);
        temporary_write(&stage.moonring.folder, "new/moonring.yaml", "%s", version(&stage, ""));
        cr_assert(rename(path_of(&stage, "etc"), path_of(&stage, old)) == 0);
        cr_assert(rename(path_of(&stage, "new"), path_of(&stage, "etc")) == 0);
        expect_reload(&stage);
    }
}

Test(watch, notices_included_files_that_change_come_and_go, .timeout = 30) {
    struct stage stage;
    static const char upstream[] = "upstreams: {%s: {servers: ['127.0.0.1:9']}}\n";
    stage_init(&stage);
    cr_assert(mkdir(path_of(&stage, "conf.d"), 0755) == 0);
    temporary_write(&stage.moonring.folder, "conf.d/one.yaml", upstream, "one");
    temporary_write(&stage.moonring.folder, "moonring.yaml", "%s", version(&stage, "include: ['conf.d/*.yaml']\n"));
    stage_run(&stage, path_of(&stage, "moonring.yaml"));
    temporary_write(&stage.moonring.folder, "conf.d/two.yaml", upstream, "two");
    expect_line(&stage, "upstreams: +two");
    temporary_write(&stage.moonring.folder, "conf.d/two.yaml", upstream, "three");
    expect_line(&stage, "+three");
    cr_assert(unlink(path_of(&stage, "conf.d/two.yaml")) == 0);
    expect_line(&stage, "-three");
    temporary_write(&stage.moonring.folder, "conf.d/README", "%s", "no configuration");
    temporary_write(&stage.moonring.folder, "conf.d/one.yaml", upstream, "four");
    expect_line(&stage, "+four");
}

/* A pattern without matches changes nothing, but from then on somebody may put files there. */
Test(watch, notices_files_of_an_include_that_was_added_when_there_were_none, .timeout = 30) {
    struct stage stage;
    stage_init(&stage);
    cr_assert(mkdir(path_of(&stage, "conf.d"), 0755) == 0);
    temporary_write(&stage.moonring.folder, "moonring.yaml", "%s", version(&stage, ""));
    stage_run(&stage, path_of(&stage, "moonring.yaml"));
    stage.idle_s--; /* the same version */
    temporary_write(&stage.moonring.folder, "moonring.yaml", "%s", version(&stage, "include: ['conf.d/*.yaml']\n"));
    expect_line(&stage, "nothing has changed");
    temporary_write(&stage.moonring.folder, "conf.d/one.yaml", "upstreams: {one: {servers: ['127.0.0.1:9']}}\n");
    expect_line(&stage, "upstreams: +one");
}

Test(watch, notices_filters_and_what_they_read, .timeout = 30) {
    struct stage stage;
    static const char script[] = "local mr = require 'moonring'\n"
                                 "local word = mr.read_file 'word.txt'\n"
                                 "return { from_client = function(_, buf) buf:put('%s' .. word) buf:pass() end }\n";
    stage_init(&stage);
    temporary_write(&stage.moonring.folder, "mark.lua", script, "a");
    temporary_write(&stage.moonring.folder, "word.txt", "1");
    temporary_write(&stage.moonring.folder, "moonring.yaml",
                    "listeners: {web: {bind: '%s', upstream: '%s', filters: [mark.lua]}}\nreload: {watch: true}\n",
                    stage.address, stage.server.address);
    stage_run(&stage, path_of(&stage, "moonring.yaml"));
    temporary_write(&stage.moonring.folder, "mark.lua", script, "b");
    expect_line(&stage, "files: ~mark.lua");
    temporary_write(&stage.moonring.folder, "word.txt", "2");
    expect_line(&stage, "files: ~word.txt");
    struct pair pair;
    pair_open(&pair, stage.address, &stage.server);
    peer_send(&pair.client, "x");
    peer_expect(&pair.server, "b2x");
}

Test(watch, tries_again_when_what_was_wrong_is_mended, .timeout = 30) {
    struct stage stage;
    stage_start(&stage);
    temporary_write(&stage.moonring.folder, "moonring.yaml", "%s", version(&stage, "nonsense: 1\n"));
    expect_line(&stage, "reload refused; generation 1 is still serving");
    temporary_write(&stage.moonring.folder, "moonring.yaml", "%s", version(&stage, ""));
    expect_reload(&stage);
    /* A filter that only the refused configuration names. */
    temporary_write(&stage.moonring.folder, "new.lua", "this is no Lua\n");
    temporary_write(&stage.moonring.folder, "moonring.yaml",
                    "listeners: {web: {bind: '%s', upstream: '%s', filters: [new.lua]}}\nreload: {watch: true}\n",
                    stage.address, stage.server.address);
    expect_line(&stage, "reload refused; generation 2 is still serving");
    temporary_write(&stage.moonring.folder, "new.lua", "return { from_client = function(_, buf) buf:pass() end }\n");
    expect_line(&stage, "reloaded: generation 3");
}

Test(watch, does_nothing_when_the_content_is_as_it_was, .timeout = 30) {
    struct stage stage;
    stage_start(&stage);
    run(ARGUMENTS("touch", path_of(&stage, "moonring.yaml")));
    run(ARGUMENTS("cp", path_of(&stage, "moonring.yaml"), path_of(&stage, "same.yaml")));
    run(ARGUMENTS("mv", path_of(&stage, "same.yaml"), path_of(&stage, "moonring.yaml")));
    deadline_pause(500); /* nothing can be waited for: this is longer than it takes to notice a change */
    cr_assert(process_count_lines(&stage.moonring.process.errors, "has changed") == 0);
    cr_assert(moonring_counter(&stage.moonring, "moonring_reloads_total") == 0);
}

Test(watch, is_off_unless_it_is_asked_for_and_can_be_switched, .timeout = 30) {
    struct stage stage;
    static const char yaml[] = "listeners: {web: {bind: '%s', upstream: '%s', timeouts: {idle: %us}}}\n"
                               "reload: {watch: %s}\n";
    const struct temporary *folder = &stage.moonring.folder;
    stage_init(&stage);
    temporary_write(folder, "moonring.yaml", "listeners: {web: {bind: '%s', upstream: '%s'}}\n", stage.address,
                    stage.server.address);
    stage_run(&stage, path_of(&stage, "moonring.yaml"));
    size_t descriptors = process_descriptors_count(&stage.moonring.process);
    temporary_write(folder, "moonring.yaml", yaml, stage.address, stage.server.address, 1, "true");
    deadline_pause(500);
    cr_assert(moonring_counter(&stage.moonring, "moonring_reloads_total") == 0);
    moonring_reload_again(&stage.moonring);
    temporary_write(folder, "moonring.yaml", yaml, stage.address, stage.server.address, 2, "false");
    expect_line(&stage, "reloaded: generation 3");
    cr_assert(process_descriptors_count(&stage.moonring.process) == descriptors);
}

Test(watch, is_on_without_a_file_and_tells_who_keeps_the_old_filter, .timeout = 30) {
    struct stage stage;
    struct pair before, after;
    static const char script[] = "return { from_client = function(_, buf) buf:put('%s') buf:pass() end }\n";
    stage_init(&stage);
    temporary_write(&stage.moonring.folder, "mark.lua", script, "a");
    process_start(&stage.moonring.process, NULL,
                  ARGUMENTS(moonring_program(), "run", "-l", stage.address, "-t", stage.server.address, "-f",
                            path_of(&stage, "mark.lua")));
    moonring_wait_ready(&stage.moonring);
    pair_open(&before, stage.address, &stage.server);
    peer_send(&before.client, "x");
    peer_expect(&before.server, "ax");
    temporary_write(&stage.moonring.folder, "mark.lua", script, "b");
    expect_line(&stage, "; 1 sessions keep what they had");
    pair_open(&after, stage.address, &stage.server);
    peer_send(&after.client, "x");
    peer_expect(&after.server, "bx");
    peer_send(&before.client, "x");
    peer_expect(&before.server, "ax");
}
