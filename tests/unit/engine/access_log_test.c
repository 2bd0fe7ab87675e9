#include "engine/access_log.h"

#include "base/log.h"
#include "stage.h"
#include "tests/support/deadline.h"
#include "tests/support/temporary.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* An access log in a folder of its own, with the program's error log beside it. */
struct fixture {
    struct temporary folder;
    char path[TEMPORARY_PATH_MAX];
    char moved[TEMPORARY_PATH_MAX];
    char errors[TEMPORARY_PATH_MAX];
    struct access_log *log;
    struct access_queue *queue;
    uint64_t next_id;
};

static struct access_log *log_create(const char *target) {
    struct error error = {.text = ""};
    struct access_log *log = access_log_create(target, NULL, &error);
    cr_assert_not_null(log, "%s", error.text);
    return log;
}

/* Makes the folder; the log comes with fixture_start. */
static void fixture_open(struct fixture *fixture) {
    struct error error = {.text = ""};
    *fixture = (struct fixture){.next_id = 1};
    temporary_create(&fixture->folder);
    temporary_path(&fixture->folder, "access.log", fixture->path);
    temporary_path(&fixture->folder, "access.log.1", fixture->moved);
    temporary_path(&fixture->folder, "error.log", fixture->errors);
    cr_assert(log_open(fixture->errors, &error), "%s", error.text);
}

static void fixture_start(struct fixture *fixture) {
    fixture->log = log_create(fixture->path);
    fixture->queue = access_queue_create(fixture->log, ACCESS_FORMAT_TEXT);
    cr_assert_not_null(fixture->queue);
}

static void queue_write(struct access_queue *queue, uint32_t worker, uint64_t id) {
    const struct access_record record = {
        .time_ms = UINT64_C(1769860800123),
        .event = "close",
        .id = id,
        .worker = worker,
        .listener = "web",
        .client = "10.0.0.9:5000",
        .upstream = "app",
        .server = "one",
        .server_address = "10.0.0.1:80",
        .tries = 1,
        .reason = "client_fin",
        .ended_by = "client",
    };
    access_queue_write(queue, &record);
}

static void fixture_write(struct fixture *fixture, uint64_t lines) {
    for (uint64_t line = 0; line < lines; line++) {
        queue_write(fixture->queue, 0, fixture->next_id++);
    }
}

/* The whole file; the caller finishes it. */
static struct bytes read_file(const char *path) {
    struct bytes content;
    bytes_init(&content);
    FILE *file = fopen(path, "re");
    cr_assert_not_null(file, "%s: %m", path);
    char part[4096];
    for (size_t size = fread(part, 1, sizeof(part), file); size > 0; size = fread(part, 1, sizeof(part), file)) {
        bytes_append(&content, part, size);
    }
    fclose(file);
    return content;
}

static size_t count_of(const char *text, const char *wanted) {
    size_t count = 0;
    for (const char *at = strstr(text, wanted); at != NULL; at = strstr(at + 1, wanted)) {
        count++;
    }
    return count;
}

static size_t count_in_file(const char *path, const char *wanted) {
    struct bytes content = read_file(path);
    size_t count = count_of(content.data, wanted);
    bytes_finish(&content);
    return count;
}

static void wait_in_file(const char *path, const char *wanted, size_t count) {
    uint64_t deadline_ms = deadline_after(DEADLINE_MS / 2);
    while (count_in_file(path, wanted) < count) {
        if (deadline_left_ms(deadline_ms) == 0) {
            struct bytes content = read_file(path);
            cr_assert_fail("waited in vain for %zu times \"%s\" in:\n%.2000s", count, wanted, content.data);
        }
        deadline_pause(2);
    }
}

static void wait_lost(const struct fixture *fixture, uint64_t lost) {
    uint64_t deadline_ms = deadline_after(DEADLINE_MS / 2);
    while (access_queue_lost(fixture->queue) < lost) {
        cr_assert_gt(deadline_left_ms(deadline_ms), 0, "%lu lines lost", access_queue_lost(fixture->queue));
        deadline_pause(2);
    }
    cr_assert_eq(access_queue_lost(fixture->queue), lost);
}

