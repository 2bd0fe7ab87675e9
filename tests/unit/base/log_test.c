#include "base/log.h"

#include "base/bytes.h"
#include "tests/support/temporary.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A log file in a folder of its own. */
struct fixture {
    struct temporary folder;
    char path[TEMPORARY_PATH_MAX];
};

static void open_log(const char *target) {
    struct error error = {.text = ""};
    cr_assert(log_open(target, &error), "%s", error.text);
}

static void fixture_open(struct fixture *fixture) {
    temporary_create(&fixture->folder);
    temporary_path(&fixture->folder, "error.log", fixture->path);
    open_log(fixture->path);
}

/* The whole file; the caller finishes it. */
static struct bytes read_file(const char *path) {
    struct bytes content;
    bytes_init(&content);
    FILE *file = fopen(path, "re");
    cr_assert_not_null(file, "%s", path);
    char part[4096];
    for (size_t size = fread(part, 1, sizeof(part), file); size > 0; size = fread(part, 1, sizeof(part), file)) {
        bytes_append(&content, part, size);
    }
    fclose(file);
    return content;
}

/* The file must be the lines, without the times that each begins with. */
static void expect_lines(const char *path, const char *wanted) {
    struct bytes content = read_file(path);
    struct bytes lines;
    bytes_init(&lines);
    for (const char *line = content.data; *line != 0;) {
        size_t size = strcspn(line, "\n") + 1;
        cr_assert_gt(size, 25, "no time: %s", line);
        bytes_append(&lines, line + 25, size - 25);
        line += size;
    }
    cr_assert_str_eq(lines.data, wanted);
    bytes_finish(&lines);
    bytes_finish(&content);
}

static size_t count_descriptors(void) {
    size_t count = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (readdir(folder) != NULL) {
        count++;
    }
    closedir(folder);
    return count;
}

Test(log, writes_a_line_with_time_level_and_text, .timeout = 10) {
    struct fixture fixture;
    fixture_open(&fixture);
    log_error("listener %s: %s", "web", error_name(EADDRINUSE));
    struct bytes content = read_file(fixture.path);
    regex_t pattern;
    cr_assert_eq(regcomp(&pattern,
                         "^20[0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\\.[0-9]{3}Z "
                         "error listener web: Address already in use\n$",
                         REG_EXTENDED | REG_NOSUB),
                 0);
    cr_assert_eq(regexec(&pattern, content.data, 0, NULL, 0), 0, "%s", content.data);
    regfree(&pattern);
    bytes_finish(&content);
}

Test(log, writes_nothing_above_its_level, .timeout = 10) {
    struct fixture fixture;
    fixture_open(&fixture);
    cr_assert_eq(log_level(), LOG_INFO);
    log_info("written");
    log_debug("not written");
    log_set_level(LOG_ERROR);
    cr_assert_eq(log_level(), LOG_ERROR);
    log_warn("not written");
    log_error("written");
    log_set_level(LOG_TRACE);
    log_write(LOG_TRACE, "written");
    expect_lines(fixture.path, "info written\nerror written\ntrace written\n");
}

Test(log, escapes_what_could_forge_a_line_or_steer_a_terminal, .timeout = 10) {
    struct fixture fixture;
    fixture_open(&fixture);
    log_info("%s", "a\n2026 error b\r\x1b[2J\\");
    expect_lines(fixture.path, "info a\\x0a2026 error b\\x0d\\x1b[2J\\x5c\n");
}

Test(log, cuts_a_line_at_4_kib_and_never_within_an_escape, .timeout = 10) {
    struct fixture fixture;
    fixture_open(&fixture);
    char text[8000];
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = 0;
    log_info("%s", text);
    struct bytes content = read_file(fixture.path);
    cr_assert_eq(content.size, 4096);
    cr_assert_eq(content.data[4095], '\n');
    bytes_finish(&content);

    memset(text, '\n', sizeof(text) - 1);
    log_info("%s", text);
    content = read_file(fixture.path);
    cr_assert_leq(content.size, 2 * 4096);
    cr_assert_gt(content.size, 2 * 4096 - 4);
    cr_assert_str_eq(content.data + content.size - 5, "\\x0a\n");
    bytes_finish(&content);
}

