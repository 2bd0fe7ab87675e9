/* How long a test may take is written for a machine that has nothing else to do. One that has, or a sanitizer, makes it
 * many times longer, and Criterion gives up altogether on a program of which a test ends in the moment of its timeout:
 * a timeout shall only end what would never end. */
#include <criterion/criterion.h>
#include <criterion/hooks.h>

enum { PATIENCE = 6 };

ReportHook(PRE_ALL)(struct criterion_test_set *tests) {
    FOREACH_SET(struct criterion_suite_set * suite, tests->suites) {
        FOREACH_SET(struct criterion_test * test, suite->tests) {
            test->data->timeout *= PATIENCE;
        }
    }
}