static void wait_lines(const char *path, size_t count) {
    uint64_t deadline_ms = deadline_after(DEADLINE_MS / 2);
    for (size_t lines = 0; lines < count;) {
        cr_assert_gt(deadline_left_ms(deadline_ms), 0, "waited in vain for %zu lines, %zu came", count, lines);
        deadline_pause(2);
        struct bytes content = read_file(path);
        const char *end = content.data + content.size;
        lines = 0;
        for (const char *at = content.data; (at = memchr(at, '\n', (size_t)(end - at))) != NULL; at++) {
            lines++;
        }
        bytes_finish(&content);
    }
}

/* Every line must be whole, and those of each worker in the order in which they were written. Returns their number.
 * last_ids has a place for each worker, 0 at first. */
static uint64_t expect_lines(const char *text, uint64_t *last_ids, uint32_t workers) {
    uint64_t count = 0;
    for (const char *line = text; *line != 0; count++) {
        unsigned long id = 0;
        unsigned worker = UINT32_MAX;
        int length = 0;
        sscanf(
            line,
            "time=2026-01-31T12:00:00.123Z event=close id=%lu worker=%u listener=web client=10.0.0.9:5000 upstream=app "
            "server=one server_address=10.0.0.1:80 tries=1 connect_ms=0.000 first_byte_ms=0.000 duration_ms=0.000 "
            "from_client_bytes=0 from_server_bytes=0 reason=client_fin ended_by=client error=-%n",
            &id, &worker, &length);
        cr_assert(length > 0 && line[length] == '\n', "not a line: %.300s", line);
        cr_assert_lt(worker, workers);
        cr_assert_gt(id, last_ids[worker], "line %lu comes after %lu", id, last_ids[worker]);
        last_ids[worker] = id;
        line += length + 1;
    }
    return count;
}

static uint64_t expect_file(const char *path, uint64_t *last_ids, uint32_t workers) {
    struct bytes content = read_file(path);
    uint64_t count = expect_lines(content.data, last_ids, workers);
    bytes_finish(&content);
    return count;
}

/* The file must hold exactly the lines `first` to `last` of one worker. */
static void expect_range(const char *path, uint64_t first, uint64_t last) {
    uint64_t last_id = first - 1;
    cr_assert_eq(expect_file(path, &last_id, 1), last - first + 1);
    cr_assert_eq(last_id, last);
}

/* --- making and ending ---------------------------------------------------------------------------------------------
 */

Test(access_log, destroying_none_is_harmless, .timeout = 10) {
    access_log_destroy(NULL);
}

Test(access_log, a_target_that_cannot_be_opened_is_an_error_that_names_it, .timeout = 10) {
    struct fixture fixture;
    char path[TEMPORARY_PATH_MAX];
    struct error error = {.text = ""};
    fixture_open(&fixture);
    temporary_path(&fixture.folder, "no/such/folder", path);
    size_t count = descriptors_count();
    cr_assert_null(access_log_create(path, NULL, &error));
    cr_assert_not_null(strstr(error.text, path), "%s", error.text);
    cr_assert_not_null(strstr(error.text, "No such file or directory"), "%s", error.text);
    cr_assert_eq(descriptors_count(), count);
}

Test(access_log, leaves_no_descriptor_and_no_thread_behind, .timeout = 20) {
    struct fixture fixture;
    fixture_open(&fixture);
    size_t count = descriptors_count();
    for (int round = 0; round < 20; round++) {
        fixture_start(&fixture);
        fixture_write(&fixture, 1);
        access_log_destroy(fixture.log);
    }
    cr_assert_eq(descriptors_count(), count);
    expect_range(fixture.path, 1, 20);
}

Test(access_log, makes_a_file_that_others_cannot_read, .timeout = 10) {
    struct fixture fixture;
    struct stat status;
    umask(0);
    fixture_open(&fixture);
    fixture_start(&fixture);
    cr_assert_eq(stat(fixture.path, &status), 0);
    cr_assert_eq(status.st_mode & 07777, 0640);
    access_log_destroy(fixture.log);
}

static pthread_t begun_on;
static _Atomic int begun_count;

static void note_thread(void) {
    begun_on = pthread_self();
    begun_count++;
}

Test(access_log, its_thread_begins_as_its_maker_wants, .timeout = 10) {
    struct fixture fixture;
    struct error error = {.text = ""};
    fixture_open(&fixture);
    struct access_log *log = access_log_create(fixture.path, note_thread, &error);
    cr_assert_not_null(log, "%s", error.text);
    access_log_destroy(log);
    cr_assert_eq(begun_count, 1);
    cr_assert_not(pthread_equal(begun_on, pthread_self()));
}