Test(log, leaves_errno_as_it_was, .timeout = 10) {
    struct fixture fixture;
    fixture_open(&fixture);
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    cr_assert_geq(full, 0);
    open_log("stdout");
    cr_assert_eq(dup2(full, STDOUT_FILENO), STDOUT_FILENO);
    errno = ECONNRESET;
    log_error("nobody reads this");
    cr_assert_eq(errno, ECONNRESET);
}

Test(log, appends_to_a_file_that_exists, .timeout = 10) {
    struct fixture fixture;
    fixture_open(&fixture);
    log_info("before");
    open_log("stderr");
    open_log(fixture.path);
    log_info("after");
    expect_lines(fixture.path, "info before\ninfo after\n");
}

Test(log, makes_files_that_others_cannot_read, .timeout = 10) {
    umask(0);
    struct fixture fixture;
    fixture_open(&fixture);
    struct stat status;
    cr_assert_eq(stat(fixture.path, &status), 0);
    cr_assert_eq(status.st_mode & 07777, 0640);
}

Test(log, writes_a_report_as_it_is_whatever_the_level, .timeout = 10) {
    struct fixture fixture;
    fixture_open(&fixture);
    log_set_level(LOG_ERROR);
    log_raw("one\n\ttwo\n", 9);
    struct bytes content = read_file(fixture.path);
    cr_assert_str_eq(content.data, "one\n\ttwo\n");
    bytes_finish(&content);
}

struct reader {
    int fd;
    size_t received;
};

static void *read_slowly(void *argument) {
    struct reader *reader = argument;
    char part[1000];
    for (ssize_t size = read(reader->fd, part, sizeof(part)); size > 0; size = read(reader->fd, part, sizeof(part))) {
        reader->received += (size_t)size;
    }
    return NULL;
}

Test(log, writes_a_report_whole_that_is_larger_than_a_pipe, .timeout = 10) {
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    int kept = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    struct reader reader = {.fd = ends[0]};
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, read_slowly, &reader), 0);
    static char report[300000];
    open_log("stderr");
    log_raw(report, sizeof(report));
    dup2(kept, STDERR_FILENO);
    pthread_join(thread, NULL);
    cr_assert_eq(reader.received, sizeof(report));
}

static void expect_standard_stream(const char *target, int fd) {
    struct fixture fixture;
    fixture_open(&fixture);
    char path[TEMPORARY_PATH_MAX];
    temporary_path(&fixture.folder, "stream", path);
    int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    int kept = dup(fd);
    dup2(file, fd);
    open_log(target);
    log_info("here");
    struct error error = {.text = ""};
    cr_assert(log_reopen(&error), "%s", error.text);
    open_log(fixture.path);
    log_info("there");
    cr_assert_eq(fcntl(fd, F_GETFD), 0, "the stream stays open");
    dup2(kept, fd);
    expect_lines(path, "info here\n");
    expect_lines(fixture.path, "info there\n");
}

Test(log, writes_to_stdout, .timeout = 10) {
    expect_standard_stream("stdout", STDOUT_FILENO);
}

Test(log, writes_to_stderr, .timeout = 10) {
    expect_standard_stream("stderr", STDERR_FILENO);
}

Test(log, keeps_the_old_target_when_the_new_one_cannot_be_opened, .timeout = 10) {
    struct fixture fixture;
    fixture_open(&fixture);
    char path[TEMPORARY_PATH_MAX];
    temporary_path(&fixture.folder, "no/such/folder", path);
    struct error error;
    cr_assert_not(log_open(path, &error));
    cr_assert_not_null(strstr(error.text, path), "%s", error.text);
    cr_assert_not_null(strstr(error.text, "No such file or directory"), "%s", error.text);
    log_info("still here");
    expect_lines(fixture.path, "info still here\n");
}

Test(log, reopens_a_file_that_was_moved_away, .timeout = 10) {
    struct fixture fixture;
    fixture_open(&fixture);
    char moved[TEMPORARY_PATH_MAX];
    temporary_path(&fixture.folder, "error.log.1", moved);
    log_info("first");
    cr_assert_eq(rename(fixture.path, moved), 0);
    log_info("second");
    struct error error = {.text = ""};
    cr_assert(log_reopen(&error), "%s", error.text);
    log_info("third");
    expect_lines(moved, "info first\ninfo second\n");
    expect_lines(fixture.path, "info third\n");
}

