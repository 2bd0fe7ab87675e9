/* Every configuration in examples/ runs as it is. Each gets a network of its own, so that its ports are free. What the
 * ones with filters do is tested in example_*_test.c. */
#include "tests/support/process.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/moonring.h"

static bool is_example(const struct dirent *entry) {
    size_t size = strlen(entry->d_name);
    return size > 5 && strcmp(entry->d_name + size - 5, ".yaml") == 0;
}

static void expect_it_runs(const char *path) {
    char script[512];
    struct process process;
    snprintf(script, sizeof script, "ip link set lo up && exec %s run -c %s", moonring_program(), path);
    const char *const arguments[] = {"unshare", "--net", "sh", "-c", script, NULL};
    process_start(&process, NULL, arguments);
    process_wait_line(&process, &process.errors, "info ready");
    process_signal(&process, SIGTERM);
    cr_assert(process_wait(&process) == 0, "%s: %s", path, process_last_words(&process));
}

Test(example, runs_as_it_is, .timeout = 60) {
    size_t count = 0;
    DIR *folder = opendir("examples");
    cr_assert(folder != NULL);
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        if (is_example(entry)) {
            char path[300];
            snprintf(path, sizeof path, "examples/%s", entry->d_name);
            expect_it_runs(path);
            count++;
        }
    }
    closedir(folder);
    cr_assert(count >= 12, "only %zu examples were found", count);
}