/* --- writing -------------------------------------------------------------------------------------------------------
 */

Test(access_log, a_line_arrives_without_waiting_for_others, .timeout = 20) {
    struct fixture fixture;
    fixture_open(&fixture);
    fixture_start(&fixture);
    for (size_t line = 1; line <= 20; line++) {
        fixture_write(&fixture, 1);
        wait_lines(fixture.path, line);
        deadline_pause(line % 2 == 0 ? 30 : 0); /* longer than the writer naps: it sleeps and must be woken */
    }
    access_log_destroy(fixture.log);
    expect_range(fixture.path, 1, 20);
}

Test(access_log, destroying_writes_out_what_is_queued, .timeout = 10) {
    struct fixture fixture;
    fixture_open(&fixture);
    fixture_start(&fixture);
    fixture_write(&fixture, 2500);
    cr_assert_eq(access_queue_lost(fixture.queue), 0);
    access_log_destroy(fixture.log);
    expect_range(fixture.path, 1, 2500);
}

Test(access_log, appends_to_a_file_that_exists, .timeout = 10) {
    struct fixture fixture;
    fixture_open(&fixture);
    fixture_start(&fixture);
    fixture_write(&fixture, 1);
    access_log_destroy(fixture.log);
    fixture_start(&fixture);
    fixture_write(&fixture, 1);
    access_log_destroy(fixture.log);
    expect_range(fixture.path, 1, 2);
}

/* The lines of two rounds fit in at once: those of one may stand in the file before the writer says that it is done. */
Test(access_log, lines_stay_whole_while_the_queue_goes_round_and_round, .timeout = 30) {
    enum { ROUNDS = 7, LINES = 1500 };
    struct fixture fixture;
    fixture_open(&fixture);
    fixture_start(&fixture);
    for (size_t round = 1; round <= ROUNDS; round++) {
        fixture_write(&fixture, LINES);
        wait_lines(fixture.path, round * LINES);
    }
    cr_assert_eq(access_queue_lost(fixture.queue), 0);
    access_log_destroy(fixture.log);
    expect_range(fixture.path, 1, ROUNDS * LINES);
}

enum { WORKERS = 4, LINES_EACH = 3000 };

struct writer {
    struct access_queue *queue;
    uint32_t worker;
};

static void *write_lines(void *argument) {
    struct writer *writer = argument;
    for (uint64_t id = 1; id <= LINES_EACH; id++) {
        queue_write(writer->queue, writer->worker, id);
    }
    return NULL;
}

Test(access_log, lines_of_several_workers_all_arrive_whole, .timeout = 30) {
    struct fixture fixture;
    struct writer writers[WORKERS];
    pthread_t threads[WORKERS];
    uint64_t last_ids[WORKERS] = {0};
    fixture_open(&fixture);
    fixture.log = log_create(fixture.path);
    for (uint32_t worker = 0; worker < WORKERS; worker++) {
        writers[worker] =
            (struct writer){.queue = access_queue_create(fixture.log, ACCESS_FORMAT_TEXT), .worker = worker};
        cr_assert_eq(pthread_create(&threads[worker], NULL, write_lines, &writers[worker]), 0);
    }
    for (uint32_t worker = 0; worker < WORKERS; worker++) {
        pthread_join(threads[worker], NULL);
        cr_assert_eq(access_queue_lost(writers[worker].queue), 0);
    }
    access_log_destroy(fixture.log);
    cr_assert_eq(expect_file(fixture.path, last_ids, WORKERS), WORKERS * LINES_EACH);
}