Test(log, goes_on_with_the_old_file_when_reopening_fails, .timeout = 10) {
    struct fixture fixture;
    fixture_open(&fixture);
    char moved[TEMPORARY_PATH_MAX];
    temporary_path(&fixture.folder, "error.log.1", moved);
    cr_assert_eq(rename(fixture.path, moved), 0);
    cr_assert_eq(mkdir(fixture.path, 0700), 0);
    struct error error;
    cr_assert_not(log_reopen(&error));
    cr_assert_not_null(strstr(error.text, "Is a directory"), "%s", error.text);
    log_info("still here");
    expect_lines(moved, "info still here\n");
}

Test(log, leaks_no_descriptor, .timeout = 10) {
    struct fixture fixture;
    fixture_open(&fixture);
    size_t count = count_descriptors();
    struct error error;
    for (int round = 0; round < 50; round++) {
        cr_assert(log_reopen(&error));
        open_log("stderr");
        open_log(fixture.path);
    }
    cr_assert_eq(count_descriptors(), count);
    open_log("stderr");
    cr_assert_eq(count_descriptors(), count - 1);
}

Test(log, level_names_are_read_as_they_are_written, .timeout = 10) {
    const char *const names[] = {"error", "warn", "info", "debug", "trace"};
    for (int index = LOG_ERROR; index <= LOG_TRACE; index++) {
        cr_assert_str_eq(log_level_name((enum log_level)index), names[index]);
        enum log_level level = index == LOG_ERROR ? LOG_TRACE : LOG_ERROR;
        cr_assert(log_level_parse(names[index], &level));
        cr_assert_eq(level, (enum log_level)index);
    }
}

Test(log, other_words_are_no_level, .timeout = 10) {
    const char *const words[] = {"", "Info", "warning", "inf", "infos", " info"};
    for (size_t index = 0; index < sizeof(words) / sizeof(words[0]); index++) {
        enum log_level level = LOG_DEBUG;
        cr_assert_not(log_level_parse(words[index], &level), "%s", words[index]);
        cr_assert_eq(level, LOG_DEBUG);
    }
}

enum { WRITERS = 4, LINES_EACH = 500, REOPENS = 50 };

static void *write_lines(void *number) {
    for (int line = 0; line < LINES_EACH; line++) {
        log_info("writer %d line %d end", *(const int *)number, line);
        log_set_level(line % 2 == 0 ? LOG_INFO : LOG_DEBUG);
    }
    return NULL;
}

static size_t count_whole_lines(const char *path) {
    struct bytes content = read_file(path);
    size_t count = 0;
    for (const char *line = content.data; *line != 0; count++) {
        size_t size = strcspn(line, "\n") + 1;
        int writer = -1;
        int number = -1;
        int matched = 0;
        sscanf(line + 25, "info writer %d line %d end%n", &writer, &number, &matched);
        cr_assert_eq((size_t)matched + 26, size, "broken line: %.*s", (int)size, line);
        line += size;
    }
    bytes_finish(&content);
    return count;
}

Test(log, loses_and_mixes_no_line_while_threads_write_and_files_are_swapped, .timeout = 60) {
    struct fixture fixture;
    fixture_open(&fixture);
    char moved[TEMPORARY_PATH_MAX];
    temporary_path(&fixture.folder, "moved.log", moved);
    pthread_t threads[WRITERS];
    int numbers[WRITERS];
    for (int index = 0; index < WRITERS; index++) {
        numbers[index] = index;
        cr_assert_eq(pthread_create(&threads[index], NULL, write_lines, &numbers[index]), 0);
    }
    struct error error = {.text = ""};
    for (int round = 0; round < REOPENS; round++) {
        cr_assert(log_reopen(&error), "%s", error.text);
        open_log(round % 2 == 0 ? moved : fixture.path);
    }
    for (int index = 0; index < WRITERS; index++) {
        pthread_join(threads[index], NULL);
    }
    cr_assert_eq(count_whole_lines(moved) + count_whole_lines(fixture.path), WRITERS * LINES_EACH);
}
