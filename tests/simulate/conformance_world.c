/* The operations of conformance.c on the fake, in a world where everything happens at once and wholly. */
#include "conformance.h"

#include "world.h"

#include <string.h>

void conformance_begin(const char *disabled) {
    struct world_options options = {
        .seed = 1,
        .features = {.recv_bundle = strstr(disabled, "recv_bundle") == NULL,
                     .recv_limit = strstr(disabled, "recv_limit") == NULL && strstr(disabled, "recv_bundle") == NULL,
                     .send_vectored = strstr(disabled, "send_vectored") == NULL,
                     .send_zero_copy = true},
        .window_min = 1024 * 1024,
        .window_max = 1024 * 1024,
    };
    world_create(&options);
}

void conformance_end(void) {
    world_destroy(world_here());
}
