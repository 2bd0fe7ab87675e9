#include "engine/stage.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

/* A stage whose bytes lie on the heap, and a queue behind it. */
struct bench {
    struct buffers buffers;
    struct stage stage;
    struct queue out;
};

static void bench_open(struct bench *bench) {
    cr_assert(buffers_init(&bench->buffers, NULL, 1));
    stage_init(&bench->stage);
    queue_init(&bench->out);
}

/* Everything must have come back. */
static void bench_close(struct bench *bench) {
    queue_clear(&bench->out, &bench->buffers);
    stage_finish(&bench->stage, &bench->buffers);
    buffers_finish(&bench->buffers);
}

/* Each piece is a slice of its own. */
static void bench_come(struct bench *bench, const char *text) {
    struct queue piece;
    queue_init(&piece);
    cr_assert(queue_append_copy(&piece, &bench->buffers, text, strlen(text)));
    queue_move_all(&piece, &bench->stage.input);
    stage_came(&bench->stage, 1000);
}

static void expect_queue(const struct queue *queue, const char *text) {
    char bytes[256];
    size_t size = 0;
    for (const struct slice *slice = queue->first; slice != NULL; slice = slice->next) {
        memcpy(bytes + size, slice->start, slice->size);
        size += slice->size;
    }
    cr_assert_eq(size, strlen(text), "%.*s", (int)size, bytes);
    cr_assert_eq(queue->bytes, size);
    cr_assert_arr_eq(bytes, text, size);
}

static void expect_view(const struct stage *stage, const char *text) {
    cr_assert_eq(stage->shown, strlen(text));
    cr_assert_arr_eq(stage_bytes(stage), text, stage->shown);
}

Test(stage, shows_the_first_piece, .timeout = 10) {
    struct bench bench;
    bench_open(&bench);
    bench_come(&bench, "abc");
    bench_come(&bench, "def");
    stage_show(&bench.stage, &bench.buffers, 1);
    expect_view(&bench.stage, "abc");
    bench_close(&bench);
}

Test(stage, joins_pieces_until_the_view_is_large_enough, .timeout = 10) {
    struct bench bench;
    bench_open(&bench);
    bench_come(&bench, "abc");
    bench_come(&bench, "def");
    bench_come(&bench, "ghi");
    stage_show(&bench.stage, &bench.buffers, 4);
    expect_view(&bench.stage, "abcdef");
    stage_show(&bench.stage, &bench.buffers, 100);
    expect_view(&bench.stage, "abcdefghi");
    bench_close(&bench);
}

Test(stage, shows_nothing_when_nothing_is_there, .timeout = 10) {
    struct bench bench;
    bench_open(&bench);
    stage_show(&bench.stage, &bench.buffers, 1);
    cr_assert_eq(bench.stage.shown, 0);
    cr_assert_null(stage_bytes(&bench.stage));
    bench_close(&bench);
}

Test(stage, passes_and_drops_from_the_beginning_of_the_view, .timeout = 10) {
    struct bench bench;
    bench_open(&bench);
    bench_come(&bench, "abcdef");
    stage_show(&bench.stage, &bench.buffers, 1);
    stage_pass(&bench.stage, &bench.buffers, 2, &bench.out);
    stage_drop(&bench.stage, &bench.buffers, 1);
    expect_view(&bench.stage, "def");
    expect_queue(&bench.out, "ab");
    cr_assert_eq(bench.stage.offset, 3);
    bench_close(&bench);
}

Test(stage, passes_what_has_not_come_yet_when_it_comes, .timeout = 10) {
    struct bench bench;
    bench_open(&bench);
    bench_come(&bench, "abc");
    stage_show(&bench.stage, &bench.buffers, 1);
    stage_pass(&bench.stage, &bench.buffers, 5, &bench.out);
    cr_assert(stage_is_ahead(&bench.stage));
    bench_come(&bench, "defg");
    stage_run_ahead(&bench.stage, &bench.buffers, &bench.out);
    cr_assert(!stage_is_ahead(&bench.stage));
    expect_queue(&bench.out, "abcde");
    expect_queue(&bench.stage.input, "fg");
    cr_assert_eq(bench.stage.offset, 5);
    bench_close(&bench);
}

