#include "program/version.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

Test(version, print_names_the_version_and_the_kernel_it_needs, .timeout = 10) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    version_print(out);
    fclose(out);
    char first_line[256];
    snprintf(first_line, sizeof(first_line), "moonring %s\n", moonring_version());
    cr_assert_gt(strlen(moonring_version()), 0);
    cr_assert_eq(strncmp(text, first_line, strlen(first_line)), 0, "%s", text);
    cr_assert_not_null(strstr(text, "Linux 6.1 or newer"));
    free(text);
}
