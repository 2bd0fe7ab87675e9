/* Free ports for servers and proxies. A port is never given twice, since a proxy that ends may hold its port for a
 * moment, and none lies in the range from which the kernel chooses clients' ports: a client would squat on it. */
#ifndef MOONRING_BENCH_PORTS_H
#define MOONRING_BENCH_PORTS_H

#include "base/error.h"

#include <stdint.h>

struct ports {
    uint32_t next;
    uint32_t end;
};

void ports_init(struct ports *ports);
/* A port of 127.0.0.1 that can be bound now; 0 and an error when none is left. */
uint16_t ports_take(struct ports *ports, struct error *error);

#endif