Test(stage, drops_what_has_not_come_yet_when_it_comes, .timeout = 10) {
    struct bench bench;
    bench_open(&bench);
    bench_come(&bench, "abc");
    stage_show(&bench.stage, &bench.buffers, 1);
    stage_drop(&bench.stage, &bench.buffers, 10);
    bench_come(&bench, "defg");
    stage_run_ahead(&bench.stage, &bench.buffers, &bench.out);
    cr_assert_eq(bench.stage.drop_ahead, 3);
    cr_assert_eq(bench.stage.input.bytes, 0);
    bench_come(&bench, "hijkl");
    stage_run_ahead(&bench.stage, &bench.buffers, &bench.out);
    expect_queue(&bench.stage.input, "kl");
    cr_assert_eq(bench.out.bytes, 0);
    bench_close(&bench);
}

Test(stage, lets_what_was_written_later_go_behind_the_message, .timeout = 10) {
    struct bench bench;
    bench_open(&bench);
    bench_come(&bench, "abc");
    stage_show(&bench.stage, &bench.buffers, 1);
    stage_pass(&bench.stage, &bench.buffers, 5, &bench.out);
    cr_assert(queue_append_copy(&bench.stage.later, &bench.buffers, "!", 1));
    bench_come(&bench, "d");
    stage_run_ahead(&bench.stage, &bench.buffers, &bench.out);
    expect_queue(&bench.out, "abcd");
    bench_come(&bench, "ef");
    stage_run_ahead(&bench.stage, &bench.buffers, &bench.out);
    expect_queue(&bench.out, "abcde!");
    bench_close(&bench);
}

Test(stage, decides_nothing_twice, .timeout = 10, .signal = SIGABRT) {
    struct bench bench;
    bench_open(&bench);
    bench_come(&bench, "abc");
    stage_show(&bench.stage, &bench.buffers, 1);
    stage_pass(&bench.stage, &bench.buffers, 5, &bench.out);
    stage_drop(&bench.stage, &bench.buffers, 1);
}

Test(stage, wants_as_much_as_the_one_who_wants_most, .timeout = 10) {
    struct bench bench;
    bench_open(&bench);
    struct stage_wait few;
    struct stage_wait many;
    struct stage_wait room;
    stage_wait_init(&few, NULL);
    stage_wait_init(&many, NULL);
    stage_wait_init(&room, NULL);
    cr_assert_eq(stage_wanted(&bench.stage), 0);
    few.bytes = 10;
    many.bytes = 30;
    room.bytes = 99;
    room.for_room = true;
    list_append(&bench.stage.waits, &few.link);
    list_append(&bench.stage.waits, &many.link);
    list_append(&bench.stage.waits, &room.link);
    bench.stage.need = 20;
    cr_assert_eq(stage_wanted(&bench.stage), 30);
    stage_wait_stop(&many);
    cr_assert_eq(stage_wanted(&bench.stage), 20);
    stage_wait_stop(&few);
    stage_wait_stop(&room);
    stage_wait_stop(&room);
    bench_close(&bench);
}

/* Whatever is passed and dropped, in whatever pieces it comes: what was passed goes out, in order. */
Test(stage, passes_the_same_however_the_bytes_come, .timeout = 10) {
    static const char text[] = "the quick brown fox jumps over the lazy dog";
    for (size_t piece = 1; piece < sizeof(text); piece++) {
        struct bench bench;
        bench_open(&bench);
        bool passes = true; /* four bytes passed, four dropped */
        for (size_t at = 0; at < sizeof(text) - 1; at += piece) {
            char part[sizeof(text)];
            snprintf(part, sizeof(part), "%.*s", (int)piece, text + at);
            bench_come(&bench, part);
            stage_run_ahead(&bench.stage, &bench.buffers, &bench.out);
            while (!stage_is_ahead(&bench.stage) && bench.stage.input.bytes > 0) {
                stage_show(&bench.stage, &bench.buffers, 1);
                if (passes) {
                    stage_pass(&bench.stage, &bench.buffers, 4, &bench.out);
                } else {
                    stage_drop(&bench.stage, &bench.buffers, 4);
                }
                passes = !passes;
            }
        }
        expect_queue(&bench.out, "the k brfox s ovhe ldog");
        bench_close(&bench);
    }
}
