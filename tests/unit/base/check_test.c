#include "base/check.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

Test(check, lets_a_true_condition_pass_and_evaluates_it_once, .timeout = 10) {
    int evaluations = 0;
    check(++evaluations == 1);
    cr_assert_eq(evaluations, 1);
}

Test(check, aborts_on_a_false_condition, .timeout = 10, .signal = SIGABRT) {
    int held = 1;
    check(held == 0);
}

Test(check, names_place_and_condition_before_it_aborts, .timeout = 10) {
    int errors[2];
    cr_assert_eq(pipe(errors), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(errors[1], STDERR_FILENO);
        check_failed("place.c", 7, "some_function", "held == 0");
    }
    close(errors[1]);
    char text[256];
    FILE *reader = fdopen(errors[0], "r");
    cr_assert_not_null(fgets(text, sizeof(text), reader));
    cr_assert_str_eq(text, "moonring: bug: place.c:7: some_function: check failed: held == 0\n");
    fclose(reader);
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status));
    cr_assert_eq(WTERMSIG(status), SIGABRT);
}
