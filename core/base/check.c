#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void check_failed(const char *file, int line, const char *function, const char *condition) {
    fprintf(stderr, "moonring: bug: %s:%d: %s: check failed: %s\n", file, line, function, condition);
    abort();
}
