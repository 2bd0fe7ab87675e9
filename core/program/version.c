#include "program/version.h"

/* The Makefile knows these; a build by hand need not. */
#ifndef MOONRING_VERSION
#define MOONRING_VERSION "unknown"
#endif
#ifndef MOONRING_DATE
#define MOONRING_DATE "1970-01-01"
#endif
#ifndef MOONRING_VARIANT
#define MOONRING_VARIANT "unknown"
#endif
#ifndef MOONRING_LIBRARIES
#define MOONRING_LIBRARIES "unknown versions"
#endif

#ifdef __clang__
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

const char *moonring_version(void) {
    return MOONRING_VERSION;
}

const char *moonring_date(void) {
    return MOONRING_DATE;
}

void version_print(FILE *out) {
    fprintf(out, "moonring %s\n", moonring_version());
    fprintf(out, "build:     %s, %s\n", MOONRING_VARIANT, COMPILER);
    fprintf(out, "libraries: %s\n", MOONRING_LIBRARIES);
    fprintf(out, "addresses: IPv4, IPv6, dual stack, unix, abstract unix\n");
    fprintf(out, "kernel:    Linux %d.%d or newer with io_uring; `moonring doctor` looks at this one\n",
            KERNEL_MAJOR_MIN, KERNEL_MINOR_MIN);
}
