/* The operations of conformance.c on the kernel. */
#include "conformance.h"

#include <stdlib.h>

void conformance_begin(const char *disabled) {
    setenv("MOONRING_DISABLE", disabled, 1);
}

void conformance_end(void) {
}