static void expect_standard_stream(const char *target, int fd) {
    struct fixture fixture;
    fixture_open(&fixture);
    int file = open(fixture.path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    int kept = dup(fd);
    dup2(file, fd);
    fixture.log = log_create(target);
    fixture.queue = access_queue_create(fixture.log, ACCESS_FORMAT_TEXT);
    fixture_write(&fixture, 1);
    access_log_reopen(fixture.log);
    fixture_write(&fixture, 1);
    access_log_destroy(fixture.log);
    int flags = fcntl(fd, F_GETFD);
    dup2(kept, fd);
    cr_assert_geq(flags, 0, "the stream stays open");
    expect_range(fixture.path, 1, 2);
}

Test(access_log, writes_to_stdout, .timeout = 10) {
    expect_standard_stream("stdout", STDOUT_FILENO);
}

Test(access_log, writes_to_stderr, .timeout = 10) {
    expect_standard_stream("stderr", STDERR_FILENO);
}

/* --- reopening -----------------------------------------------------------------------------------------------------
 */

Test(access_log, reopens_a_file_that_was_moved_away, .timeout = 10) {
    struct fixture fixture;
    fixture_open(&fixture);
    fixture_start(&fixture);
    fixture_write(&fixture, 10);
    cr_assert_eq(rename(fixture.path, fixture.moved), 0);
    fixture_write(&fixture, 10);
    access_log_reopen(fixture.log);
    wait_in_file(fixture.errors, "opened again", 1);
    fixture_write(&fixture, 10);
    access_log_destroy(fixture.log);
    expect_range(fixture.moved, 1, 20);
    expect_range(fixture.path, 21, 30);
}

static void rotated_path(const struct fixture *fixture, size_t round, char *path) {
    char name[64];
    snprintf(name, sizeof(name), "access.log.%zu", round);
    temporary_path(&fixture->folder, name, path);
}

Test(access_log, loses_no_line_while_files_are_swapped, .timeout = 30) {
    struct fixture fixture;
    struct writer writer = {.worker = 0};
    pthread_t thread;
    uint64_t last_id = 0;
    uint64_t count = 0;
    char path[TEMPORARY_PATH_MAX];
    fixture_open(&fixture);
    fixture_start(&fixture);
    writer.queue = fixture.queue;
    cr_assert_eq(pthread_create(&thread, NULL, write_lines, &writer), 0);
    for (size_t round = 1; round <= 10; round++) {
        rotated_path(&fixture, round, path);
        cr_assert_eq(rename(fixture.path, path), 0);
        access_log_reopen(fixture.log);
        wait_in_file(fixture.errors, "opened again", round);
    }
    pthread_join(thread, NULL);
    cr_assert_eq(access_queue_lost(fixture.queue), 0);
    access_log_destroy(fixture.log);
    for (size_t round = 1; round <= 10; round++) {
        rotated_path(&fixture, round, path);
        count += expect_file(path, &last_id, 1);
    }
    cr_assert_eq(count + expect_file(fixture.path, &last_id, 1), LINES_EACH);
}

Test(access_log, goes_on_with_the_old_file_when_reopening_fails, .timeout = 10) {
    struct fixture fixture;
    fixture_open(&fixture);
    fixture_start(&fixture);
    cr_assert_eq(rename(fixture.path, fixture.moved), 0);
    cr_assert_eq(mkdir(fixture.path, 0700), 0);
    access_log_reopen(fixture.log);
    wait_in_file(fixture.errors, "Is a directory", 1);
    fixture_write(&fixture, 3);
    access_log_destroy(fixture.log);
    expect_range(fixture.moved, 1, 3);
}

/* --- a target that takes nothing -----------------------------------------------------------------------------------
 */

/* Makes the log's path a pipe with a name, and opens its other end. */
static int fifo_open(struct fixture *fixture) {
    cr_assert_eq(mkfifo(fixture->path, 0600), 0);
    int fd = open(fixture->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    return fd;
}

/* Reads from the pipe until nothing has come for a while that the writer would not let pass. */
static void fifo_read(int fd, struct bytes *received) {
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    while (poll(&readable, 1, 500) == 1) {
        char part[65536];
        ssize_t size = read(fd, part, sizeof(part));
        if (size <= 0) {
            return;
        }
        bytes_append(received, part, (size_t)size);
    }
}

Test(access_log, a_full_queue_drops_lines_counts_them_and_says_so_later, .timeout = 30) {
    struct fixture fixture;
    struct bytes received;
    uint64_t last_id = 0;
    char report[64];
    fixture_open(&fixture);
    bytes_init(&received);
    int fifo = fifo_open(&fixture);
    fixture_start(&fixture);
    fixture_write(&fixture, 20000); /* nobody reads: a worker that waited for the log would wait for ever */
    uint64_t lost = access_queue_lost(fixture.queue);
    cr_assert_gt(lost, 0);
    cr_assert_lt(lost, 20000);
    cr_assert_eq(count_in_file(fixture.errors, "were lost"), 0, "it is not yet over");

    fifo_read(fifo, &received);
    cr_assert_eq(expect_lines(received.data, &last_id, 1), 20000 - lost);
    snprintf(report, sizeof(report), ": %lu lines were lost", lost);
    wait_in_file(fixture.errors, report, 1);

    bytes_clear(&received);
    fixture_write(&fixture, 5);
    fifo_read(fifo, &received);
    cr_assert_eq(expect_lines(received.data, &last_id, 1), 5);
    cr_assert_eq(last_id, 20005);
    cr_assert_eq(access_queue_lost(fixture.queue), lost);
    cr_assert_eq(count_in_file(fixture.errors, "were lost"), 1);
    access_log_destroy(fixture.log);
    bytes_finish(&received);
}

Test(access_log, destroying_gives_up_on_a_stuck_target_after_two_seconds, .timeout = 20) {
    struct fixture fixture;
    fixture_open(&fixture);
    fifo_open(&fixture);
    fixture_start(&fixture);
    fixture_write(&fixture, 20000);
    uint64_t begin_ms = deadline_now_ms();
    access_log_destroy(fixture.log);
    cr_assert_geq(deadline_now_ms() - begin_ms, 1900);
}

Test(access_log, a_pipe_whose_reader_is_gone_does_not_hold_up_the_end, .timeout = 20) {
    struct fixture fixture;
    signal(SIGPIPE, SIG_IGN); /* as in the program */
    fixture_open(&fixture);
    int fifo = fifo_open(&fixture);
    fixture_start(&fixture);
    close(fifo);
    fixture_write(&fixture, 10);
    wait_lost(&fixture, 10);
    access_log_reopen(fixture.log);
    access_log_destroy(fixture.log);
}

Test(access_log, a_pipe_that_nobody_reads_is_refused_instead_of_waited_for, .timeout = 10) {
    struct fixture fixture;
    struct error error = {.text = ""};
    fixture_open(&fixture);
    cr_assert_eq(mkfifo(fixture.path, 0600), 0);
    cr_assert_null(access_log_create(fixture.path, NULL, &error));
    cr_assert_not_null(strstr(error.text, fixture.path), "%s", error.text);
}

Test(access_log, a_full_disk_loses_lines_counts_them_and_is_said_once, .timeout = 20) {
    struct fixture fixture;
    fixture_open(&fixture);
    cr_assert_eq(symlink("/dev/full", fixture.path), 0);
    fixture_start(&fixture);
    for (uint64_t round = 1; round <= 5; round++) {
        fixture_write(&fixture, 100);
        wait_lost(&fixture, round * 100);
    }
    access_log_destroy(fixture.log);
    cr_assert_eq(count_in_file(fixture.errors, "No space left on device"), 1);
}

Test(access_log, writes_again_once_a_full_disk_has_room, .timeout = 20) {
    struct fixture fixture;
    fixture_open(&fixture);
    cr_assert_eq(symlink("/dev/full", fixture.path), 0);
    fixture_start(&fixture);
    fixture_write(&fixture, 100);
    wait_lost(&fixture, 100);
    cr_assert_eq(unlink(fixture.path), 0);
    access_log_reopen(fixture.log);
    wait_in_file(fixture.errors, "opened again", 1);
    fixture_write(&fixture, 10);
    wait_in_file(fixture.errors, "writing works again", 1);
    wait_in_file(fixture.errors, ": 100 lines were lost", 1);
    access_log_destroy(fixture.log);
    expect_range(fixture.path, 101, 110);
}

static void limit_file_size(rlim_t size) {
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = size;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

Test(access_log, a_line_that_a_full_disk_cut_short_does_not_swallow_the_next, .timeout = 20) {
    struct fixture fixture;
    signal(SIGXFSZ, SIG_IGN);
    fixture_open(&fixture);
    fixture_start(&fixture);
    fixture_write(&fixture, 1);
    wait_lines(fixture.path, 1);
    struct bytes first = read_file(fixture.path);
    limit_file_size(first.size * 3 + first.size / 2);
    fixture_write(&fixture, 9);
    wait_lost(&fixture, 7); /* of ten lines three are whole */
    limit_file_size(RLIM_INFINITY);
    fixture_write(&fixture, 1);
    access_log_destroy(fixture.log);
    struct bytes content = read_file(fixture.path);
    cr_assert_eq(count_of(content.data, "\ntime="), 4, "%s", content.data);
    const char *last = strstr(content.data, "\ntime=2026-01-31T12:00:00.123Z event=close id=11 ");
    cr_assert_not_null(last, "%s", content.data);
    uint64_t last_id = 10;
    cr_assert_eq(expect_lines(last + 1, &last_id, 1), 1);
    bytes_finish(&content);
    bytes_finish(&first);
}
